"""``ensf list``: what there is."""

from __future__ import annotations

__all__ = ["list_experiments"]


def list_experiments(arguments: list[str]) -> int:
    """Experiments and methods, one line each: all, or those with a word in their name or summary."""
    from ensf import experiments

    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: ensf list [WORD]\n\nexperiments and their methods; those whose name or summary has the word")
        return 0
    if len(arguments) > 1 or arguments and arguments[0].startswith("-"):
        raise ValueError(f"`ensf list` takes one word, not {' '.join(arguments)!r}")
    word = arguments[0].lower() if arguments else ""
    pages = [experiments.load(name) for name in experiments.names()]
    chosen = [page for page in pages if word in f"{page.name} {page.summary} {page.source}".lower()]
    if not chosen:
        raise ValueError(f"no experiment has {arguments[0]!r} in its name or summary: `ensf list` shows all")
    for experiment in chosen:
        print(f"{experiment.name}: {experiment.summary}")
        for key, method in experiment.methods.items():
            print(f"    {key}: {method.summary} ({method.members} members)")
    return 0
