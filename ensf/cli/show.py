"""``ensf list`` and ``ensf report DIR``: what there is, and figures and animations of what was run."""

from __future__ import annotations

from ensf.runs.files import expanded
from ensf.runs.owner import owned

__all__ = ["list_experiments", "report"]


def list_experiments(arguments: list[str]) -> int:
    """Experiments and methods, one line each."""
    from ensf import experiments

    if arguments:
        raise ValueError(f"`ensf list` takes no argument, not {arguments[0]!r}")
    for name in experiments.names():
        experiment = experiments.load(name)
        print(f"{name}: {experiment.summary}")
        for key, method in experiment.methods.items():
            print(f"    {key}: {method.summary} ({method.members} members)")
    return 0


def report(arguments: list[str]) -> int:
    """Draw the figures of a folder, or with ``--animate`` its maps, one cycle after another."""
    from ensf import plot
    from ensf.plot import fields as plot_fields

    folders = [expanded(word) for word in arguments if word != "--animate"]
    if len(folders) != 1:
        raise ValueError("name one folder: ensf report DIR [--animate]")
    draw = plot_fields.animate_folder if "--animate" in arguments else plot.report
    with owned(folders[0], make=False):
        for path in draw(folders[0]):
            print(f"wrote {path}")
    return 0
