"""``ensf list``: what there is."""

from __future__ import annotations

__all__ = ["list_experiments"]


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
