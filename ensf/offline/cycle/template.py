"""Files of a template that are filled: ``namelist.template`` becomes ``namelist``, with its words replaced.

A word in braces, ``{rate}`` or ``{rate:.6e}``, is replaced if it is one of the task, such as a time or a parameter of
the model. All other braces stay, as those of TOML, of a shell (``${HOME}``) or of LaTeX.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["SUFFIX", "fill", "filled", "templates", "uses"]

SUFFIX = ".template"


def templates(folder: Path) -> Iterator[Path]:
    """Files of a folder that are filled, in order; linked folders are not looked into."""
    for place, _, names in sorted(os.walk(folder)):
        yield from (Path(place) / name for name in sorted(names) if name.endswith(SUFFIX) and name != SUFFIX)


def fill(folder: Path, words: Mapping[str, object]) -> None:
    """Put the filled files in the place of their templates, in a folder of one's own.

    Raises
    ------
    ValueError
        If one is no text in UTF-8, or a format does not fit.
    OSError
        If one cannot be read or written.
    """
    for path in list(templates(folder)):
        text = filled(path, words)
        path.unlink()
        target = path.with_name(path.name.removesuffix(SUFFIX))
        target.unlink(missing_ok=True)
        target.write_text(text, encoding="utf-8")


def filled(path: Path, words: Mapping[str, object]) -> str:
    """The text of a template with its words replaced; errors are those of `fill`."""

    def value(match: re.Match[str]) -> str:
        try:
            return match[0].format(**words)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{match[0]} in template {path} cannot be written: {error}") from None

    return _word(words).sub(value, _text(path))


def uses(path: Path, word: str) -> bool:
    """Whether a template has a word."""
    return _word([word]).search(_text(path)) is not None


def _word(words: Mapping[str, object] | list[str]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, words))
    return re.compile(rf"(?<!\$)\{{(?:{names})(?::[^{{}}\n]*)?\}}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"template {path} is not UTF-8 (byte {error.start}): save it as text, or under another name"
        ) from None
