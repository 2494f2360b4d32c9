"""Formats and dots per inch, asked of each command that draws; refused before anything is run."""

import pytest
from matplotlib.image import imread

from ensf.cli import main
from ensf.experiments._benchmark import plan

RUN = ["run", "lorenz63_sakov2012", "--methods", "etkf", "--seeds", "1", "--cycles", "3"]
SWEEP = ["sweep", "lorenz63_sakov2012", "--methods", "etkf", "--seeds", "1", "--cycles", "3", "--members", "3,4"]
BOARD = ["board", "--experiments", "lorenz63_sakov2012", "--methods", "etkf", "--seeds", "1", "--tuning-seeds", "9"]
BOARD += ["--trials", "1", "--cycles", "3", "--tuning-cycles", "3"]
SERIAL = ["--engine", "serial"]
BEGINS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def test_a_sweep_draws_in_the_formats_and_dots_that_are_asked_for(tmp_path):
    how = ["--output", str(tmp_path), "--dpi", "40", "--format", "svg,png"]
    assert main([*SWEEP, *SERIAL, *how]) == 0
    drawn = {path.suffix: path.read_bytes() for path in tmp_path.glob("sweep.*") if path.suffix in BEGINS}
    assert set(drawn) == {".svg", ".png"} and all(drawn[form].startswith(BEGINS[form]) for form in drawn)
    assert imread(tmp_path / "sweep.png").shape[1] == 400  # 10 inches


def test_a_board_draws_in_the_format_that_is_asked_for(tmp_path):
    assert main([*BOARD, *SERIAL, "--output", str(tmp_path), "--format", "pdf"]) == 0
    assert (tmp_path / "heatmap.pdf").read_bytes().startswith(BEGINS[".pdf"])
    assert not (tmp_path / "heatmap.png").exists()
    assert "\n[methods by experiments](heatmap.pdf)\n" in (tmp_path / "board.md").read_text()


def test_a_run_hands_its_formats_and_dots_to_the_report(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("ensf.cli.run.report", lambda words: asked.extend(words) or 0)
    assert main([*RUN, "--output", str(tmp_path), "--format", "svg, pdf", "--dpi", "40"]) == 0
    assert asked == [str(tmp_path), "--format=svg, pdf", "--dpi=40"]


@pytest.mark.parametrize("command", [RUN, SWEEP, BOARD], ids=["run", "sweep", "board"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "bmp"], "there is no format 'bmp': choose from png, pdf, svg"),
        (["--format", ","], "no format is named"),
        (["--dpi", "3"], "dpi is 3"),
        (["--dpi", "many"], "many"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_the_run(tmp_path, capsys, command, words, said):
    assert main([*command, "--output", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ensf: ") and error.count("\n") == 1 and said in error
    assert not (tmp_path / "out").exists()


def test_the_page_of_a_board_shows_a_picture():
    page = plan.markdown([], plan.Plan(), "ensf board", "heatmap.svg")
    assert "![methods by experiments](heatmap.svg)" in page.splitlines()
