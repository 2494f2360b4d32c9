"""Learned scores: denoising score matching as a regression, with any regressor that has `fit` and `predict`.

States are shifted by their mean and divided by one scale to u, blurred to u + r e with noise-to-signal ratios
r = beta / alpha from the law of a schedule's `training_noise`, and a regressor learns F in (Karras et al. 2022)

    E[u | u + r e] = c_skip (u + r e) + c_out F(c_in (u + r e), log(r) / 4),
    c_skip = 1 / (1 + r^2),    c_out = r / sqrt(1 + r^2),    c_in = 1 / sqrt(1 + r^2),

for which inputs and targets have unit size at every noise, so that least squares weighs all alike. It is the regression
of the noise on (blurred state, pseudo-time) with the coefficients that keep small noise accurate. Nothing depends on a
schedule: what was learned serves with all of them. Tweedie's formula gives the score.

With a `Neighbourhood` the regressor sees only what is near a place and predicts that place, with the same weights
everywhere (the Markov blanket of Rozet & Louppe 2023): every state trains as often as it has places.
"""

from __future__ import annotations

import math
import warnings
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ensf.arrays import Array, Generator, is_count, like, normal, to_numpy
from ensf.diffusion.prior_scores import FittedScore
from ensf.diffusion.schedule import EDM

__all__ = ["LearnedScore", "Regressor", "Neighbourhood", "perceptron"]

FEWEST = 10
"""Training states below which nothing is learned."""


