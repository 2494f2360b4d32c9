"""Sweeps: all combinations, each run once, as one array, a table and a figure."""

import json

import numpy as np
import pytest
import xarray as xr

from ensf import experiments
from ensf.cli import main
from ensf.experiments._benchmark.sweep import Sweep, full_name, parsed
from ensf.plot import figure_sweep
from ensf.runs import runner

pytestmark = pytest.mark.usefixtures("without_figures")
PAGE = "lorenz96_half"
KELVIN = """
from dataclasses import replace
from ensf import experiments
from ensf.models.lorenz96 import Lorenz96

class Kelvin(Lorenz96):
    units = "K"

EXPERIMENT = replace(experiments.load("lorenz96_half"), name="kelvin", model=Kelvin(size=40, forcing=8.0, dt=0.05))
"""
FAILING = """
from dataclasses import replace
from ensf import experiments
from ensf.models.lorenz96 import Lorenz96

class Failing(Lorenz96):
    def advance(self, states, time, duration, rng=None):
        if states.ndim == 2 and len(states) in FAIL:
            raise FloatingPointError("members are lost")
        return super().advance(states, time, duration, rng)

EXPERIMENT = replace(experiments.load("lorenz96_half"), name="failing", model=Failing(size=40, forcing=8.0, dt=0.05))
"""
REQUEST = ["sweep", PAGE, "--cycles", "3", "--seeds", "1:2", "--members", "5,6", "--letkf.half_width", "3,4"]


def refusal(capsys, *arguments):
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("ensf: ") and error.count("\n") == 1
    return error


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    assert main([*REQUEST, "--engine", "serial", "--output", str(folder)]) == 0
    return folder


def test_the_array_has_what_each_run_has(folder, tmp_path):
    with xr.open_dataset(folder / "sweep.nc") as cube:
        assert cube["rmse_analysis"].dims == ("filter", "members", "letkf.LETKF.localization.half_width", "seed")
        assert (
            cube["rmse_analysis"].shape == (2, 2, 2, 2)
            and cube["cycles"] == 3
            and cube["seed"].values.tolist() == [1, 2]
        )
        at = {"filter": "letkf", "members": 6, "letkf.LETKF.localization.half_width": 3.0, "seed": 2}
        rmse = cube["rmse_analysis"].sel(at).item()
    run = ["run", PAGE, "--methods", "letkf", "--members", "6", "--letkf.LETKF.localization.half_width", "3"]
    assert main([*run, "--seeds", "2", "--cycles", "3", "--output", str(tmp_path)]) == 0
    (record,) = json.loads((tmp_path / runner.outputs(tmp_path, [], [])[0].name).read_text())
    assert rmse == record["rmse_analysis"]


def test_a_setting_of_one_method_does_not_run_another_again(folder):
    names = [path.name for path in (folder / "cells").iterdir()]
    assert len([name for name in names if name.startswith("letkf")]) == 8
    assert len([name for name in names if name.startswith("letsf")]) == 4
    with xr.open_dataset(folder / "sweep.nc") as cube:
        scores = cube["rmse_analysis"].sel(filter="letsf").values
    np.testing.assert_array_equal(scores[:, 0], scores[:, 1])


def test_table_and_figure(folder):
    lines = (folder / "sweep.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| let")]
    assert [row[:3] for row in rows] == [
        ["letkf", "5", "3"], ["letkf", "5", "4"], ["letkf", "6", "3"], ["letkf", "6", "4"],
        ["letsf", "5", "–"], ["letsf", "6", "–"],
    ]  # fmt: skip
    assert (folder / "sweep.png").stat().st_size > 10_000


def test_scores_have_units(tmp_path):
    page = tmp_path / "page.py"
    page.write_text(KELVIN)
    request = ["sweep", str(page), "--methods", "letkf", "--cycles", "2", "--seeds", "1", "--members", "5,6"]
    assert main([*request, "--engine", "serial", "--output", str(tmp_path / "out")]) == 0
    with xr.open_dataset(tmp_path / "out" / "sweep.nc") as cube:
        units = {name: cube[name].attrs["units"] for name in ("rmse_analysis", "coverage95", "seconds_analysis")}
        (left, right) = figure_sweep(cube).axes
    assert units == {"rmse_analysis": "K", "coverage95": "1", "seconds_analysis": "s"}
    assert left.get_ylabel() == "RMSE and spread (K)" and left.get_xlabel() == right.get_xlabel() == "members"


def test_an_edited_page_is_run_again(tmp_path):
    """Code that no setting tells: the same class with another body."""
    page, cells = tmp_path / "page.py", tmp_path / "out" / "cells"
    request = ["sweep", str(page), "--cycles", "2", "--seeds", "1", "--methods", "letkf", "--members", "5,6"]
    seen = []
    for text in (KELVIN, KELVIN, KELVIN + "\n# edited\n"):
        page.write_text(text)
        assert main([*request, "--engine", "serial", "--output", str(tmp_path / "out")]) == 0
        seen.append({path.name: path.stat().st_mtime_ns for path in cells.iterdir()})
    assert seen[0] == seen[1]
    assert seen[1].keys() == seen[2].keys() and not set(seen[1].values()) & set(seen[2].values())


