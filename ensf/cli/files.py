"""Options that the commands of files share: what of the files is analysed, what is checked.

One configuration file serves them all: each passes over what is only another's.
"""

from __future__ import annotations

import math
from argparse import SUPPRESS
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ensf.cli.options import Options

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from ensf.dataset.methods import Method
    from ensf.offline.cycle import Estimated
    from ensf.tables import Correlation

__all__ = [
    "add",
    "add_state",
    "method",
    "of_any_command",
    "parameters",
    "settings",
    "several",
    "state",
    "table",
    "words",
]


def add_state(parser: ArgumentParser) -> None:
    """Add the options that say what of the files is the state, and where it is; `state` reads them."""
    option = parser.add_argument
    option("--variables", type=Any, default={}, help="names, separated by commas; in a file a table with settings")
    option("--surface", type=Any, default="", help="variables whose rows without a height see the level at the surface")
    option(
        "--coordinates",
        type=dict[str, str],
        metavar="lat=NAME",
        default={},
        help="coordinate of the grid for lat, lon, x, y or z",
    )
    option(
        "--periods",
        type=dict[str, float],
        metavar="x=40",
        default={},
        help="period of x, y or the coordinate of a line, in a periodic domain",
    )


def add(parser: ArgumentParser) -> None:
    """Add those, and the options of observations."""
    add_state(parser)
    option = parser.add_argument
    option("--quality", default="", help="checks of the observations: 'Duplicates(), GrossCheck(4.0)'")
    option("--withhold", type=float, default=0.0, help="part of the places whose rows are scored, not used: 0.2")
    option("--bands", type=Any, default="", help="edges of level bands for the statistics, separated by commas")
    option("--good", type=Any, default=0, help="codes of qc that are to be used: 0; for Argo 1,2")
    option("--correlation", default="", help="of errors within a group, 'ByDistance(100.0)'; see the column group")
    option("--correlations", type=dict[str, str], metavar="swath=Constant(0.4)", default={}, help="by kind or variable")
    option("--laws", type=dict[str, str], metavar="chl=Lognormal", default={}, help="error laws by kind or variable")
    option("--parameters", type=dict[str, Any], default={}, help="parameters of the model, in a file: a table each")
    option("--strict", action="store_true", help="refuse a table with rows that cannot be used")


def of_any_command(parser: ArgumentParser) -> ArgumentParser:
    """The parser, which passes over options of the other commands of files where a configuration file has them."""
    own = {action.dest for action in parser._actions}
    commands = [import_module(f"ensf.cli.{name}") for name in ("analyse", "cycle", "observe_one")]
    for name in dict.fromkeys(action.dest for command in commands for action in command.parser()._actions):
        if name not in own:
            parser.add_argument(f"--{name}", type=Any, default=None, help=SUPPRESS)
    return parser


NUMBER = (int, float)
PARAMETER: dict[str, type | tuple[type, ...]] = {
    "value": NUMBER, "spread": NUMBER, "transform": str, "min_spread": NUMBER, "walk": NUMBER, "places": list,
}  # fmt: skip
"""Settings of a parameter, and of which kind they are."""
WANTED: dict[type | tuple[type, ...], str] = {NUMBER: "a number", str: "text", list: "a list of places"}


def settings(values: Options) -> Options:
    """The fields of the same names of `ensf.offline.Offline` and `ensf.offline.cycle.Cycling`."""
    from ensf.runs.recipe.reader import read_settings

    return {
        **state(values),
        "good": _codes(values["good"]),
        "checks": _checks(read_settings(values["quality"])),
        "correlation": _correlations(values),
        "laws": _laws(table(values, "laws")),
        "strict": values["strict"],
        "withhold": values["withhold"],
        "bands": _edges(values["bands"]),
    }


def state(values: Options) -> Options:
    """What of the files is analysed, and where it is."""
    variables, surface = _variables(values)
    return {
        "variables": variables,
        "surface": (*surface, *_words(values["surface"])),
        "coordinates": table(values, "coordinates"),
        "periods": {name: float(value) for name, value in table(values, "periods").items()},
    }


def parameters(values: Options) -> dict[str, Estimated]:
    """Parameters of the model by name: ``[parameters.rate]`` with the settings of `Estimated` and `Parameter`."""
    from ensf.filters.base import can
    from ensf.offline.cycle import Estimated
    from ensf.runs.recipe.reader import read_settings
    from ensf.wrappers import Parameter

    tables: dict[str, Options] = {}
    for key, value in table(values, "parameters").items():
        name, _, setting = key.partition(".")
        if not setting and value != {}:
            raise ValueError(f"parameters.{name} is {value!r}: give a table, [parameters.{name}], which may be empty")
        tables.setdefault(name, {}).update({setting: value} if setting else {})
    made = {}
    for name, one in tables.items():
        for setting, value in one.items():
            kind = PARAMETER.get(setting)
            if kind is None:
                raise ValueError(f"parameters.{name}.{setting} is no setting: give {', '.join(PARAMETER)}")
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ValueError(f"parameters.{name}.{setting} is {value!r}: give {WANTED[kind]}")
        _check_places(one.get("places", []), name)
        transforms = read_settings(one.get("transform", ""))
        if len(transforms) > 1 or not all(can(transform, "inverse") for transform in transforms):
            raise ValueError(
                f"parameters.{name}.transform is {one['transform']!r}: give one transform such as Log() or Logit(0, 1)"
            )
        how = {key: one[key] for key in ("min_spread", "walk", "places") if key in one}
        start = {key: float(one[key]) for key in ("value", "spread") if key in one}
        try:
            made[name] = Estimated(Parameter(*transforms, **how), **start)
        except (TypeError, ValueError) as error:
            raise ValueError(f"parameters.{name}: {error}") from None
    return made


