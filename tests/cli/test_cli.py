"""The command line as a user meets it: what it prints, what it writes, how it refuses."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from importlib.metadata import version

import netCDF4
import pytest

from ensf import experiments
from ensf.cli import analyse, files, main, options
from ensf.dataset import Scale
from ensf.experiments._geopotential import heights
from ensf.runs import runner

KEYS = {
    "method", "seed", "members", "cycles", "rmse_forecast", "rmse_analysis", "spread_analysis", "crps_analysis",
    "chi2", "coverage95", "diverged", "seconds_forecast", "seconds_analysis",
}  # fmt: skip
SHORT = ["--cycles", "4", "--seeds", "1"]
no_figures = pytest.mark.usefixtures("without_figures")


def run(*arguments):
    return main(["run", *arguments])


def refused(capsys, *arguments):
    """The one sentence on standard error of a refused command."""
    assert main(list(arguments)) != 0
    error = capsys.readouterr().err
    assert error.startswith("ensf: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "usage: ensf COMMAND"),
        (["-h"], 0, "usage: ensf COMMAND"),
        (["--help"], 0, "usage: ensf COMMAND"),
        (["--version"], 0, f"ensf {version('ensf')}"),
        (["analyse"], 2, "usage: ensf analyse"),
        (["analyse", "--help"], 0, "usage: ensf analyse"),
        (["run", "--help"], 0, "usage: ensf run EXPERIMENT"),
        (["cycle", "-h"], 0, "usage: ensf cycle CONFIG.toml"),
    ],
)
def test_help_and_version(capsys, arguments, status, words):
    assert main(arguments) == status
    printed = capsys.readouterr()
    assert printed.out.startswith(words) and not printed.err


def test_what_is_named_twice_is_run_once():
    assert options.named("b, a,,b", ("a", "b"), "method") == ("b", "a")
    assert options.seeds("3, 1,,3") == [3, 1]


def test_words_and_tables_of_options():
    assert files.words(" a, b,,c ") == ("a", "b", "c")
    given = {"quality": "", "periods.x": 4, "coordinates.x": "u", "strict": True, "good": "1,2", "surface": ""}
    given |= {"withhold": 0.0, "bands": "500,850", "correlation": "", "laws.chl": "Lognormal"}
    settings = files.settings(given | {"variables": ["q", "t"]})
    expected = {"variables": ("q", "t"), "checks": (), "coordinates": {"x": "u"}, "periods": {"x": 4.0}}
    assert settings == expected | {
        "strict": True,
        "good": (1, 2),
        "surface": (),
        "withhold": 0.0,
        "bands": (500.0, 850.0),
        "correlation": None,
        "laws": {"chl": "Lognormal"},
    }
    assert type(settings["periods"]["x"]) is float
    settings = files.settings(given | {"variables.q": True, "variables.t": "Scale(2.0)"})
    assert settings["variables"] == {"q": (), "t": (Scale(2.0),)}


@pytest.mark.parametrize(
    ("arguments", "name", "expected"),
    [
        (["--coordinates", "lat=nav_lat"], "coordinates", {"lat": "nav_lat"}),
        (["--coordinates=lat=nav_lat, lon=nav_lon"], "coordinates", {"lat": "nav_lat", "lon": "nav_lon"}),
        (["--coordinates", '{"lat": "nav_lat"}'], "coordinates", {"lat": "nav_lat"}),
        (["--periods", "x=40,y=2.5"], "periods", {"x": 40.0, "y": 2.5}),
        (["--laws", "a=Laplace", "--periods", "x=1", "--laws=b=Poisson"], "laws", {"a": "Laplace", "b": "Poisson"}),
        (["--laws", "a=Censored(low=0,high=1),b=Laplace"], "laws", {"a": "Censored(low=0,high=1)", "b": "Laplace"}),
    ],
)
def test_tables_are_given_as_the_help_shows_them(arguments, name, expected):
    values = options.read(analyse.parser(), arguments)
    assert files.settings(values | {"quality": ""})[name] == expected


@pytest.mark.parametrize("command", ["analyse", "observe-one"])
def test_a_configuration_without_its_option_is_told_of_it(command, capsys):
    assert main([command, "c.toml"]) == 2
    assert "c.toml: a configuration is given as --config FILE" in capsys.readouterr().err


def test_list_names_every_experiment_and_method(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in experiments.names():
        assert f"{name}: " in printed
        assert all(f"    {method}: " in printed for method in experiments.load(name).methods)


def test_run_writes_files_summary_figures_and_prints_a_table(tmp_path, capsys):
    target = tmp_path / "deep" / "out"
    assert (
        run("lorenz96_published", "--methods", "letkf,map", "--seeds", "1,2", "--cycles", "4", "--output", str(target))
        == 0
    )
    names = {path.name for path in target.iterdir()}
    assert {f"{m}_seed{s}.nc" for m in ("letkf", "map") for s in (1, 2)} | {"summary.json"} <= names
    assert {"rmse.png", "ranks.png", "states.png"} <= names
    records = json.loads((target / "summary.json").read_text())
    assert [(r["method"], r["seed"]) for r in records] == [("letkf", 1), ("letkf", 2), ("map", 1), ("map", 2)]
    assert all(set(r) >= KEYS | {"rmse_analysis_all", "rmse_analysis_last50"} for r in records)
    assert records[0]["diverged"] in (True, False) and records[0]["cycles"] == 4
    printed = capsys.readouterr()
    assert "letkf" in printed.out and "of 2" in printed.out and "\nmedians over 2 seeds; ms" in printed.out
    assert "RMSE" in printed.err and "spread" in printed.err


def test_a_warning_is_one_line(tmp_path, monkeypatch, capsys):
    def warning(*given, **how):
        warnings.warn("seed 1 was lost", stacklevel=2)
        return []

    before = warnings.showwarning
    monkeypatch.setattr(runner, "run", warning)
    monkeypatch.setattr(runner, "table", len)
    monkeypatch.setattr("ensf.cli.run.report", lambda folders: 0)
    assert run("lorenz63_sakov2012", "--output", str(tmp_path)) == 0
    assert capsys.readouterr().err == "ensf: warning: seed 1 was lost\n"
    assert warnings.showwarning is before


@no_figures
def test_no_option_is_needed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = replace(experiments.load("lorenz63_sakov2012"), cycles=3, seeds=(1,))
    monkeypatch.setattr(experiments, "load", lambda name: short)
    assert run("lorenz63_sakov2012") == 0
    assert (tmp_path / "results" / "lorenz63_sakov2012" / "etkf_seed1.nc").is_file()


def test_report_draws_again_from_the_files_alone(tmp_path, capsys):
    run("lorenz63_sakov2012", "--methods", "etkf", *SHORT, "--output", str(tmp_path))
    assert "\nmedians over 1 seed; ms" in capsys.readouterr().out
    for name in ("rmse.png", "ranks.png", "states.png", "summary.json"):
        (tmp_path / name).unlink()
    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "rmse.png").stat().st_size > 1000


@no_figures
def test_methods_share_truth_and_observations(tmp_path):
    run("lorenz96_published", "--methods", "letkf,map", *SHORT, "--output", str(tmp_path))
    with netCDF4.Dataset(tmp_path / "letkf_seed1.nc") as one, netCDF4.Dataset(tmp_path / "map_seed1.nc") as two:
        for name in ("x_truth", "observation_value"):
            assert (one[name][:] == two[name][:]).all()


@no_figures
def test_the_file_carries_the_recipe(tmp_path):
    run(
        "lorenz96_published",
        "--methods",
        "letkf",
        *SHORT,
        "--letkf.LETKF.localization.half_width",
        "5",
        "--output",
        str(tmp_path),
    )
    with netCDF4.Dataset(tmp_path / "letkf_seed1.nc") as file:
        assert "half_width=5.0" in file.method_recipe and "Lorenz96(" in file.model_recipe
        assert file.seed == 1 and "--cycles 4" in file.command
        assert json.loads(file.settings)["method.AnalysisInflation.factor"] == 1.2


@no_figures
def test_settings_from_the_command_line_and_from_a_config_file_agree(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('methods = "letkf"\ncycles = 4\nseeds = "1"\n[letkf.AnalysisInflation]\nfactor = 1.1\n')
    run("lorenz96_published", "--config", str(config), "--output", str(tmp_path / "a"))
    run(
        "lorenz96_published",
        "--methods",
        "letkf",
        *SHORT,
        "--letkf.AnalysisInflation.factor",
        "1.1",
        "--output",
        str(tmp_path / "b"),
    )
    a, b = (json.loads((tmp_path / name / "summary.json").read_text())[0] for name in "ab")
    assert a["rmse_analysis"] == b["rmse_analysis"]


@no_figures
def test_members_applies_to_every_method(tmp_path):
    run("lorenz96_published", "--methods", "letkf,map", *SHORT, "--members", "7", "--output", str(tmp_path))
    assert {r["members"] for r in json.loads((tmp_path / "summary.json").read_text())} == {7}


@no_figures
def test_print_config_is_a_config(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run("lorenz96_published", "--print_config")
    assert stop.value.code in (0, None)
    config = tmp_path / "c.toml"
    config.write_text(capsys.readouterr().out)
    assert (
        run("lorenz96_published", "--config", str(config), "--methods", "map", *SHORT, "--output", str(tmp_path / "o"))
        == 0
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["runn"], ["runn", "run"]),
        (["qqqq"], ["qqqq", "board"]),
        (["run", "lorenz96_publised"], ["lorenz96_publised", "lorenz96_published"]),
        (["run"], ["lorenz96_published"]),
        (["run", "lorenz96_published", "--methods", "letfk"], ["letfk", "letkf"]),
        (["run", "lorenz96_published", "--cycels", "3"], ["--cycels", "--cycles"]),
        (["run", "lorenz96_published", "--letkf.AnalysisInflation.facto", "3"], ["--letkf.AnalysisInflation.factor"]),
        (["run", "lorenz96_published", "--cycles", "many"], ["cycles", "many"]),
        (["run", "lorenz96_published", "--cycles", "0"], ["cycle", "0"]),
        (["run", "lorenz96_published", "--members", "1"], ["members", "1"]),
        (["run", "lorenz96_published", "--members", "-3"], ["members", "-3"]),
        (["run", "lorenz96_published", "--seeds", "one"], ["--seeds", "one"]),
        (["run", "lorenz96_published", "--seeds=1,-2"], ["--seeds", "none of them negative"]),
        (["run", "lorenz96_published", "--config", "nowhere.toml"], ["nowhere.toml"]),
        (["run", "lorenz96_published", "--network.error", "-1"], ["error", "-1"]),
        (["run", "lorenz96_published", "--network.error", "0"], ["error", "0"]),
        (["run", "lorenz96_published", "--model.dt", "0.03"], ["0.03"]),
        (["run", "lorenz96_published", "--letkf.AnalysisInflation.factor", "nan"], ["factor"]),
        (["report", "nowhere"], ["nowhere"]),
        (["report", "one", "other"], ["name one folder"]),
        (["list", "lorenz63", "arctan"], ["takes one word", "lorenz63 arctan"]),
    ],
)
def test_bad_requests_get_one_sentence(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    sentence = refused(capsys, *arguments)
    assert all(word in sentence for word in words)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@no_figures
def test_existing_output_is_refused_and_untouched_unless_overwrite(tmp_path, capsys):
    request = ["lorenz63_sakov2012", "--methods", "etkf", *SHORT, "--output", str(tmp_path)]
    assert run(*request) == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert "--overwrite" in refused(capsys, "run", *request)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert run(*request, "--overwrite") == 0


def test_output_that_cannot_be_written(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    assert "is a file: name a folder" in refused(capsys, "run", "lorenz63_sakov2012", *SHORT, "--output", str(blocked))
    assert blocked.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path, capsys):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "cannot be written" in refused(capsys, "run", "lorenz63_sakov2012", *SHORT, "--output", str(tmp_path / "x"))


def test_missing_extra_says_what_to_install(tmp_path, monkeypatch, capsys):
    heights.cache_clear()
    monkeypatch.setitem(sys.modules, "eofs", None)
    monkeypatch.setitem(sys.modules, "eofs.examples", None)
    sentence = refused(
        capsys, "run", "geopotential_height", "--methods", "climatology", "--output", str(tmp_path / "o")
    )
    assert "ensf[examples]" in sentence


def test_interrupt_leaves_a_readable_file_with_every_finished_cycle(tmp_path):
    command = [sys.executable, "-c", "from ensf.cli import main; raise SystemExit(main())"]
    request = ["run", "lorenz96_sakov2008", "--methods", "enkf", "--seeds", "1", "--cycles", "1000"]
    process = subprocess.Popen([*command, *request, "--output", str(tmp_path)], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "cycle 100 " in line or "cycle 200 " in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert "interrupted" in rest and "Traceback" not in rest
    time.sleep(0.1)
    with netCDF4.Dataset(tmp_path / "enkf_seed1.nc") as file:
        count = len(file.dimensions["time"])
        assert 100 <= count < 1000
        assert not file["rmse_analysis"][:].mask.any() and (file["rmse_analysis"][:] > 0).all()
