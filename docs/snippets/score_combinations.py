"""Every schedule x score x guidance x sampler on two exact targets: the tables and the figure of docs/toolbox.md.

    python docs/snippets/score_combinations.py FOLDER

Both priors are in the plane, from 100 draws; the second variable is observed with error .5. `gaussian` is N(m, B), and
the posterior is that of the Kalman formula; `mixture` has two clusters that the observation weighs anew, for the two
samplers that one would take. The error is
the root of the energy distance of the analysis from the exact posterior, over that of the prior: 1 is no analysis, .1
the noise of the comparison. All samplers have 40 scores but those of chains, with 160.
"""

from __future__ import annotations

import csv
import itertools
import math
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import numpy as np

from ensf.diffusion import (
    DDIM,
    DPS,
    EDM,
    MALA,
    AdamFlow,
    AdaptiveFlow,
    AnnealedLangevin,
    ConditionalGuidance,
    Cosine,
    CriticallyDamped,
    DampedGuidance,
    DPMSolver,
    EDMHeun,
    GaussianMixture,
    GaussianScore,
    Guidance,
    IndependentScore,
    KernelDensityScore,
    Langevin,
    LearnedScore,
    LinearSchedule,
    MiniBatchScore,
    MixtureScore,
    MomentMatching,
    PairedScore,
    PiGDM,
    PredictorCorrector,
    PriorScore,
    ProbabilityFlow,
    ReverseSDE,
    Sampler,
    TiltedGuidance,
    VarianceExploding,
    VariancePreserving,
    ancestral,
    energy_distance,
    ornstein_uhlenbeck,
)
from ensf.diffusion.learned import Perceptron
from ensf.diffusion.prior_scores import FittedScore
from ensf.filters import EnSF, Lost
from ensf.observations import Observation, Select

ERROR, MEMBERS = 0.5, 100


@dataclass(frozen=True)
class Target:
    """A prior, and what is observed of its second variable."""

    prior: GaussianMixture
    value: float

    @property
    def observation(self) -> Observation:
        """Of the second variable."""
        return Observation(np.array([self.value]), Select((1,)), ERROR)

    @property
    def posterior(self) -> GaussianMixture:
        """By Bayes' rule."""
        return self.prior.posterior(np.array([[0.0, 1.0]]), np.array([[ERROR**2]]), np.array([self.value]))


TARGETS = {
    "gaussian": Target(GaussianMixture(np.ones(1), np.array([[0.5, -0.5]]), np.array([[[1.0, 0.6], [0.6, 0.8]]])), 1.0),
    "mixture": Target(
        GaussianMixture(
            np.array([0.6, 0.4]),
            np.array([[-1.5, -0.5], [1.5, 1.0]]),
            np.array([[[0.3, 0.1], [0.1, 0.4]], [[0.4, -0.1], [-0.1, 0.3]]]),
        ),
        0.8,
    ),
}
SCHEDULES = {
    "linear": LinearSchedule(),
    "VP": VariancePreserving(),
    "OU": ornstein_uhlenbeck(),
    "cosine": Cosine(),
    "VE": VarianceExploding(),
    "EDM": EDM(),
}
GUIDANCES: dict[str, Guidance] = {
    "damped": DampedGuidance(),
    "DPS": DPS(),
    "PiGDM": PiGDM(iterations=1),
    "moments": MomentMatching(iterations=1),
    "conditional": ConditionalGuidance(),
    "tilted": TiltedGuidance(),
}


@dataclass(frozen=True)
class Learned:
    """A score that was learned before."""

    score: FittedScore

    def fit(self, prior: np.ndarray, rng: np.random.Generator) -> FittedScore:
        """What was learned."""
        return self.score


def scores(target: Target, prior: np.ndarray, repeats: int = 50, epochs: int = 20) -> dict[str, PriorScore]:
    """All scores; one is learned from the prior, once."""
    learned = LearnedScore(Perceptron(epochs=epochs), repeats=repeats).fit(prior, np.random.default_rng(5))
    return {
        "exact": target.prior,
        "Gaussian": GaussianScore(),
        "independent": IndependentScore(),
        "kernels": KernelDensityScore(),
        "learned": Learned(learned),
        "members": MixtureScore(),
        "mini-batch": MiniBatchScore(50),
        "paired": PairedScore(),
    }


