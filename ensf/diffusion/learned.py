"""Learned scores: denoising score matching as a regression, with any regressor that has `fit` and `predict`.

States are shifted by their mean and divided by one scale to u, blurred to u + r e with noise-to-signal ratios
r = beta / alpha from the law of a schedule's `training_noise`, and a regressor learns F in (Karras et al. 2022)

    E[u | u + r e] = c_skip (u + r e) + c_out F(c_in (u + r e), log(r) / 4),
    c_skip = 1 / (1 + r^2),    c_out = r / sqrt(1 + r^2),    c_in = 1 / sqrt(1 + r^2),

for which inputs and targets have unit size at every noise, so that least squares weighs all alike. It is the regression
of the noise on (blurred state, pseudo-time) with the coefficients that keep small noise accurate. Nothing depends on a
schedule: what was learned serves with all of them. Tweedie's formula gives the score.

With a `Neighbourhood` the regressor sees only what is near a place and predicts that place, with the same weights
everywhere (the Markov blanket of Rozet & Louppe 2023): every state trains as often as it has places. A row of the state
may be a time: then the local scores of short windows of trajectories make up that of a long trajectory.
"""

from __future__ import annotations

import math
import warnings
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Protocol

import numpy as np

from ensf.arrays import Array, Generator, is_count, like, normal, to_numpy
from ensf.diffusion.prior_scores import FittedScore
from ensf.diffusion.schedule import EDM

__all__ = ["LearnedScore", "Regressor", "Neighbourhood", "Perceptron"]

FEWEST = 10
"""Training states below which nothing is learned."""


