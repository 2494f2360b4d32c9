"""What a shell completes is what the commands take."""

import subprocess
import sys

import pytest

from ensf import experiments
from ensf.cli import COMMANDS, board, completion, main, run


def below(parser):
    """Branches of a parser by name."""
    return {name: branch for action in parser._actions for name, branch in (action.choices or {}).items()}


def options(parser):
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")}


@pytest.fixture(scope="module")
def commands():
    return below(completion.tree())


def test_every_command_is_there(commands):
    assert list(commands) == list(COMMANDS)


def test_every_experiment_has_its_settings(commands):
    pages = below(commands["run"])
    assert list(pages) == list(experiments.names())
    wanted = options(run.parser(experiments.load("lorenz96_half"))) - {"--print_shtab"}
    assert options(pages["lorenz96_half"]) == wanted and "--model.forcing" in wanted
    assert wanted - options(below(commands["sweep"])["lorenz96_half"]) == {
        "--config", "--overwrite", "--resume", "--restart-every", "--keep-members",
    }  # fmt: skip


def test_options_that_take_a_value_wait_for_it(commands):
    takes = {action.dest: action.nargs for action in commands["board"]._actions}
    assert takes["seeds"] is None and options(commands["board"]) == options(board.parser()) - {"--print_shtab"}
    assert {action.dest: action.nargs for action in commands["analyse"]._actions}["overwrite"] == 0


@pytest.mark.parametrize("words", [["ksh"], ["bash", "zsh"]])
def test_what_is_no_shell_is_refused(capsys, words):
    assert main(["completion", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ensf: no completion for") and error.count("\n") == 1


def test_without_shtab_one_sentence_says_how_to_have_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr().err == (
        'ensf: completion needs shtab, which is not installed: pip install "ensf[completion]"\n'
    )


def test_help_says_where_the_script_goes(capsys):
    assert main(["completion", "--help"]) == 0
    assert "bash-completion/completions/ensf" in capsys.readouterr().out


def test_bash_completes(tmp_path, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "ensf.sh"
    script.write_text(capsys.readouterr().out)

    def completed(*words):
        lines = f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _shtab_ensf ensf "
        lines += f"'{words[-1]}' '{words[-2]}'; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        return subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=True).stdout.split()

    assert completed("ensf", "obs") == ["observe-one"]
    assert completed("ensf", "run", "river") == ["river_hymod"]
    assert "--model.forcing" in completed("ensf", "run", "lorenz96_half", "--model.f")
