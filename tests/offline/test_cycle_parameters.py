"""Parameters of a cycled model: words of its command and template, analysed with the state, kept, resumed."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from exact import kalman_posterior

from ensf import ETKF, LETKF, Copula, Euclidean, Localization, Parameter
from ensf.cli import main
from ensf.dataset import Log, Logit, analyse, pack
from ensf.dataset.methods import method_for
from ensf.offline import Offline, job
from ensf.offline import cycle as external
from ensf.offline.cycle import Command, Cycling, Estimated, parameters
from ensf.offline.cycle.template import filled
from ensf.runs.owner import OWNER
from ensf.runs.recipe.reader import read_method
from ensf.tables import read
from ensf.wrappers.failed_members import Replacement

MEMBERS, CYCLES = 4, 4
RATE = Estimated(Parameter(min_spread=0.02), value=0.7, spread=0.1)
MODEL = """
import struct, sys
given, made = sys.argv[1:]
lines = dict(line.split(" = ") for line in open("namelist").read().split("\\n") if " = " in line)
content = open(given, "rb").read()
state = struct.unpack(">12d", content[-96:])
new = [float(lines["rate"]) * state[k - 1] + 0.3 * k for k in range(12)]
open(made, "wb").write(content[:-96] + struct.pack(">12d", *new))
"""


def write_member(path, state):
    """A classic NetCDF file whose last bytes are the state."""
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        for name, size in (("y", 3), ("x", 4)):
            file.createDimension(name, size)
            file.createVariable(name, "f8", (name,))[:] = np.arange(size)
            file[name].axis = name.upper()
        file.createVariable("q", "f8", ("y", "x"))[:] = state


@pytest.fixture
def folder(tmp_path):
    """Initial members, a table per cycle, a template with a namelist."""
    rng = np.random.default_rng(3)
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "namelist.template").write_text("! ${rate} {of} {{it}}\nrate = {rate}\nuntil = {end:g}\n")
    (tmp_path / "model.py").write_text(MODEL)
    for number in range(1, MEMBERS + 1):
        write_member(tmp_path / f"m{number}.nc", rng.standard_normal((3, 4)))
    for cycle in range(1, CYCLES + 1):
        rows = [f"q,{1 + rng.standard_normal():.3f},0.5,2020-01-01,{y},{x}" for y, x in ((0, 0), (1, 2), (2, 3))]
        (tmp_path / f"obs_{cycle}.csv").write_text("\n".join(["variable,value,error,time,y,x", *rows]) + "\n")
    return tmp_path


def cycling(folder, command=None, parameters=None, **changes):
    program = f"{shlex.quote(os.path.realpath(sys.executable))} -S -I {folder}/model.py {{input}} {{output}}"
    parameters = {"rate": RATE} if parameters is None else parameters
    words = tuple(name for name, one in parameters.items() if one.is_own)
    settings = {"initial": "m{member}.nc", "observations": "obs_{cycle}.csv", "folder": str(folder)}
    numbers = {"members": MEMBERS, "cycles": CYCLES, "interval": 6.0, "parameters": parameters}
    model = Command(program if command is None else command, template="template", words=words)
    return Cycling(model, **{"method": ETKF(), **settings, **numbers, **changes})


def run(folder, output="out", resume=False, show=lambda line: None, **changes):
    external.run(cycling(folder, **changes), folder / output, resume=resume, show=show)
    return folder / output


def table(path):
    with open(path) as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def members(place):
    return np.stack([xr.load_dataset(path).q.values.ravel() for path in sorted(place.glob("member_*.nc"))])


def contents(directory):
    names = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in ("restart.npz", OWNER))
    return {str(path.relative_to(directory)): path.read_bytes() for path in names}


def test_each_member_runs_with_its_own_value_and_the_analysis_is_the_exact_posterior(folder):
    out = run(folder, parameters={"rate": Estimated(Parameter(), 0.7, 0.1)}, cycles=2)
    before = np.stack([xr.load_dataset(folder / f"m{k}.nc").q.values.ravel() for k in range(1, MEMBERS + 1)])
    for cycle in (1, 2):
        place = out / f"cycle_{cycle:04d}"
        rates = table(place / "parameters.csv")
        prior, analysis = members(place / "forecast"), members(place / "analysis")
        expected = rates["rate_forecast"][:, None] * np.roll(before, 1, axis=1) + 0.3 * np.arange(12)
        np.testing.assert_array_equal(prior, expected)
        joint = np.column_stack([prior, rates["rate_forecast"]])
        value = np.loadtxt(folder / f"obs_{cycle}.csv", delimiter=",", skiprows=1, usecols=1)
        mean, covariance = kalman_posterior(
            joint.mean(axis=0), np.cov(joint.T), np.eye(13)[[0, 6, 11]], 0.25 * np.eye(3), value
        )
        made = np.column_stack([analysis, rates["rate"]])
        np.testing.assert_allclose(made.mean(axis=0), mean, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(np.cov(made.T), covariance, rtol=1e-7, atol=1e-10)
        before = analysis
    first = table(out / "cycle_0001" / "parameters.csv")["rate"]
    np.testing.assert_array_equal(table(out / "cycle_0002" / "parameters.csv")["rate_forecast"], first)


def test_members_start_about_the_value_within_the_bounds():
    values = Estimated(Parameter(Logit(0.0, 1.0)), 0.9, 2.0).draw("rate", 1, 4000)
    odds = np.log(values / (1 - values))
    assert ((values > 0) & (values < 1)).all()
    assert odds.mean() == pytest.approx(np.log(9), abs=0.1) and odds.std() == pytest.approx(2.0, rel=0.05)
    np.testing.assert_array_equal(Estimated(Parameter(), 0.9, 2.0).draw("rate", 1, 3)[0] != values[0], True)


def test_the_floor_and_the_walk_hold_the_spread(folder):
    out = run(folder, parameters={"rate": Estimated(Parameter(Log(), min_spread=0.3, walk=0.01), 0.7, 0.1)}, cycles=2)
    for cycle in (1, 2):
        rates = table(out / f"cycle_{cycle:04d}" / "parameters.csv")["rate"]
        assert np.log(rates).std(ddof=1) >= 0.3 * (1 - 1e-9)


NEAR = "Localization(Euclidean(), 1.5, dims=('x', 'y'))"
LOCAL = f"Smoother(AdaptiveInflation(LETKF({NEAR}), {NEAR}), 3)"
WALKING = Estimated(Parameter(walk=0.01, min_spread=0.02), 0.7, 0.1)


class Killed(BaseException):
    """What stops a run at once."""


def test_a_run_that_was_stopped_goes_on_bit_for_bit(folder, monkeypatch):
    """With a smoother of lag 3, a filter that remembers, and a parameter that walks."""
    settings = {"method": read_method(LOCAL), "parameters": {"rate": WALKING}}
    whole = run(folder, output="whole", **settings)
    write = parameters.write

    def stopped(path, *content):
        write(path, *content)
        if "cycle_0003" in str(path):
            raise Killed

    monkeypatch.setattr(parameters, "write", stopped)
    with pytest.raises(Killed):
        run(folder, output="half", **settings)
    monkeypatch.undo()
    assert contents(run(folder, output="half", resume=True, **settings)) == contents(whole)


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_bit_for_bit(folder):
    settings = {"method": read_method("Smoother(ETKF(), 3)"), "parameters": {"rate": WALKING}}
    whole = run(folder, output="whole", **settings)
    code = f"""
