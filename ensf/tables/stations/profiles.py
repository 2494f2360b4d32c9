"""Where a station is between the levels of its column, and what each level weighs in a layer.

Levels z_k may be the same everywhere, or those of each station's own column (terrain-following coordinates). At a
height the profile is linear between the two levels around it; the mean of that profile over a layer [a, b] is exact,

    1/(b-a) int_a^b q dz = sum_k w_k q_k,        w_k = 1/(b-a) int_a^b e_k dz,        e_k = hat function of level k.
"""

from __future__ import annotations

import numpy as np

from ensf.dataset.grids import EDGE, bracket

__all__ = ["layer_weights", "level_weights"]


def level_weights(levels: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two levels around each station, ``(station, 2)``, their weights, and whether it is between levels.

    Parameters
    ----------
    levels : (level,) or (station, level) array
        Increasing or decreasing.
    height : (station,) array

    Raises
    ------
    ValueError
        If the levels of a grid neither increase nor decrease.
    """
    if levels.ndim == 1:
        return bracket(levels, height)
    down = levels[:, :1] > levels[:, -1:]
    ordered = np.where(down, levels[:, ::-1], levels)
    left = np.clip((ordered <= height[:, None]).sum(axis=1) - 1, 0, levels.shape[1] - 2)[:, None]
    pair = np.concatenate([left, left + 1], axis=1)
    below, above = np.take_along_axis(ordered, pair, axis=1).T
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = (height - below) / (above - below)
    inside = (fraction >= -EDGE) & (fraction <= 1 + EDGE)
    fraction = np.clip(np.where(inside, fraction, 0.0), 0.0, 1.0)
    pair = np.where(down, levels.shape[1] - 1 - pair, pair)
    return pair, np.stack([1 - fraction, fraction], axis=1), inside


def layer_weights(levels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Weight of each level in the mean over the layer from `low` to `high`, ``(level,)``.

    Parameters
    ----------
    levels : (level,) array
        Increasing or decreasing.
    low, high : float
        Edges of the layer, in the unit of the levels.

    Raises
    ------
    ValueError
        If the layer is not between the levels.
    """
    bottom, top = float(levels.min()), float(levels.max())
    if low < bottom or high > top:
        raise ValueError(f"the layer from {low:g} to {high:g} is outside the levels, {bottom:g} to {top:g}: narrow it")
    nodes = np.unique(np.concatenate([levels[(levels > low) & (levels < high)], [low, high]]).astype(np.float64))
    steps = np.diff(nodes)
    trapezoid = np.concatenate([steps, [0.0]]) / 2 + np.concatenate([[0.0], steps]) / 2
    pair, weight, _ = bracket(levels, nodes)
    total = np.zeros(len(levels))
    np.add.at(total, pair, weight * trapezoid[:, None])
    return total / (high - low)
