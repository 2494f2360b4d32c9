"""Standard streams that are closed, full or cut, another locale, odd paths: it works, or is one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import offline_files
import pytest

from ensf import cli
from ensf.cli import main

PROGRAM = f"{sys.executable} -c 'import sys; from ensf.cli import main; sys.exit(main(sys.argv[1:]))'"
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def shell(words, redirection="", **environment):
    """Exit status and standard error of a command in a shell."""
    line = f"{PROGRAM} {words} {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, env=os.environ | environment)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    ("redirection", "status", "words"),
    [
        (">/dev/full", 2, "ensf: standard output could not be written (No space left on device)\n"),
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("2>&- >/dev/null", 0, ""),
        ("2>/dev/full >/dev/null", 0, ""),
        ("| head -c 1 >/dev/null; exit ${PIPESTATUS[0]}", 0, ""),
    ],
)
def test_a_stream_that_fails(redirection, status, words):
    assert shell("--version", redirection) == (status, words)


def test_a_closed_stream_is_no_file_of_ours(tmp_path):
    """Without care the first file that is opened gets its number, and all that is printed."""
    offline_files.write(tmp_path)
    words = " ".join(f"'{word}'" for word in offline_files.command(tmp_path))
    assert shell(words, "<&- >&- 2>&-")[0] == 0
    assert len(list((tmp_path / "out").iterdir())) == offline_files.MEMBERS + 4


def test_a_locale_of_ascii(tmp_path):
    offline_files.write(tmp_path)
    words = " ".join(f"'{word}'" for word in offline_files.command(tmp_path))
    (tmp_path / "c.toml").write_text("# Übung\nseed = 3\n", encoding="utf-8")
    assert shell(f"{words} --dry-run", **ASCII) == (0, "")
    for more, name in ((f"--config '{tmp_path}/c.toml'", "c.toml"), (f"--output '{tmp_path}/Übung'", "bung")):
        status, errors = shell(f"{words} --overwrite {more}", **ASCII)
        assert status == 2 and errors.count("\n") == 1 and errors.startswith("ensf: "), errors
        assert name in errors and "set LC_ALL=C.UTF-8" in errors


@pytest.mark.parametrize("name", ["loop", "loop/x"])
@pytest.mark.parametrize("option", ["--output", "--observations", "--prior", "--config"])
def test_a_link_to_itself_as_a_path(tmp_path, capsys, option, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    folder = offline_files.write(tmp_path)
    words = [*offline_files.command(folder), option, str(tmp_path / name)]
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("ensf: ") and shown.count("\n") == 1 and f"{tmp_path}/loop" in shown, shown
    assert main(["run", "lorenz63_sakov2012", "--output", str(tmp_path / name)]) == 2
    assert main(["report", str(tmp_path / name)]) == 2
    assert main(["cycle", str(tmp_path / name)]) == 2
    assert main(["board", "--output", str(tmp_path / name)]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == shown.count(f"{tmp_path}/loop") == 4 and "unforeseen" not in shown, shown


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"seed = 1 # \xfc", "c.toml is not UTF-8 (byte 11)"),
        (b"seed = ", "c.toml is no TOML"),
        (b"seed = 1\x00", "c.toml is no TOML"),
        (b"\xff\xfes\x00e\x00", "c.toml is not UTF-8"),
        (b"a = " + 5000 * b"[", "c.toml is no TOML"),
    ],
)
def test_a_configuration_that_cannot_be_read(tmp_path, capsys, content, words):
    (tmp_path / "c.toml").write_bytes(content)
    for command in (["cycle"], ["run", "lorenz63_sakov2012", "--config"], ["analyse", "--config"]):
        assert main([*command, str(tmp_path / "c.toml")]) == 2
        shown = capsys.readouterr().err
        assert words in shown and shown.count("\n") == 1 and shown.startswith("ensf: config file /"), shown
    assert os.listdir(tmp_path) == ["c.toml"]


def test_an_empty_configuration(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("")
    assert main(["cycle", str(tmp_path / "c.toml")]) == 2
    assert "the configuration has no command" in capsys.readouterr().err


def test_what_is_unforeseen_has_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(cli.COMMANDS, "list", "show:nothing")
    assert main(["list"]) == 1
    shown = capsys.readouterr().err
    (path,) = tmp_path.iterdir()
    assert (
        shown == "ensf: unforeseen AttributeError: module 'ensf.cli.show' has no attribute 'nothing'; "
        f"its whole report is in {path}: please send it to the authors\n"
    )
    assert "ensf list" in path.read_text() and "Traceback" in path.read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert main(["list"]) == 1
    assert "its report could not be written (No such file or directory)" in capsys.readouterr().err


def test_the_home_folder_is_the_same_everywhere(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    home.mkdir()
    offline_files.write(home / "in")
    words = [word.replace(str(home), "~") for word in offline_files.command(home / "in")]
    (home / "c.toml").write_text('output = "~/in/other"\n')
    assert any(word.startswith("~") for word in words)
    assert main([*words, "--config", "~/c.toml"]) == 0
    monkeypatch.setattr("ensf.cli.run.report", lambda words: 0)
    assert main(["run", "lorenz63_sakov2012", "--cycles", "2", "--methods", "etkf", "--output", "~/run"]) == 0
    assert "other" in os.listdir(home / "in") and not Path("~").exists()
    assert (home / "run" / "summary.json").exists()