import os, signal, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
from pathlib import Path
from ensf.offline.cycle import driver
from ensf.runs.recipe.reader import read_method
from ensf.tables import read
from ensf.wrappers.failed_members import Replacement
import test_cycle_parameters as tests
write = driver.parameters.write
def killed(path, *content):
    write(path, *content)
    if "cycle_0003" in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
driver.parameters.write = killed
method = read_method("Smoother(ETKF(), 3)")
tests.run(Path({str(folder)!r}), output="half", method=method, parameters={{"rate": tests.WALKING}})
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert contents(run(folder, output="half", resume=True, **settings)) == contents(whole)


def test_a_configuration_has_parameters(folder, capsys):
    (folder / "c.toml").write_text(
        f"""
command = "{sys.executable} -S -I {folder}/model.py {{input}} {{output}}"
template = "template"
initial = "m{{member}}.nc"
observations = "obs_{{cycle}}.csv"
method = "ETKF()"
members = {MEMBERS}
cycles = 2
interval = 6.0

[parameters.rate]
value = 0.7
spread = 0.2
transform = "Log()"
min_spread = 0.05
"""
    )
    assert main(["cycle", str(folder / "c.toml"), "--dry-run"]) == 0
    assert (
        "parameter rate: 0.7, spread 0.2 after the transform; Parameter(transform=Log(offset=0.0), min_spread=0.05"
        in capsys.readouterr().out
    )
    assert main(["cycle", str(folder / "c.toml")]) == 0
    rates = table(folder / "cycles" / "cycle_0002" / "parameters.csv")
    assert (rates["rate"] > 0).all()
    told, shown = capsys.readouterr().err, []
    for column in ("rate_forecast", "rate"):
        shown += [np.mean(rates[column]), np.std(rates[column], ddof=1)]
    assert "mean of rate {:.4g} (spread {:.2g}) -> {:.4g} ({:.2g})".format(*shown) in told
    assert main(["report", str(folder / "cycles"), "--html"]) == 0
    assert (folder / "cycles" / "parameters.png").exists()
    page = (folder / "cycles" / "report.html").read_text()
    assert "parameters, cycle 2" in page and "Parameters over cycles" in page and f"{shown[2]:.4g}" in page
    for line, sentence in (
        ("min = 0.1", "parameters.rate.min is no setting: give value, spread, transform"),
        ("walk = 'far'", "parameters.rate.walk is 'far': give a number"),
        ("walk = -1.0", "parameters.rate: walk of the parameter is -1"),
    ):
        (folder / "d.toml").write_text((folder / "c.toml").read_text() + line + "\n")
        assert main(["cycle", str(folder / "d.toml"), "--dry-run"]) == 2
        assert sentence in capsys.readouterr().err