def samplers(target: Target, evaluations: int, chain: int, tolerance: float = 0.05) -> dict[str, Sampler]:
    """All samplers with so many scores, chains with more; MALA knows the density of the posterior."""
    half = max(2, evaluations // 2)
    return {
        "ReverseSDE": ReverseSDE(evaluations),
        "ancestral": ancestral(evaluations),
        "PredictorCorrector": PredictorCorrector(half),
        "CriticallyDamped": CriticallyDamped(evaluations),
        "DDIM": DDIM(evaluations),
        "ProbabilityFlow": ProbabilityFlow(half),
        "DPMSolver": DPMSolver(evaluations),
        "AdaptiveFlow": AdaptiveFlow(tolerance),
        "EDMHeun": EDMHeun(half),
        "EDMHeun, churn": EDMHeun(half, churn=5.0),
        "AdamFlow": AdamFlow(evaluations),
        "AnnealedLangevin": AnnealedLangevin(half, repeats=2, snr=0.7),
        "Langevin": Langevin(chain, size=0.01, time=0.02),
        "MALA": MALA(target.posterior.log_density, chain, size=0.2, time=0.02),
    }


def analysis(
    schedule: str, score: PriorScore, guidance: str, sampler: Sampler, prior: np.ndarray, observation: Observation
) -> np.ndarray:
    """Analysis ensemble of one combination."""
    method = EnSF(SCHEDULES[schedule], score, GUIDANCES[guidance], sampler)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return method.analyse(prior, observation, 1).ensemble


Row = tuple[str, str, str, str, str, float]


def measure(target: str) -> list[Row]:
    """Error of the combinations on one target; NaN where one is lost."""
    problem, rng = TARGETS[target], np.random.default_rng(11)
    prior, exact = problem.prior.draw(MEMBERS, rng), problem.posterior.draw(1000, rng)
    before = energy_distance(prior, exact)
    rows: list[Row] = []
    for (name, score), (kind, sampler) in itertools.product(
        scores(problem, prior).items(), samplers(problem, 40, 160).items()
    ):
        if target == "mixture" and kind not in ("ReverseSDE", "DPMSolver"):
            continue
        for schedule, guidance in itertools.product(SCHEDULES, GUIDANCES):
            try:
                drawn = analysis(schedule, score, guidance, sampler, prior, problem.observation)
                error = math.sqrt(max(0.0, energy_distance(drawn, exact)) / before)
            except (ArithmeticError, Lost):
                error = math.nan
            rows.append((target, schedule, name, guidance, kind, error))
        print(target, name, kind, flush=True)
    return rows


# --- tables ----------------------------------------------------------------------------------------------


def _shown(errors: list[float]) -> str:
    known = [error if math.isfinite(error) else math.inf for error in errors]
    middle = median(known)
    return "lost" if math.isinf(middle) else "&gt; 9" if middle > 9 else f"{middle:.2f}"


def table(rows: list[Row], down: int, across: int, **fixed: str) -> str:
    """Medians over all other choices, as a table of the columns with these numbers."""
    names = ("target", "schedule", "score", "guidance", "sampler")
    chosen = [row for row in rows if all(row[names.index(key)] == value for key, value in fixed.items())]
    lines, columns = list(dict.fromkeys(row[down] for row in rows)), list(dict.fromkeys(row[across] for row in rows))
    text = [f"| {names[down]} | " + " | ".join(map(str, columns)) + " |", "|---" * (len(columns) + 1) + "|"]
    for line in lines:
        cells = [_shown([float(row[5]) for row in chosen if row[down] == line and row[across] == c]) for c in columns]
        text.append(f"| {line} | " + " | ".join(cells) + " |")
    return "\n".join(text)


def figure(rows: list[Row], path: Path) -> None:
    """All errors: a square for every combination."""
    schedules, pulls, sources = list(SCHEDULES), list(GUIDANCES), list(dict.fromkeys(row[2] for row in rows))
    kinds = {target: list(dict.fromkeys(row[4] for row in rows if row[0] == target)) for target in TARGETS}
    heights = [len(names) for names in kinds.values()]
    drawn, axes = plt.subplots(2, 1, figsize=(8, 10), layout="constrained", sharex=True, height_ratios=heights)
    for axis, (target, names) in zip(axes, kinds.items(), strict=True):
        errors = np.full((len(names) * len(schedules), len(sources) * len(pulls)), np.nan)
        for where, schedule, score, guidance, sampler, error in rows:
            if where == target:
                line = names.index(sampler) * len(schedules) + schedules.index(schedule)
                errors[line, sources.index(score) * len(pulls) + pulls.index(guidance)] = error
        colours = plt.get_cmap("viridis").with_extremes(over="0.8", bad="white")
        image = axis.imshow(errors, cmap=colours, vmin=0, vmax=1.5, aspect="auto", interpolation="nearest")
        across, down = np.arange(len(sources) + 1) * len(pulls), np.arange(len(names) + 1) * len(schedules)
        axis.set_xticks(across[:-1] + len(pulls) / 2 - 0.5, sources, fontsize=8)
        axis.set_yticks(down[:-1] + len(schedules) / 2 - 0.5, names, fontsize=8)
        axis.set_xticks(across - 0.5, minor=True)
        axis.set_yticks(down - 0.5, minor=True)
        axis.grid(which="minor", color="white", lw=1.5)
        axis.tick_params(which="both", length=0)
        axis.set_title(target, fontsize=10)
    drawn.supxlabel(f"score; in each box from the left: {', '.join(pulls)}", fontsize=9)
    drawn.supylabel(f"sampler; in each box from the top: {', '.join(schedules)}", fontsize=9)
    drawn.colorbar(image, ax=axes, shrink=0.4, extend="max", label="error, over that of the prior")
    drawn.savefig(path, dpi=100)


def main(folder: Path) -> None:
    """Measure, and write `combinations.csv`, `combinations.md` and `combinations.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for target in TARGETS:
        rows += measure(target)
        with (folder / "combinations.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([("target", "schedule", "score", "guidance", "sampler", "error"), *rows])
    text = ""
    for target in TARGETS:
        text += (
            f"{target}, VP, DPMSolver:\n\n{table(rows, 2, 3, target=target, schedule='VP', sampler='DPMSolver')}\n\n"
        )
    exact = {"target": "gaussian", "score": "exact", "guidance": "conditional"}
    text += f"gaussian, exact score, conditional guidance:\n\n{table(rows, 4, 1, **exact)}\n"
    (folder / "combinations.md").write_text(text, encoding="utf-8")
    figure(rows, folder / "combinations.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
