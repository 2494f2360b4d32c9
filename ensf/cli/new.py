"""``ensf new``: a file to start from, that runs as it is."""

from __future__ import annotations

import keyword
from importlib.resources import files
from pathlib import Path
from string import Template

from ensf.cli import options
from ensf.runs.files import write_text

__all__ = ["new"]

KINDS = {
    "experiment": "ensf run ./{path}",
    **dict.fromkeys(("filter", "law", "operator", "schedule", "score", "guidance", "sampler"), "python {path}"),
}
"""What there is a template of, and the command that tries it."""


def new(arguments: list[str]) -> int:
    """Write ``NAME.py`` into the current folder."""
    kinds = "|".join(KINDS)
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: ensf new {kinds} NAME\n\nwrites NAME.py here: a page or a class that runs as it is, to change")
        return 0
    if len(arguments) != 2:
        raise ValueError(f"say what, and its name: ensf new {kinds} NAME")
    kind, name = arguments
    if kind not in KINDS:
        raise ValueError(f"there is no template of {kind!r}: the nearest are {options.nearest(kind, KINDS)}")
    name = name.removesuffix(".py")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{name!r} is no name in Python: take letters, digits and _, such as my_{kind}")
    path = Path(f"{name}.py")
    if path.exists():
        raise FileExistsError(f"{path} is already there: choose another name, or remove it")
    template = files("ensf.cli").joinpath("templates", f"{kind}.txt").read_text(encoding="utf-8")
    words = {"name": name, "Name": "".join(word[:1].upper() + word[1:] for word in name.split("_"))}
    write_text(path, Template(template).substitute(words))
    print(f"wrote {path}; try it: {KINDS[kind].format(path=path)}")
    return 0
