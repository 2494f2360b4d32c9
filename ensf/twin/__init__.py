"""TWIN EXPERIMENTS: a model makes the truth, a filter follows it from observations."""

from ensf.twin.experiment import (
    Climatology,
    Experiment,
    GaussianStart,
    Method,
    PerturbedTruth,
    TwinExperiment,
    summarise,
)
from ensf.twin.twin import AsynchronousNetwork, Checkpoint, Cycle, InitialLaw, Model, Network, Streams, twin

__all__ = [
    "AsynchronousNetwork",
    "Checkpoint",
    "Climatology",
    "Cycle",
    "Experiment",
    "GaussianStart",
    "InitialLaw",
    "Method",
    "Model",
    "Network",
    "PerturbedTruth",
    "Streams",
    "TwinExperiment",
    "summarise",
    "twin",
]