def _check_places(places: list[Any], name: str) -> None:
    """Raise ValueError unless places are numbers, or lists of equally many of them."""
    import numpy as np

    try:
        numbers = np.array(places or [0.0])
        good = numbers.dtype.kind in "iuf" and 1 <= numbers.ndim <= 2
    except ValueError:  # ragged
        good = False
    if not good:
        raise ValueError(
            f"parameters.{name}.places is {places!r}: give lists of equally many numbers, one list for each place, as "
            "[[47.0, 11.0], [48.5, 9.0]]"
        )


def method(text: str) -> Method:
    """A filter as Python writes it; ``letsf``, or nothing, is the recommended one, which asks the files for places."""
    from ensf.dataset.methods import Recommended
    from ensf.runs.recipe.reader import read_method, settings_without_localization

    if text.strip() in ("", "letsf"):
        return "letsf"
    read_method(text)
    settings = settings_without_localization(text)
    return read_method(text) if settings is None else Recommended(settings)


def table(values: Options, name: str) -> Options:
    """A table of the configuration, which comes as dotted names."""
    return {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}


def several(value: object) -> tuple[str, ...]:
    """Names or patterns, or a single one."""
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def words(text: str) -> tuple[str, ...]:
    """Words separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _variables(values: Options) -> tuple[Any, tuple[str, ...]]:
    """Names, or a mapping of names to settings; and those that are declared surface ones, ``sst.surface = true``."""
    from ensf.runs.recipe.reader import read_settings

    by_name: dict[str, str] = {}
    surface = []
    for key, text in table(values, "variables").items():
        name, _, setting = key.partition(".")
        if setting not in ("", "surface", "transform"):
            raise ValueError(f"variables.{key} is no setting: give {name}.surface or {name}.transform")
        by_name.setdefault(name, "")
        if setting == "surface" and text not in (True, False):
            raise ValueError(f"variables.{key} is {text!r}: give true or false")
        if setting == "surface":
            surface += [name] if text else []
        else:
            by_name[name] = "" if text is True else str(text)
    if by_name:
        return {name: read_settings(text) for name, text in by_name.items()}, tuple(surface)
    return _words(values.get("variables") or ""), ()


def _words(value: object) -> tuple[str, ...]:
    """A list of a configuration, or words separated by commas."""
    return words(",".join(several(value)))


def _codes(value: object) -> tuple[int, ...]:
    """Whole numbers, in a list or separated by commas."""
    try:
        return tuple(int(word) for word in _words(value))
    except ValueError:
        raise ValueError(f"--good {value!r} is no list of codes: give whole numbers such as 1,2") from None


def _edges(value: object) -> tuple[float, ...]:
    try:
        edges = tuple(float(edge) for edge in _words(value))
        if not all(map(math.isfinite, edges)):
            raise ValueError
        return edges
    except (TypeError, ValueError):
        raise ValueError(f"--bands {value} are no edges of levels: give numbers such as 0,100,500") from None


def _correlations(values: Options) -> Correlation | dict[str, Correlation] | None:
    """One for all groups, or by kind or variable."""
    one, by_name = _correlation(values["correlation"]), table(values, "correlations")
    if one is not None and by_name:
        raise ValueError(f"correlation is for all groups, correlations for {', '.join(by_name)}: give one of the two")
    chosen = {name: _correlation(str(text)) for name, text in by_name.items()}
    for name, setting in chosen.items():
        if setting is None:
            raise ValueError(f"correlations.{name} is empty: give one such as ByDistance(100.0)")
    return {name: setting for name, setting in chosen.items() if setting is not None} or one


def _correlation(text: str) -> Correlation | None:
    from ensf.filters.base import can
    from ensf.runs.recipe.reader import read_settings

    settings = read_settings(text)
    if len(settings) > 1 or not all(can(one, "matrix") for one in settings):
        raise ValueError(f"--correlation {text!r} is no correlation of errors: give one such as ByDistance(100.0)")
    return settings[0] if settings else None


def _laws(laws: Options) -> dict[str, str]:
    from ensf.tables.laws import read_law

    for name, text in laws.items():
        try:
            read_law(str(text))
        except ValueError as error:
            raise ValueError(f"--laws of {name!r}: {error}") from None
    return {name: str(text) for name, text in laws.items()}


def _checks(checks: tuple[Any, ...]) -> tuple[Any, ...]:
    from ensf.filters.base import can

    for check in checks:
        if not can(check, "flag"):
            raise ValueError(f"--quality has {check!r}, which is no check: give some such as GrossCheck(4.0)")
    return checks