def fails(tmp_path, members):
    page = tmp_path / "page.py"
    page.write_text(f"FAIL = {members}\n{FAILING}")
    request = ["sweep", str(page), "--methods", "letkf", "--cycles", "2", "--seeds", "1", "--members", "5,6"]
    return main([*request, "--engine", "serial", "--output", str(tmp_path / "out")])


def test_a_sweep_of_errors_alone_says_the_first_of_them(tmp_path, capsys):
    assert fails(tmp_path, (5, 6)) == 2
    said = capsys.readouterr().err
    place = f"{tmp_path / 'page.py'}, line 10"
    assert (
        f"every run of the sweep ended in an error, the first by {place}: FloatingPointError: members are lost" in said
    )
    assert not (tmp_path / "out" / "sweep.nc").exists()


def test_an_error_among_the_runs_leaves_a_gap(tmp_path):
    assert fails(tmp_path, (5,)) == 0
    with xr.open_dataset(tmp_path / "out" / "sweep.nc") as cube:
        assert np.isfinite(cube["rmse_analysis"].values.ravel()).tolist() == [False, True]
        assert cube["diverged"].values.ravel()[0] == 1


def test_the_figure_of_a_sweep_says_that_its_runs_end_within_the_burn_in(folder):
    with xr.open_dataset(folder / "sweep.nc") as cube:
        words = [" ".join(text.get_text().split()) for text in figure_sweep(cube).texts]
        past = [" ".join(text.get_text().split()) for text in figure_sweep(cube.assign(past_burn_in=9)).texts]
    said = "Some runs end within their burn-in: their means are over all cycles."
    assert any(said in word for word in words) and not any(said in word for word in past)


def test_finished_runs_are_not_run_again(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    assert main([*REQUEST, "--engine", "serial", "--output", str(folder)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}


def test_a_run_that_ends_in_an_error_is_a_gap(tmp_path, capsys):
    request = [
        "sweep",
        PAGE,
        "--methods",
        "letkf",
        "--cycles",
        "2",
        "--seeds",
        "1",
        "--members",
        "1,5",
        "--engine",
        "serial",
    ]
    assert main([*request, "--output", str(tmp_path)]) == 0
    with xr.open_dataset(tmp_path / "sweep.nc") as cube:
        assert np.isnan(cube["rmse_analysis"].values.ravel()).tolist() == [True, False]
        assert cube["diverged"].values.ravel().tolist() == [1, 0]


def test_names_may_be_shortened():
    page = experiments.load(PAGE)
    assert full_name("letkf.half_width", page) == "letkf.LETKF.localization.half_width"
    assert full_name("letkf.factor", page) == "letkf.AnalysisInflation.factor"
    assert full_name("model.forcing", page) == "model.forcing" and full_name("members", page) == "members"
    for name in ("letkf.nothing", "letsf.half_width", "factr"):  # LETSF has two of them
        with pytest.raises(ValueError, match="as a setting of lorenz96_half"):
            full_name(name, page)


def test_values_have_the_kind_of_the_setting():
    page = experiments.load(PAGE)
    assert parsed("members", "10:12,20", page) == (10, 11, 12, 20)
    assert parsed("model.forcing", "7.5, 8,8", page) == (7.5, 8.0)
    for name, text in (
        ("members", "2.5"),
        ("model.forcing", "x"),
        ("model.forcing", ","),
        ("members", "1:x"),
        ("members", "5:1"),
        ("members", "1:2:3"),
        ("members", "1:9999999"),
    ):
        with pytest.raises(ValueError, match=f"--{name}"):
            parsed(name, text, page)


def test_a_sweep_within_the_burn_in_says_so(folder, capsys):
    assert main([*REQUEST, "--engine", "serial", "--output", str(folder)]) == 0
    assert "the run ends within its burn-in, t = 5: scores are means over all its cycles" in capsys.readouterr().out
    with xr.open_dataset(folder / "sweep.nc") as cube:
        assert (cube["past_burn_in"] == 0).all()


def test_a_page_has_its_absolute_path(tmp_path, monkeypatch):
    (tmp_path / "page.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert experiments.located("page.py") == str(tmp_path / "page.py") and experiments.located(PAGE) == PAGE


def test_settings_of_the_experiment_reach_all_methods():
    sweep = Sweep(PAGE, ("letkf",), (1,), {"model.forcing": (7.0,), "members": (5,)})
    page, method = sweep.cell("letkf", 1, sweep.points()[0]).load()
    assert page.model.forcing == 7.0 and method.members == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a setting with several values"),
        (["--members", "10"], "needs a setting with several values"),
        (["--members"], "come as --name value"),
        (["members", "10,20"], "come as --name value"),
        (["--members", "10,20", "--members", "5"], "given twice"),
        (["--members", "10,20", "--methods", "letkg"], "unknown method 'letkg' of lorenz96_half"),
        (["--members", "10,20", "--engine", "-1"], "there is no engine '-1'"),
        (["--letkg.half_width", "1,2"], "--letkg.half_width as a setting of lorenz96_half is none"),
    ],
)
def test_what_a_sweep_refuses(capsys, tmp_path, words, said):
    assert said in refusal(capsys, "sweep", PAGE, "--output", str(tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


def test_help_and_no_experiment(capsys):
    assert main(["sweep", "--help"]) == 0
    assert "finished ones are not run again" in capsys.readouterr().out
    assert "name an experiment" in refusal(capsys, "sweep", "--members", "1,2")
