"""Options of a command: a parser, values as a flat mapping of dotted names, and lists of words."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ensf.runs.files import expanded
from ensf.runs.recipe.words import whole_numbers

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from ensf.twin import Experiment

__all__ = ["ENGINE", "MEMORY", "Options", "command", "named", "nearest", "parser", "read", "seeds", "within_burn_in"]

ENGINE = "serial, processes:N (processes = one per processor), dask, dask:tcp://HOST:PORT, or mpi"
MEMORY = "GB of memory that each process may take, about; 0 = no limit"
WRONG = re.compile(r"Parser key \"([^\"]+)\": Expected a <class '(str|int|float|dict|list)'>\. Got value: (.*)")
KINDS = {
    "str": "text, in quotes",
    "int": "a whole number",
    "float": "a number",
    "dict": "a table of names and values",
    "list": "a list, in square brackets",
}
"""What the parser says of a value of another kind, and what an option takes, in words."""
UNKNOWN = re.compile(r"Option '([^']+)' is not accepted")
"""What it says of a name in a file that is no option."""
Options: TypeAlias = dict[str, Any]
"""Values of options by their dotted names."""


def command(*words: str) -> str:
    """A command line as text for the attributes of files, whatever its bytes."""
    return os.fsencode(shlex.join(["ensf", *words])).decode("utf-8", "replace")


def parser(program: str, description: str) -> ArgumentParser:
    """Parser without options but `--config`."""
    from jsonargparse import ActionConfigFile, ArgumentParser

    class Parser(ArgumentParser):
        """What is text by default is text in a file, too."""

        def add_argument(self, *names: Any, **about: Any) -> argparse.Action:
            match about:
                case {"default": str()} if not about.keys() & {"action", "type"}:
                    about["type"] = str
            return super().add_argument(*names, **about)

    class Config(ActionConfigFile):
        """A file in UTF-8, whatever the locale; what cannot be read names it."""

        def __call__(
            self,
            parser: argparse.ArgumentParser,
            cfg: argparse.Namespace,
            values: str | Sequence[str] | None,
            option_string: str | None = None,
        ) -> None:
            self.apply_config(parser, cfg, self.dest, _toml(expanded(str(values))))

    made = Parser(prog=program, description=description, parser_mode="toml", exit_on_error=False, allow_abbrev=False)
    made.add_argument("--config", action=Config, help="TOML file with any of the options below")
    return made


def read(parser: ArgumentParser, arguments: list[str]) -> Options:
    """Options as a flat mapping of dotted names."""
    from jsonargparse import ArgumentError

    _check_names(parser, arguments)
    try:
        options = parser.parse_args(_with_tables(parser, arguments))
    except ArgumentError as error:
        sentence = " ".join(str(error).split())
        if sentence.startswith("unrecognized arguments") and sentence.endswith(".toml"):
            sentence += ": a configuration is given as --config FILE"
        wrong = WRONG.fullmatch(sentence)
        if unknown := UNKNOWN.fullmatch(sentence):
            name = unknown[1].partition(".")[0]
            near = nearest(name, (action.dest for action in _shown(parser) if action.dest not in ("help", "config")))
            sentence = f"the configuration has {name!r}, which is no option: the nearest are {near}"
        raise ValueError(f"{wrong[1]} is {wrong[3]}: give {KINDS[wrong[2]]}" if wrong else sentence) from None
    values = {key: value for key, value in _flatten(options.as_dict()).items() if key != "config"}
    _check_kinds(parser, values)
    return values


def _with_tables(parser: ArgumentParser, arguments: list[str]) -> list[str]:
    """Arguments with ``lat=nav_lat,lon=nav_lon`` after an option that is a table as the JSON that the parser reads.

    Of an option that is given several times all entries count.
    """
    tables = {option for action in parser._actions if action.default == {} for option in action.option_strings}
    made, entries = list[str](), dict[str, dict[str, str]]()
    for word in arguments:
        option, equals, rest = word.partition("=") if word.startswith("--") else (made[-1] if made else "", "", word)
        if option not in tables or word.startswith("--") and not equals or "=" not in rest or rest.startswith("{"):
            made.append(word)
            continue
        if not equals:
            made.pop()
        pairs = (pair.partition("=") for pair in _entries(rest))
        entries.setdefault(option, {}).update({name.strip(): value.strip() for name, _, value in pairs})
    return made + [word for option, table in entries.items() for word in (option, json.dumps(table))]


def _entries(text: str) -> list[str]:
    """Entries of a table, between commas that are in no brackets: those of a recipe may be nested."""
    entries = [""]
    for piece in text.split(","):
        is_open = entries[-1].count("(") > entries[-1].count(")")
        entries = [*entries[:-1], f"{entries[-1]},{piece}"] if is_open else [*entries, piece]
    return entries[1:]


def _toml(path: Path) -> str:
    """Text of a TOML file.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, is not UTF-8, or no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        tomllib.loads(text)
        os.fsencode(text)
    except OSError as error:
        raise OSError(f"config file {path} cannot be read ({error.strerror}): check the path") from error
    except UnicodeEncodeError as error:
        raise ValueError(
            f"config file {path} has characters that this locale cannot write ({error.encoding}): set LC_ALL=C.UTF-8"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"config file {path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"config file {path} is no TOML ({error}): mend it") from error
    return text + "\n"


def _check_kinds(parser: ArgumentParser, values: Options) -> None:
    """Raise ValueError for a table where an option is none, and for a switch that is neither on nor off.

    Of the other kinds the parser takes care.
    """
    for action in parser._actions:
        name, default = action.dest, action.default
        inside = [key.removeprefix(f"{name}.") for key in values if key.startswith(f"{name}.")]
        if inside and name not in values and action.help != argparse.SUPPRESS and default != {}:
            raise ValueError(f"{name} is a table with {', '.join(inside)}: give a value")
        if default is False and values[name] not in (True, False):
            raise ValueError(f"{name} is {values[name]!r}: give true or false")


def _flatten(tree: Options, prefix: str = "") -> Options:
    flat: Options = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return flat


def _check_names(parser: ArgumentParser, arguments: list[str]) -> None:
    """Refuse unknown options with the nearest ones, and config files that are not there."""
    among = [option for action in _shown(parser) for option in action.option_strings]
    for word in arguments:
        option = word.split("=", 1)[0]
        if option.startswith("--") and option not in among and option != "--print_config":
            raise ValueError(f"unknown option {option}: the nearest are {nearest(option, among)}")
    for flag, value in pairwise([*arguments, ""]):
        if flag == "--config" and not expanded(value).is_file():
            raise FileNotFoundError(f"config file {value!r} is not there: check the path after --config")


def _shown(parser: ArgumentParser) -> list[argparse.Action]:
    """The options that its help names."""
    return [action for action in parser._actions if action.help != argparse.SUPPRESS]


def nearest(word: str, among: Iterable[str]) -> str:
    names = list(among)
    return ", ".join(difflib.get_close_matches(word, names, n=3, cutoff=0.3) or names)


def seeds(text: str, option: str = "--seeds") -> list[int]:
    """Whole numbers, none of them negative; as `whole_numbers`."""
    numbers = whole_numbers(text, option)
    if min(numbers) < 0:
        raise ValueError(f"{option} {text!r} needs numbers, none of them negative")
    return numbers


def within_burn_in(experiment: Experiment) -> str:
    """What is to be said of a run that is shorter than its burn-in."""
    return f"the run ends within its burn-in, t = {experiment.burn_in:g}: scores are means over all its cycles"


def named(text: str, among: Sequence[str], what: str, of: str = "the board") -> tuple[str, ...]:
    """Names separated by commas, each of them among those."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in among:
            raise ValueError(f"unknown {what} {name!r} of {of}: the nearest are {nearest(name, among)}")
    if not names:
        raise ValueError(f"--{what}s is empty: name some of {', '.join(among)}")
    return names
