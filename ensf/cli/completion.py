"""``ensf completion SHELL``: a script with which the shell completes commands, experiments, options and files.

The parsers of the commands are asked once, when the script is written: pressing Tab starts no Python.
"""

from __future__ import annotations

import argparse
import importlib

__all__ = ["completion", "tree"]

HELP = """usage: ensf completion bash|zsh|fish|tcsh

prints a script by which Tab completes commands, experiments, their settings, and files
(needs shtab: pip install "ensf[completion]")

  bash   ensf completion bash > ~/.local/share/bash-completion/completions/ensf
  zsh    ensf completion zsh > a folder of $fpath, as _ensf
  fish   ensf completion fish > ~/.config/fish/completions/ensf.fish
"""
SHELLS = ("bash", "zsh", "fish", "tcsh")
FILES = ("--config", "--prior", "--observations", "--memory")
FOLDERS = ("--output",)


def completion(arguments: list[str]) -> int:
    """Print the script."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0 if arguments else 2
    if len(arguments) > 1 or arguments[0] not in SHELLS:
        raise ValueError(f"no completion for {' '.join(arguments)!r}: name one shell of {', '.join(SHELLS)}")
    try:
        import shtab
    except ModuleNotFoundError:
        raise ImportError('completion needs shtab, which is not installed: pip install "ensf[completion]"') from None
    whole = tree()
    for action in _all(whole):
        if action.dest in ("file", "folder") or set(action.option_strings) & {*FILES, *FOLDERS}:
            files = action.dest == "file" or bool(set(action.option_strings) & set(FILES))
            action.complete = shtab.FILE if files else shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(whole, arguments[0]))
    return 0


def tree() -> argparse.ArgumentParser:
    """Every command with its options; for `run` and `sweep` every experiment with its settings."""
    from ensf import experiments
    from ensf.cli import COMMANDS, new, run, sweep

    whole = argparse.ArgumentParser(prog="ensf")
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers(dest="command")
    branches = {name: commands.add_parser(name, help=f"ensf {name}") for name in COMMANDS}
    for name in ("analyse", "board", "cycle", "observe-one", "report", "watch"):
        module = importlib.import_module(f"ensf.cli.{name.replace('-', '_')}")
        _copy(module.parser(), branches[name])
    pages = {name: branches[name].add_subparsers(dest="experiment") for name in ("run", "sweep")}
    for page in map(experiments.load, experiments.names()):
        taken = run.parser(page)
        about = page.summary.replace("%", "%%")
        _copy(taken, pages["run"].add_parser(page.name, help=about))
        _copy(taken, pages["sweep"].add_parser(page.name, help=about), sweep.NOT_OF_RUN)
    for name in ("report", "watch"):
        branches[name].add_argument("folder")
    branches["cycle"].add_argument("file")
    kinds = branches["new"].add_subparsers(dest="kind")
    for kind in new.KINDS:
        kinds.add_parser(kind, help=f"a template of a {kind}")
    branches["completion"].add_argument("shell", choices=SHELLS)
    return whole


def _copy(source: argparse.ArgumentParser, branch: argparse.ArgumentParser, left_out: tuple[str, ...] = ()) -> None:
    """Names, help and number of words of every option; shells need no more."""
    for action in source._actions:
        names = [name for name in action.option_strings if name not in ("-h", "--help", *left_out)]
        if not names or action.help == argparse.SUPPRESS:
            continue
        words = str(action.help or "").replace("%", "%%")
        if action.nargs == 0:
            branch.add_argument(*names, action="store_true", help=words)
        else:
            branch.add_argument(*names, nargs=action.nargs, help=words)


def _all(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Actions of a parser and of all below it."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    branches = [branch for action in below for branch in action.choices.values()]
    return [*parser._actions, *(action for branch in branches for action in _all(branch))]
