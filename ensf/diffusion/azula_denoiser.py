"""Denoisers of azula (github.com/probabilists/azula, a PyTorch library) as scores, and scores as its denoisers.

There a schedule gives ``alpha_t, sigma_t = schedule(t)`` and a denoiser a posterior with a mean,
``denoiser(x_t, t).mean`` for E[x | x_t]. E[x | z] depends on z / alpha and beta / alpha alone. So a denoiser serves any
schedule of this toolbox: at its own time of the same ratio, for a state scaled to its own alpha. Written against its
public interface of version 0.10; PyTorch is imported when a function here is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, TypeAlias

import numpy as np

from ensf.arrays import Array, like, to_numpy
from ensf.diffusion.prior_scores import FittedScore, FunctionScore

__all__ = ["AzulaDenoiser", "azula_denoiser", "azula_score"]


Schedule: TypeAlias = Callable[[Array], tuple[Array, Array]]


class AzulaDenoiser(Protocol):
    """The part of `azula.denoise.Denoiser` that is used."""

    @property
    def schedule(self) -> Schedule:
        """``t -> alpha_t, sigma_t``, tensors."""

    def __call__(self, x_t: Array, t: Array) -> Any:
        """A posterior with a `mean`."""


def azula_score(denoiser: AzulaDenoiser) -> FunctionScore:
    """The score of an azula denoiser, with any schedule, sampler and filter of this package.

    Parameters
    ----------
    denoiser : azula.denoise.Denoiser
        Of flat states ``(member, state)``.
    """
    torch = _torch()

    def ratio(time: float) -> tuple[float, float]:
        alpha, sigma = denoiser.schedule(torch.as_tensor(time, dtype=torch.float64))
        return float(alpha), float(sigma) / float(alpha)

    def score(z: Array, alpha: float, variance: float) -> Array:
        wanted, low, high = math.sqrt(variance) / alpha, 0.0, 1.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if ratio(middle)[1] < wanted else (low, middle)
        time = 0.5 * (low + high)
        states = torch.as_tensor(np.ascontiguousarray(to_numpy(z)) * (ratio(time)[0] / alpha))
        with torch.no_grad():
            mean = denoiser(states, torch.as_tensor(time, dtype=states.dtype)).mean
        return (alpha * like(np.asarray(mean.detach().cpu()), z) - z) / variance

    return FunctionScore(score)


def azula_denoiser(score: FittedScore, schedule: Schedule) -> AzulaDenoiser:
    """A fitted score as an azula denoiser, for its samplers and guidance, without gradients.

    Its states are ``(row, state)``, its time one number or one for every row.

    Parameters
    ----------
    score : callable
        ``(z, alpha, variance) -> S`` on NumPy arrays.
    schedule : azula.noise.Schedule
    """
    torch = _torch()
    from azula.denoise import Denoiser, DiracPosterior

    class ScoreDenoiser(Denoiser):
        def __init__(self) -> None:
            super().__init__()
            self.schedule = schedule

        def forward(self, x_t: Any, t: Any, **options: object) -> object:
            states = np.asarray(x_t.detach().cpu())
            mean = np.empty_like(states)
            times, row_of = np.unique(np.broadcast_to(t.detach().cpu(), len(states)), return_inverse=True)
            for k, time in enumerate(times):
                rows = row_of == k
                alpha, sigma = (float(part) for part in self.schedule(torch.as_tensor(time)))
                mean[rows] = (states[rows] + sigma**2 * score(states[rows], alpha, sigma**2)) / alpha
            return DiracPosterior(mean=torch.as_tensor(mean).to(x_t))

    return ScoreDenoiser()


def _torch() -> ModuleType:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('azula denoisers need PyTorch: pip install "ensf[azula]"') from error
    return torch