class Regressor(Protocol):
    """What scikit-learn calls a regressor: `fit` returns nothing that is used."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> object:
        """Learn from rows."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """One row, or number, for every row."""


RATES = np.geomspace(5e-3, 1e-4, 10)
"""Learning rates of Adam, one after the other."""


@dataclass
class Perceptron:
    """A small multilayer perceptron of scikit-learn, which has to be there; a regressor.

    Adam learns at rates that fall: at a constant rate it jitters about the least squares, and the score with it. A
    third of the energy distance of draws is left.

    Parameters
    ----------
    seed : int
    layers : tuple of int
        Units of each.
    epochs : int
        Passes over all rows, shared out over the rates.
    """

    seed: int = 0
    layers: tuple[int, ...] = (64, 64)
    epochs: int = 20
    network: Regressor = field(init=False, repr=False, compare=False)

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        """Learn from rows, anew.

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
        network = MLPRegressor(hidden_layer_sizes=self.layers, activation="tanh", batch_size=512)
        network.set_params(random_state=self.seed, warm_start=True, tol=0.0, n_iter_no_change=self.epochs + 1)
        for rate, epochs in zip(RATES, np.diff(np.arange(len(RATES) + 1) * self.epochs // len(RATES)), strict=True):
            if epochs:
                network.set_params(learning_rate_init=rate, max_iter=int(epochs)).fit(X, y)
        self.network = network

    def predict(self, X: np.ndarray) -> np.ndarray:
        """One row, or number, for every row."""
        return self.network.predict(X)


@dataclass(frozen=True)
class Neighbourhood:
    """Neighbourhood of a place of a line or plane, within `half_width` places of it along every axis.

    Parameters
    ----------
    half_width : int or tuple of int
        Places on each side, of all axes or of each.
    shape : tuple of int
        Of the state: ``(n,)`` on a line, ``(rows, columns)`` on a plane; row by row in the flat state. Of trajectories
        the rows are times.
    periodic : bool or tuple of bool
        Whether the axes close. If not, places beyond the edge are zeros that are marked as such.

    Raises
    ------
    ValueError
        If a width or length is no positive number, or an axis that closes is too short for its width.
    """

    half_width: int | tuple[int, ...]
    shape: tuple[int, ...]
    periodic: bool | tuple[bool, ...] = True

    def __post_init__(self) -> None:
        axes = len(self.shape)
        if np.size(self.half_width) not in (1, axes) or np.size(self.periodic) not in (1, axes):
            raise ValueError(f"{self}: give one half-width, and whether it is periodic, for all axes or for each")
        if not 1 <= axes <= 2 or not all(map(is_count, (*self.shape, *self._each(self.half_width)))):
            raise ValueError(f"{self}: give a half-width of 1 or more and a shape of one or two whole numbers")
        for width, size, closed in zip(self._each(self.half_width), self.shape, self._each(self.periodic), strict=True):
            if closed and 2 * width >= size:
                raise ValueError(f"{self} is wider than the state: give a half-width below half of its places")

    def _each(self, setting: int | bool | tuple[int, ...] | tuple[bool, ...]) -> list[int]:
        """One entry for every axis."""
        return np.broadcast_to(setting, len(self.shape)).tolist()

    def of_size(self, size: int) -> Neighbourhood:
        """The same on a state of so many entries: its first axis may be longer, as a trajectory is.

        Raises
        ------
        ValueError
            If so many entries are no whole rows.
        """
        row = math.prod(self.shape[1:])
        if size % row:
            raise ValueError(f"a state has {size} entries, but the neighbourhood has rows of {row}: give whole rows")
        return replace(self, shape=(size // row, *self.shape[1:]))

    def neighbours(self) -> np.ndarray:
        """Entry of the flat state at every place and offset ``(place, offset)``; -1 beyond an edge."""
        reaches = [np.arange(-width, width + 1) for width in self._each(self.half_width)]
        places = np.stack(np.unravel_index(np.arange(math.prod(self.shape)), self.shape), axis=-1)
        offsets = np.stack(np.meshgrid(*reaches, indexing="ij"), axis=-1).reshape(-1, len(self.shape))
        near = places[:, None, :] + offsets
        entries = np.ravel_multi_index(tuple(np.moveaxis(near, -1, 0)), self.shape, mode="wrap")
        inside = (near >= 0) & (near < np.array(self.shape)) | np.array(self._each(self.periodic), dtype=bool)
        return np.where(inside.all(axis=-1), entries, -1)


@dataclass(frozen=True)
class LearnedScore:
    """A score learned from the states of an ensemble, or of a long run.

    Used as the score of a filter it learns anew from every prior. To learn once from a climatology,
    ``FunctionScore(LearnedScore(...).fit(states, rng))`` is the prior. With a neighbourhood on a plane, what was
    learned from short states is a score of longer ones, too: see `Neighbourhood.of_size`.

    Parameters
    ----------
    regressor : Regressor, optional
        Copied before it learns; `Perceptron` by default.
    neighbourhood : Neighbourhood, optional
        Local weights, shared by all places.
    repeats : int
        Times that every state is blurred.
    noise : EDM
        The law of the noise levels, over the scale of the states; by default with more of the large ones than is usual
        for images, as they decide how many draws go to which cluster.
    """

    regressor: Regressor | None = None
    neighbourhood: Neighbourhood | None = None
    repeats: int = 100
    noise: EDM = field(default_factory=lambda: EDM(mean=-0.5, deviation=1.3))

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
        from threadpoolctl import threadpool_limits

        states = to_numpy(prior).astype(np.float64)
        members, size = states.shape
        if members < FEWEST:
            raise ValueError(f"a score is learned from {members} states: give {FEWEST} or more")
        if self.neighbourhood and math.prod(self.neighbourhood.shape) != size:
            raise ValueError(f"states have {size} entries, but the neighbourhood has shape {self.neighbourhood.shape}")
        mean = states.mean() if self.neighbourhood else states.mean(axis=0)
        scale = float(np.sqrt(np.mean((states - mean) ** 2)))
        if not scale > 0:
            raise ValueError("all states are equal: a score is learned from states that vary")
        neighbours = self.neighbourhood.neighbours() if self.neighbourhood else None
        unit = np.tile((states - mean) / scale, (self.repeats, 1))
        ratio = self.noise.training_noise(len(unit), rng)[:, None]
        blurred = unit + ratio * normal(rng, unit.shape, unit)
        wanted = (unit - blurred / (1 + ratio**2)) * np.sqrt(1 + ratio**2) / ratio
        regressor = deepcopy(self.regressor) if self.regressor else Perceptron()
        columns = size if neighbours is None else 1
        wanted = wanted.reshape(-1, columns)
        with warnings.catch_warnings(), threadpool_limits(1, "blas"):  # shared out, it takes ten times as long
            warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iterations")  # they are a setting
            regressor.fit(_features(blurred, ratio, neighbours), wanted if columns > 1 else wanted[:, 0])

        @cache
        def neighbours_of(size: int) -> np.ndarray | None:
            return self.neighbourhood.of_size(size).neighbours() if self.neighbourhood else None

        def denoise(blurred: np.ndarray, ratio: float) -> np.ndarray:
            levels = np.full((len(blurred), 1), ratio)
            rows = _features(blurred, levels, neighbours_of(blurred.shape[1]))
            predicted = np.asarray(regressor.predict(rows))
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