def test_a_value_that_is_changed_takes_effect_and_a_lost_one_is_named(folder):
    out = run(folder, cycles=1)
    path = out / "cycle_0001" / "parameters.csv"
    rows = path.read_text().splitlines()
    rows[3] = rows[3].rsplit(",", 1)[0] + ",0.25"
    path.write_text("\n".join(rows) + "\n")
    run(folder, cycles=2, resume=True)
    assert table(out / "cycle_0002" / "parameters.csv")["rate_forecast"][2] == 0.25
    path = out / "cycle_0002" / "parameters.csv"
    path.write_text(path.read_text().replace("\n4,", "\n44,"))
    with pytest.raises(ValueError, match=r"cycle_0002/parameters.csv has no number for rate of member 4"):
        run(folder, cycles=3, resume=True)


def test_what_does_not_fit_is_refused_before_anything_runs(folder):
    (folder / "template" / "namelist.template").write_text("rates = 3\n")
    with pytest.raises(ValueError, match="no member would get the parameter 'rate': write {rate} in the command"):
        run(folder)
    (folder / "template" / "namelist.template").write_text("rate = {rate:d}\n")
    with pytest.raises(ValueError, match="{rate:d} in template .*namelist.template cannot be written"):
        run(folder)
    (folder / "template" / "namelist.template").write_bytes(b"rate = {rate}\xff\n")
    with pytest.raises(ValueError, match="namelist.template is not UTF-8"):
        run(folder)
    assert not (folder / "out" / "restart.npz").exists()
    with pytest.raises(ValueError, match="a parameter is called 'cycle'"):
        cycling(folder, parameters={"cycle": RATE})
    with pytest.raises(ValueError, match="the parameters are rate but the words of the command none"):
        Cycling(Command("a {input}"), ETKF(), "m{member}", "o{cycle}", 2, 2, 1.0, parameters={"rate": RATE})
    with pytest.raises(ValueError, match="has the unknown word {rat}: choose from .*folder, rate"):
        Command("a {rat}", words=("rate",))
    with pytest.raises(ValueError, match="give both, for its members at the start; or neither"):
        Estimated(Parameter(), 3.0)
    with pytest.raises(ValueError, match="value of the parameter, is -3 .* outside the bounds of Log"):
        Estimated(Parameter(Log()), -3.0, 1.0)


def test_a_filter_of_whole_states_has_nothing_for_parameters(folder):
    with pytest.raises(ValueError, match="Copula needs whole states and has no update for parameters"):
        cycling(folder, method=Copula(ETKF()))


