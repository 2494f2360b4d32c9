"""Options that ``ensf analyse`` and ``ensf cycle`` share: what of the files is analysed, what is checked."""

from __future__ import annotations

from typing import Any

__all__ = ["add", "settings", "table", "words"]


def add(parser: Any) -> None:
    """Add the options to a parser."""
    option = parser.add_argument
    option("--variables", type=Any, default="", help="names, separated by commas; in a file a table with settings")
    option("--quality", default="", help="checks of the observations: 'Duplicates(), GrossCheck(4.0)'")
    option("--coordinates", type=dict, default={}, help="coordinate of the grid for lat, lon, x, y or z")
    option("--periods", type=dict, default={}, help="period of x or y in a periodic domain")
    option("--strict", action="store_true", help="refuse a table with rows that cannot be used")


def settings(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of the same names of `ensf.offline.Offline` and `ensf.offline.cycle.Cycling`."""
    from ensf.runs.recipe.reader import read_settings

    return {
        "variables": _variables(given),
        "checks": _checks(read_settings(given["quality"])),
        "coordinates": table(given, "coordinates"),
        "periods": {name: float(value) for name, value in table(given, "periods").items()},
        "strict": given["strict"],
    }


def table(given: dict[str, Any], name: str) -> dict[str, Any]:
    """A table of the configuration, which comes as dotted names."""
    return {key.removeprefix(f"{name}."): value for key, value in given.items() if key.startswith(f"{name}.")}


def words(text: str) -> tuple[str, ...]:
    """Words separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _variables(given: dict[str, Any]) -> Any:
    """Names, or a mapping of names to settings."""
    from ensf.runs.recipe.reader import read_settings

    chosen = table(given, "variables")
    if chosen:
        return {name: read_settings("" if text is True else str(text)) for name, text in chosen.items()}
    value = given.get("variables") or ""
    return tuple(value) if isinstance(value, list) else words(str(value))


def _checks(found: tuple[Any, ...]) -> tuple[Any, ...]:
    for one in found:
        if isinstance(one, type) or not hasattr(one, "flag"):
            raise ValueError(f"--quality has {one!r}, which is no check: give some such as GrossCheck(4.0)")
    return found
