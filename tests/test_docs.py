"""The documentation does what it shows: blocks run page by page, and print what the page says they print.

A block ``python`` or ``bash`` runs; a block ``text`` after it is its output, decimals within 5 percent or one in the
last digit. ``<!-- no-test -->`` on the line before a block leaves it out. Of the README only Python runs. A block of
``ensf`` commands alone runs in this process, which has imported everything.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from ensf.cli import main
from ensf.tables.stations.derived import registered

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(?P<skip><!-- no-test -->\n)?^```(?P<kind>python|bash|text)\n(?P<text>.*?)^```$", re.M | re.S)
ONLY_ENSF = re.compile(r"(ensf (?:\\\n|[^\n<>|&;$#])*\n)+")
NUMBER = re.compile(r"[-+]?\d+(?:\.(?P<decimals>\d+))?")


def blocks(page):
    """Kind, text and line of every block to run and of every output to compare."""
    source = page.read_text(encoding="utf-8")
    kinds = ("python",) if page.name == "README.md" else ("python", "bash", "text")
    return [
        (block["kind"], block["text"], source.count("\n", 0, block.start("text")))
        for block in BLOCK.finditer(source)
        if block["kind"] in kinds and not block["skip"]
    ]


PAGES = {page.name: page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if blocks(page)}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_blocks_run_and_print_what_the_page_shows(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr("ensf.tables.stations.derived._REGISTER", registered())  # what a page registers goes with it
    names, printed = {"__name__": "__main__"}, ""
    for kind, text, line in blocks(page):
        if kind == "python":
            printed = run_python("\n" * line + text, page, names, capsys)
        elif kind == "bash":
            printed = run_commands(text, capsys) if ONLY_ENSF.fullmatch(text) else run_bash(text)
        else:
            assert_alike(printed, text, f"{page.name}, line {line + 1}")


def run_python(code, page, names, capsys):
    """What the block prints, then the warnings of ensf."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(code, str(page), "exec", dont_inherit=True), names)
    ours = [w for w in caught if w.category.__module__.startswith("ensf")]
    return capsys.readouterr().out + "".join(f"{w.category.__name__}: {w.message}\n" for w in ours)


def run_commands(text, capsys):
    """What `ensf` commands print, one per line."""
    for line in text.replace("\\\n", " ").splitlines():
        assert main(shlex.split(line)[1:]) == 0, f"{line}\n{capsys.readouterr().err}"
    return capsys.readouterr().out


def run_bash(text):
    """What the commands print; a command that fails is an error."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", "-e", "-c", text]
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stderr}"
    return done.stdout


def assert_alike(printed, shown, where):
    actual, wanted = printed.split(), shown.split()
    message = f"{where} shows\n{shown}\nbut this is printed:\n{printed}"
    assert len(actual) == len(wanted), message
    for one, other in zip(actual, wanted, strict=True):
        assert alike(one, other), f"{one!r} instead of {other!r}: {message}"


def alike(actual, wanted):
    """Equal words around numbers that are close."""
    if NUMBER.sub("#", actual) != NUMBER.sub("#", wanted):
        return False
    pairs = zip(NUMBER.finditer(actual), NUMBER.finditer(wanted), strict=True)
    return all(abs(float(a[0]) - float(w[0])) <= tolerance(w) for a, w in pairs)


def tolerance(number):
    if not number["decimals"]:
        return 0.0
    return 1.01 * max(0.05 * abs(float(number[0])), 10.0 ** -len(number["decimals"]))


@pytest.mark.parametrize(
    ("printed", "shown", "same"),
    [
        ("weight .367", "weight .367", True),
        ("weight 0.367,", "weight 0.368,", True),
        ("weight 0.367", "weight 0.467", False),
        ("weight 0.367", "height 0.367", False),
        ("(20, 100)", "(20, 101)", False),
        ("20 members", "20", False),
        ("1.0e-3", "1.0e-4", False),
        ("RMSE", "RMSE 1.0", False),
    ],
)
def test_comparison_can_fail(printed, shown, same):
    try:
        assert_alike(printed, shown, "here")
    except AssertionError:
        assert not same
    else:
        assert same


FIGURE = re.compile(r"`python docs/snippets/(\w+)\.py FILE\.png`")
SOURCE = re.compile(r"`((?:ensf|tests|experiments|models|docs)/[\w./]+\.(?:py|md))`")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    assert [name for name in SOURCE.findall(page.read_text(encoding="utf-8")) if not (ROOT / name).exists()] == []


DRAWN = sorted({name for page in (ROOT / "docs").glob("*.md") for name in FIGURE.findall(page.read_text("utf-8"))})


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_a_command_that_a_page_gives_draws_its_figure(name, tmp_path):
    pytest.importorskip("sklearn")
    command = [sys.executable, ROOT / "docs" / "snippets" / f"{name}.py", "figure.png"]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"MPLBACKEND": "Agg"}, check=True)
    assert (tmp_path / "figure.png").stat().st_size > 10_000