def test_only_words_are_filled(folder):
    text = filled(folder / "template" / "namelist.template", {"rate": 0.1, "end": 7.5})
    assert text == "! ${rate} {of} {{it}}\nrate = 0.1\nuntil = 7.5\n"


# --- parameters that are variables of the members' files -------------------------------------------------


def with_fields(folder, rng):
    """A state, a number and a rough field, partly masked, in the file of each member."""
    (folder / "in").mkdir()
    grid = {"y": ("y", np.arange(3.0), {"axis": "Y"}), "x": ("x", np.arange(4.0), {"axis": "X"})}
    for number in range(1, MEMBERS + 1):
        state = rng.standard_normal((3, 4))
        rough = np.exp(0.3 * state + 0.1 * rng.standard_normal((3, 4)))
        rough[0, 1] = np.nan
        fields = {"q": (("y", "x"), state), "rough": (("y", "x"), rough), "rate": ((), 0.7 + 0.1 * state[0, 0])}
        xr.Dataset(fields, grid).to_netcdf(folder / "in" / f"m{number}.nc")


def joined(place):
    return xr.concat([xr.load_dataset(path) for path in sorted(place.glob("m*.nc"))], "realization")


def test_files_have_the_parameters_of_the_dataset(folder):
    with_fields(folder, np.random.default_rng(5))
    method = LETKF(Localization(Euclidean(), 1.5, dims=("x", "y")))
    parameters = {"rough": Parameter(Log(), min_spread=0.1), "rate": Parameter(walk=0.01)}
    settings = {"parameters": parameters, "mask": True}
    paths = str(folder / "in" / "m*.nc")
    offline = Offline(method, **settings)
    offline.analyse(paths, folder / "obs_1.csv", folder / "out", rng=np.random.default_rng(1))
    made = joined(folder / "out")
    expected = analyse(joined(folder / "in"), read(folder / "obs_1.csv"), method, np.random.default_rng(1), **settings)
    for name in ("q", "rough", "rate"):
        np.testing.assert_array_equal(made[name], expected[name].transpose(*made[name].dims))
    assert np.isnan(made.rough[:, 0, 1]).all() and (made.rough != joined(folder / "in").rough).any()


def test_what_is_wrong_with_them_is_told_before_anything_is_analysed(folder, capsys):
    """In a dry run, too; the sentence has the file."""
    with_fields(folder, np.random.default_rng(5))
    prior = [folder / "in" / f"m{member}.nc" for member in (1, 2, 3)]
    words = ["analyse", "--prior", *map(str, prior), "--observations", str(folder / "obs_1.csv"), "--dry-run", "--mask"]
    words += ["--method", "LETKF(Localization(Euclidean(), 2.0, dims=('x', 'y')))", "--output", str(folder / "out")]

    def said(lines):
        (folder / "c.toml").write_text(lines)
        assert main([*words, "--config", str(folder / "c.toml")]) == 2
        return capsys.readouterr().err

    assert "places of parameter 'rate' have 1 coordinates but the localization 2, x, y: give these" in said(
        "[parameters.rate]\nplaces = [[1.0]]\n"
    )
    for value, sentence in (
        (-1.0, "m2.nc: parameter 'rate' is -1, outside the bounds of Log(offset=0.0): change the transform"),
        (np.nan, "m2.nc: variable 'rate' is missing, unlike in other members, at 1 point"),
    ):
        with netCDF4.Dataset(prior[1], "a") as file:
            file["rate"][...] = value
        assert sentence in said("[parameters.rate]\ntransform = 'Log()'\n")


def test_an_analysis_without_rows_is_the_forecast_but_for_what_parameters_walk(folder, capsys):
    with_fields(folder, np.random.default_rng(5))
    (folder / "c.toml").write_text("[parameters.rate]\nwalk = 0.5\n")
    (folder / "none.csv").write_text("variable,value,error,time,y,x\nq,,0.5,2020-01-01T00:00,1,2\n")
    words = ["analyse", "--prior", str(folder / "in" / "m*.nc"), "--observations", str(folder / "none.csv"), "--mask"]
    words += ["--method", "ETKF()", "--output", str(folder / "out"), "--config", str(folder / "c.toml")]
    assert main(words) == 0
    assert "the analysis is the forecast, but for walk and spread of rate" in capsys.readouterr().err
    made, prior = joined(folder / "out"), joined(folder / "in")
    np.testing.assert_array_equal(made.q, prior.q)
    assert (made.rate != prior.rate).all()


