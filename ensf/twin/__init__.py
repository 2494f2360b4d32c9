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
from ensf.twin.twin import Cycle, InitialLaw, Lost, Model, Network, Restart, Streams, twin

__all__ = [
    "Climatology",
    "Cycle",
    "Experiment",
    "GaussianStart",
    "InitialLaw",
    "Lost",
    "Method",
    "Model",
    "Network",
    "PerturbedTruth",
    "Restart",
    "Streams",
    "TwinExperiment",
    "summarise",
    "twin",
]
