"""``ensf list``: what there is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

__all__ = ["list_experiments"]

PARTS = {
    "schedules": ("alpha", "variance"),
    "scores": ("fit",),
    "guidances": ("fit", "stiffness"),
    "samplers": ("walk",),
}
"""Parts of a sampler of the posterior, and the verbs by which one knows them."""


def list_experiments(arguments: list[str]) -> int:
    """Experiments and methods, one line each: all, or those with a word in their name or summary; or parts."""
    from ensf import experiments

    parts = ", ".join(PARTS)
    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: ensf list [WORD]\n\nexperiments and their methods; those whose name or summary has the word")
        print(f"or, of what score filters are made of: {parts}")
        return 0
    if len(arguments) > 1 or arguments and arguments[0].startswith("-"):
        raise ValueError(f"`ensf list` takes one word, not {' '.join(arguments)!r}")
    word = arguments[0].lower() if arguments else ""
    if word in PARTS:
        for name, summary in _of_kind(word):
            print(f"{name}: {summary}")
        return 0
    pages = [experiments.load(name) for name in experiments.names()]
    chosen = [page for page in pages if word in f"{page.name} {page.summary} {page.source}".lower()]
    if not chosen:
        raise ValueError(
            f"no experiment has {arguments[0]!r} in its name or summary: `ensf list` shows all, and `ensf list PART` "
            f"those of {parts}"
        )
    for experiment in chosen:
        print(f"{experiment.name}: {experiment.summary}")
        for key, method in experiment.methods.items():
            print(f"    {key}: {method.summary} ({method.members} members)")
    return 0


def _of_kind(part: str) -> Iterator[tuple[str, str]]:
    """Names and summaries of the parts of one kind, and of functions that make one."""
    from ensf import diffusion

    def kind_of(one: object) -> str:
        fitting = [kind for kind, verbs in PARTS.items() if all(hasattr(one, verb) for verb in verbs)]
        return fitting[-1] if inspect.isclass(one) and not getattr(one, "_is_protocol", False) and fitting else ""

    for name in sorted(diffusion.__all__, key=str.lower):
        one = getattr(diffusion, name)
        made = getattr(diffusion, str(getattr(one, "__annotations__", {}).get("return", "")), None)
        if part == kind_of(made if inspect.isfunction(one) else one):
            yield name, (inspect.getdoc(one) or "").splitlines()[0]