def test_a_cycle_analyses_them_where_the_model_leaves_them(folder):
    with_fields(folder, np.random.default_rng(5))
    parameters = {"rough": Estimated(Parameter(Log(), min_spread=0.1)), "rate": Estimated(Parameter())}
    settings = {"parameters": parameters, "mask": True, "initial": "in/m{member}.nc", "cycles": 2}
    out = run(folder, command="cp {input} {output}", **settings)
    for cycle in (1, 2):
        prior, made = (joined(out / f"cycle_{cycle:04d}" / stage) for stage in ("forecast", "analysis"))
        assert (prior.rate != made.rate).all() and (prior.rough.isel(x=0, y=0) != made.rough.isel(x=0, y=0)).all()
        assert float(np.log(made.rough).std("realization", ddof=1).min()) > 0.0999
    with pytest.raises(ValueError, match="parameter 'tough' has no value and spread .* has none of that name"):
        run(
            folder,
            command="cp {input} {output}",
            output="b",
            **settings | {"parameters": {"tough": Estimated(Parameter())}},
        )
    with pytest.raises(ValueError, match="'q' is a parameter and among variables"):
        cycling(folder, parameters={"q": Estimated(Parameter())}, variables=("q",))


def test_the_command_line_has_them(folder, capsys):
    with_fields(folder, np.random.default_rng(5))
    text = f"prior = ['{folder}/in/m*.nc']\nobservations = ['{folder}/obs_1.csv']\nmethod = 'ETKF()'\nmask = true\n"
    (folder / "a.toml").write_text(text + "[parameters.rough]\ntransform = 'Log()'\n[parameters.rate]\n")
    assert main(["analyse", "--config", str(folder / "a.toml"), "--output", str(folder / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "parameter rough, 11 of each member" in said and "parameter rate, 1 of each member" in said
    assert main(["analyse", "--config", str(folder / "a.toml"), "--output", str(folder / "out")]) == 0
    (folder / "b.toml").write_text(text + "[parameters.rate]\nvalue = 0.3\nspread = 0.1\n")
    assert main(["analyse", "--config", str(folder / "b.toml"), "--output", str(folder / "out")]) == 2
    assert "parameters.rate has a value to start from, which is for ensf cycle" in capsys.readouterr().err


# --- members that fail and are replaced ------------------------------------------------------------------

FAILING = "sh -c 'test {member}{cycle} = 32 && exit 1; exec $0 $@' "


def failing(folder, output="out", resume=False, **changes):
    """Member 3 fails in cycle 2."""
    command = FAILING + cycling(folder).model.command
    settings = {"min_members": 3, "replace_failed": True, "cycles": 3, **changes}
    return run(folder, output=output, resume=resume, command=command, **settings)


def test_a_moved_copy_of_the_others_analysis_takes_the_place(folder):
    out = failing(folder, parameters={"rate": Estimated(Parameter(), 0.7, 0.1)})
    place = out / "cycle_0002"
    prior, analysis = members(place / "forecast"), members(place / "analysis")
    assert len(prior) == MEMBERS - 1 and len(analysis) == MEMBERS
    assert len(members(out / "cycle_0003" / "forecast")) == MEMBERS
    seeds = np.random.SeedSequence((1, 2, 0, 1))
    replacement = Replacement.draw(np.array([1, 1, 0, 1], bool), np.random.Generator(np.random.SFC64(seeds)))
    left = [0, 1, 3]
    np.testing.assert_allclose(analysis[2], replacement.made(analysis[left])[0], rtol=1e-12)
    rates = (place / "parameters.csv").read_text().splitlines()
    assert rates[-1].startswith("3,,")
    values = np.array([float(row.split(",")[2]) for row in rates[1:]])
    np.testing.assert_allclose(values[3], replacement.made(values[:3, None])[0, 0], rtol=1e-12)


def test_the_records_say_who_was_replaced(folder):
    lines = []
    out = failing(folder, show=lines.append)
    records = json.loads((out / "summary.json").read_text())
    assert [record["replaced"] for record in records] == [[], [3], []]
    (donor,) = records[1]["copies_of"]
    assert donor in (1, 2, 4) and f"3 members (3 is a moved copy of {donor}), " in lines[2]
    assert [record["members"] for record in records] == [MEMBERS, MEMBERS - 1, MEMBERS]


def test_earlier_states_follow_and_a_run_goes_on_bit_for_bit(folder):
    settings = {"method": read_method("Smoother(ETKF(), 2)"), "parameters": {"rate": RATE}}
    whole = failing(folder, "whole", **settings)
    corrected = members(whole / "cycle_0003" / "smoothed" / "cycle_0001")
    assert len(corrected) == MEMBERS and np.isfinite(corrected).all()
    failing(folder, "parts", **settings | {"cycles": 2})
    parts = failing(folder, "parts", resume=True, **settings)
    whole_files, files = (
        {name: content for name, content in contents(place).items() if "/runs/" not in name} for place in (whole, parts)
    )
    assert files == whole_files


def test_the_option_needs_a_number_and_stands_in_configurations(folder, capsys):
    with pytest.raises(ValueError, match="replace_failed needs min_members"):
        cycling(folder, replace_failed=True)
    with pytest.raises(ValueError, match="need the analysis of ensf: leave analyse= out"):
        external.run(cycling(folder, method=ETKF()), folder / "out", analyse=lambda *arguments, **more: None)
    (folder / "c.toml").write_text(
        'command = "cp {input} {output}"\ninitial = "m{member}.nc"\nobservations = "obs_{cycle}.csv"\n'
        "method = 'ETKF()'\nmembers = 4\ncycles = 1\ninterval = 6.0\nmin_members = 2\nreplace_failed = true\n"
    )
    assert main(["cycle", str(folder / "c.toml")]) == 0


def test_the_recommended_filter_leaves_the_bias_of_the_model_to_parameters_of_cycles_and_files(folder):
    state = xr.Dataset({"q": (("realization", "x"), np.eye(3))}, {"x": ("x", np.arange(3.0), {"axis": "X"})})
    layout = pack(state, "realization")[1]
    for estimated, word in (({"rate": RATE}, "estimate_bias=False"), ({}, "estimate_bias=True")):
        one = cycling(
            folder, method="letsf", parameters=estimated, command=None if estimated else "cp {input} {output}"
        )
        assert word in repr(method_for(one.filter, layout))
    with_fields(folder, np.random.default_rng(5))
    for settings in ({"parameters": {"rate": Parameter()}}, {}):
        out = folder / f"out_{len(settings)}"
        offline = Offline("letsf", variables=("q",), **settings)
        offline.analyse(str(folder / "in" / "m*.nc"), folder / "obs_1.csv", out, rng=np.random.default_rng(1))
        reported = json.loads((out / "analysis.json").read_text())["reported"]
        assert ("bias_q" in reported) == (not settings)


@pytest.mark.parametrize("fields", [True, False], ids=["parameters", "observed values"])
def test_a_limit_of_memory_is_told_before_the_first_forecast_as_the_analysis_would(folder, fields, monkeypatch):
    with_fields(folder, np.random.default_rng(5))
    monkeypatch.setattr(job, "ALWAYS", 0.0)
    own = {"rough": Parameter(Log())} if fields else {}
    told = {name: Estimated(one) for name, one in own.items()}
    how = {"mask": True, "variables": ("q",)}
    settings = cycling(folder, command="cp {input} {output}", parameters=told, initial="in/m{member}.nc", **how)
    given = str(folder / "in" / "m*.nc"), folder / "obs_1.csv", folder / "analysed"
    limit = 1.001e-9 * Offline(ETKF(), **how).prepare(*given).bytes if fields else 1e-7
    with pytest.raises(ValueError, match="catalogues and parameters" if fields else "observed values") as of_analysis:
        Offline(ETKF(), parameters=own, memory_limit=limit, **how).prepare(*given)
    for way in (external.plan, external.run):
        with pytest.raises(ValueError, match="memory_limit") as of_cycle:
            way(settings, folder / "limited", memory_limit=limit)
        assert str(of_cycle.value) == str(of_analysis.value)
    assert not list(folder.glob("limited/cycle*"))