class Regressor(Protocol):
    """What scikit-learn calls a regressor: `fit` returns nothing that is used."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> object:
        """Learn from rows."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """One row, or number, for every row."""


def perceptron(seed: int = 0, layers: tuple[int, ...] = (64, 64), epochs: int = 20) -> Regressor:
    """A small multilayer perceptron of scikit-learn, which has to be there.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed; the message says how to get it.
    """
    try:
        from sklearn.neural_network import MLPRegressor
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'learning a score needs a regressor: give one, or get scikit-learn with pip install "ensf[learned]"'
        ) from error
    return MLPRegressor(
        hidden_layer_sizes=layers,
        activation="tanh",
        batch_size=512,
        learning_rate_init=2e-3,
        max_iter=epochs,
        tol=1e-5,
        random_state=seed,
    )


@dataclass(frozen=True)
class Neighbourhood:
    """Neighbourhood of a place of a line or plane, within `half_width` places of it along every axis.

    Parameters
    ----------
    half_width : int
        Places on each side.
    shape : tuple of int
        Of the state: ``(n,)`` on a line, ``(rows, columns)`` on a plane; row by row in the flat state.
    periodic : bool
        Whether the axes close. If not, places beyond the edge are zeros that are marked as such.
    """

    half_width: int
    shape: tuple[int, ...]
    periodic: bool = True

    def __post_init__(self) -> None:
        if not is_count(self.half_width) or not 1 <= len(self.shape) <= 2 or not all(map(is_count, self.shape)):
            raise ValueError(f"{self}: give a half-width of 1 or more and a shape of one or two whole numbers")
        if self.periodic and 2 * self.half_width >= min(self.shape):
            raise ValueError(f"{self} is wider than the state: give a half-width below half of its places")

    def neighbours(self) -> np.ndarray:
        """Entry of the flat state at every place and offset ``(place, offset)``; -1 beyond an edge."""
        reach = np.arange(-self.half_width, self.half_width + 1)
        places = np.stack(np.unravel_index(np.arange(math.prod(self.shape)), self.shape), axis=-1)
        offsets = np.stack(np.meshgrid(*[reach] * len(self.shape), indexing="ij"), axis=-1).reshape(-1, len(self.shape))
        near = places[:, None, :] + offsets
        entries = np.ravel_multi_index(tuple(np.moveaxis(near, -1, 0)), self.shape, mode="wrap")
        inside = ((near >= 0) & (near < np.array(self.shape))).all(axis=-1)
        return entries if self.periodic else np.where(inside, entries, -1)


@dataclass(frozen=True)
class LearnedScore:
    """A score learned from the states of an ensemble, or of a long run.

    Used as the score of a filter it learns anew from every prior. To learn once from a climatology,
    ``FunctionScore(LearnedScore(...).fit(states, rng))`` is the prior.

    Parameters
    ----------
    regressor : Regressor, optional
        Copied before it learns; `perceptron` by default.
    neighbourhood : Neighbourhood, optional
        Local weights, shared by all places.
    repeats : int
        Times that every state is blurred.
    noise : EDM
        The law of the noise levels, over the scale of the states.
    """

    regressor: Regressor | None = None
    neighbourhood: Neighbourhood | None = None
    repeats: int = 100
    noise: EDM = field(default_factory=EDM)

    def __post_init__(self) -> None:
        if not is_count(self.repeats):
            raise ValueError(f"LearnedScore has {self.repeats} repeats: give a whole number, 1 or more")

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """Score function learned from states ``(member, state)``.

        Raises
        ------
        ValueError
            If there are fewer than 10 states, one does not have the size of the neighbourhood's shape, all are equal,
            or the regressor predicts another shape than it learned.
        """
        states = to_numpy(prior).astype(np.float64)
        members, size = states.shape
        if members < FEWEST:
            raise ValueError(f"a score is learned from {members} states: give {FEWEST} or more")
        if self.neighbourhood and math.prod(self.neighbourhood.shape) != size:
            raise ValueError(f"states have {size} entries, but the neighbourhood has shape {self.neighbourhood.shape}")
        mean, scale = states.mean(axis=0), float(states.std())
        if self.neighbourhood:
            mean = np.full(size, mean.mean())
        scale = float(np.sqrt(np.mean((states - mean) ** 2)))
        if not scale > 0:
            raise ValueError("all states are equal: a score is learned from states that vary")
        neighbours = self.neighbourhood.neighbours() if self.neighbourhood else None
        unit = np.tile((states - mean) / scale, (self.repeats, 1))
        ratio = self.noise.training_noise(len(unit), rng)[:, None]
        blurred = unit + ratio * normal(rng, unit.shape, unit)
        wanted = (unit - blurred / (1 + ratio**2)) * np.sqrt(1 + ratio**2) / ratio
        regressor = deepcopy(self.regressor) if self.regressor else perceptron()
        columns = size if neighbours is None else 1
        wanted = wanted.reshape(-1, columns)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iterations")  # they are a setting
            regressor.fit(_features(blurred, ratio, neighbours), wanted if columns > 1 else wanted[:, 0])

        def denoise(blurred: np.ndarray, ratio: float) -> np.ndarray:
            levels = np.full((len(blurred), 1), ratio)
            predicted = np.asarray(regressor.predict(_features(blurred, levels, neighbours)))
            if predicted.size != blurred.size:
                raise ValueError(
                    f"the regressor {type(regressor).__name__} predicts shape {predicted.shape} where it learned "
                    f"{(blurred.size // columns, columns)}: give one that predicts as many columns as it learns"
                )
            return blurred / (1 + ratio**2) + ratio / math.sqrt(1 + ratio**2) * predicted.reshape(blurred.shape)

        denoise((states[:1] - mean) / scale, 1.0)

        def score(z: Array, alpha: float, variance: float) -> Array:
            blurred = (to_numpy(z).astype(np.float64) / alpha - mean) / scale
            state = mean + scale * denoise(blurred, math.sqrt(variance) / (alpha * scale))
            return (alpha * like(state, z) - z) / variance

        return score


def _features(blurred: np.ndarray, ratio: np.ndarray, neighbours: np.ndarray | None) -> np.ndarray:
    """Rows that the regressor sees: blurred values of unit size, noise level, and marks of what is beyond an edge."""
    values = blurred / np.sqrt(1 + ratio**2)
    level = np.log(ratio) / 4
    if neighbours is None:
        return np.concatenate([values, level], axis=1)
    rows = len(values)
    places, width = neighbours.shape
    outside = neighbours < 0
    near = np.where(outside, 0.0, values[:, neighbours]).reshape(rows * places, width)
    parts = [near, np.repeat(level, places, axis=0)]
    if outside.any():
        parts.append(np.tile(outside.astype(float), (rows, 1)))
    return np.concatenate(parts, axis=1)
