"""Models of one dimension from tables: a line, a ring, points that are counted, a column; in every reader of tables."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ensf.cli import main
from ensf.dataset import analyse, first_localization, pack
from ensf.dataset.methods import reach_of
from ensf.filters import LETKF
from ensf.localization import Euclidean, Localization, Periodic, Sphere
from ensf.localization.vertical import Layered, Product
from ensf.offline.observe_one import ObserveOne
from ensf.tables import ObservationTable, read

MEMBERS = 6
DEPTH = np.array([0.0, 10.0, 30.0, 100.0])


def ensemble(dim, size, coordinate=None):
    """Members along one dimension."""
    values = np.random.default_rng(5).normal(size=(MEMBERS, size))
    return xr.Dataset({"h": (("realization", dim), values)}, {} if coordinate is None else {dim: coordinate})


def line():
    return ensemble("x", 8)


def along_a_river():
    return ensemble("s", 8, ("s", 100.0 * np.arange(8), {"units": "m"}))


def column():
    return ensemble("depth", 4, ("depth", DEPTH, {"units": "m", "positive": "down"}))


def written(folder, dataset, table):
    """Files of the members, and a table."""
    for member in range(MEMBERS):
        dataset.isel(realization=member).to_netcdf(folder / f"m{member}.nc")
    (folder / "obs.csv").write_text(table)
    return folder


def table(header, *rows):
    return "\n".join([f"variable,value,error,time,{header}", *(f"h,{value},0.5,2024-01-01,{at}" for value, at in rows)])


CASES = {
    "line": (line, table("x", (0.3, 2.25)), {2: 0.75, 3: 0.25}, ""),
    "ring": (line, table("x", (0.3, 7.75)), {7: 0.25, 0: 0.75}, "periods.x = 8\n"),
    "named": (along_a_river, table("s", (0.3, 250)), {2: 0.5, 3: 0.5}, ""),
    "depth": (column, table("depth", (0.3, 15)), {1: 0.75, 2: 0.25}, ""),
    "height": (column, table("height", (0.3, -15)), {1: 0.75, 2: 0.25}, ""),
    "surface": (column, "variable,value,error,time\nh,0.3,0.5,2024-01-01", {0: 1.0}, 'surface = "h"\n'),
}


@pytest.mark.parametrize("case", CASES)
def test_a_row_sees_what_is_around_it_on_the_line(case, tmp_path, monkeypatch, capsys):
    make, rows, weights, more = CASES[case]
    monkeypatch.chdir(written(tmp_path, make(), rows))
    (tmp_path / "c.toml").write_text(f"quality = 'Duplicates()'\ngood = [0, 1]\n{more}")
    words = ["analyse", "--prior", "m?.nc", "--observations", "obs.csv", "--config", "c.toml", "--output", "out"]
    assert main([*words, "--dry-run"]) == 0
    assert "localization: half-width" in capsys.readouterr().out
    assert main(words) == 0
    mean = make()["h"].mean("realization").values
    expected = sum(weight * mean[place] for place, weight in weights.items())
    assert read("out/observations.nc").extra["prior_mean"].tolist() == pytest.approx([expected], abs=1e-12)
    if case in ("ring", "depth"):
        assert main(["report", "out"]) == 0
        place = {"ring": "x=7.75", "depth": "depth=15"}[case]
        one = ["observe-one", "--prior", "m?.nc", "--variable", "h", "--error", "0.5", "--at", place]
        assert main([*one, "--config", "c.toml", "--output", "one"]) == 0
        with xr.open_dataset("one/observe_one.nc") as result:
            assert result.attrs["prior_mean"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("case", ["ring", "depth"])
def test_a_cycle_takes_the_same_table(case, tmp_path, monkeypatch, capsys):
    make, rows, weights, more = CASES[case]
    monkeypatch.chdir(written(tmp_path, make(), rows))
    model = 'command = "cp {input} {output}"'
    settings = f'{model}\ninitial = "m{{member}}.nc"\nobservations = "obs.csv"\nmembers = 6\ncycles = 1'
    (tmp_path / "c.toml").write_text(f"{settings}\ninterval = 86400\nstart = '2023-12-31'\n{more}")
    (tmp_path / "m0.nc").rename(tmp_path / "m6.nc")
    assert main(["cycle", "c.toml", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "1 of 1 rows can be used" in told and ("periodic in x with 8" in told) == (case == "ring")
    assert main(["analyse", "--config", "c.toml", "--prior", "m?.nc", "--output", "out", "--dry-run"]) == 0
    assert main(["analyse", "--config", "c.toml", "--cycles", "3"]) == 2 and "--cycles" in capsys.readouterr().err
    (tmp_path / "d.toml").write_text("window = [3.0, 3.0]\n")
    assert (
        main(["analyse", "--config", "d.toml", "--prior", "m?.nc", "--observations", "obs.csv", "--output", "o"]) == 2
    )
    assert "window is [3.0, 3.0], which is of ensf cycle: for ensf analyse give 6h" in capsys.readouterr().err
    assert main(["cycle", "c.toml"]) == 0
    mean = make()["h"].mean("realization").values
    path = tmp_path / "cycles/cycle_0001/observations.csv"
    expected = sum(weight * mean[place] for place, weight in weights.items())
    assert read(path).extra["prior_mean"].tolist() == pytest.approx([expected], abs=1e-12)


def test_a_dataset_of_one_dimension_needs_no_settings_but_its_period():
    rows = ObservationTable(
        variable=np.array(["h"]), value=np.array([1.0]), error=0.5, time=np.array(["2024-01-01"], "datetime64[us]"),
        position=np.array([7.75]), axes=("x",),
    )  # fmt: skip
    made = analyse(line(), rows, LETKF(Localization(Periodic((8.0,)), 1.0, ("x",))), 1, periods={"x": 8.0})
    moved = (made - line())["h"].mean("realization").values
    assert np.flatnonzero(moved).tolist() == [0, 1, 6, 7]  # within two half-widths of 7.75, around the ring
    outside = rows.observe(pack(line(), "realization")[1])
    assert outside.table.reason.tolist() == ["out of domain"]


@pytest.mark.parametrize(
    ("make", "periods", "expected", "words"),
    [
        (line, {}, Localization(Euclidean(), 1.75, ("x",)), "half-width 1.75 along x, points along x counted from 0"),
        (line, {"x": 8.0}, Localization(Periodic((8.0,)), 1.75, ("x",)), "periodic in x with 8"),
        (along_a_river, {"s": 800.0}, Localization(Periodic((800.0,)), 175.0, ("s",)), "half-width 175 m along s"),
        (column, {}, Localization(Euclidean(), 25.0, ("depth",)), "half-width 25 m along depth"),
    ],
)
def test_the_first_localization_is_that_of_the_line(make, periods, expected, words):
    _, layout = pack(make(), "realization", periods=periods)
    assert first_localization(layout) == expected
    assert words in reach_of(expected, layout)


def section():
    """Members along x and depth, and a variable of the surface."""
    x, depth = ("x", 5.0 * np.arange(8), {"units": "km"}), ("depth", DEPTH, {"units": "m"})
    whole = ensemble("x", 8, x)
    values = np.random.default_rng(6).normal(size=(MEMBERS, 4, 8))
    return whole.assign(t=(("realization", "depth", "x"), values)).assign_coords(depth=depth)


@pytest.mark.parametrize(
    ("geometry", "dims", "words"),
    [
        (Euclidean(), ("x",), "half-width 10 km along x, not along depth"),
        (
            Layered(Euclidean(), 0.2),
            ("x", "depth"),
            "half-width 10 km along x, depth, 1 m along depth counted as 0.2 km",
        ),
        (
            Product(Euclidean(), 0.2),
            ("x", "depth"),
            "half-width 10 km along x, depth, 1 m along depth counted as 0.2 km",
        ),
    ],
)
def test_it_is_said_along_what_a_section_is_localized(geometry, dims, words):
    _, layout = pack(section()[["t", "h"]], "realization")
    assert reach_of(Localization(geometry, 10.0, dims), layout) == words
    _, layout = pack(section()[["h", "t"]], "realization")
    assert ("not along depth" in reach_of(Localization(geometry, 10.0, dims), layout)) == (dims == ("x",))


def test_a_doubly_periodic_channel_is_a_torus():
    grid = {"x": np.arange(0.0, 80.0, 10.0), "y": np.arange(0.0, 40.0, 10.0)}
    dataset = xr.Dataset({"q": (("realization", "y", "x"), np.random.default_rng(1).normal(size=(4, 4, 8)))}, grid)
    torus = pack(dataset, "realization", periods={"x": 80.0, "y": 40.0})[1]
    assert first_localization(torus) == Localization(Periodic((80.0, 40.0)), 17.5, ("x", "y"))
    channel = pack(dataset, "realization", periods={"x": 80.0})[1]
    assert first_localization(channel).geometry == Periodic((80.0, np.inf))


def test_a_dry_run_says_which_units_are_converted(tmp_path, monkeypatch, capsys):
    rows = table("s,units", (0.3, "250,mm"), (0.3, "350,m"), (0.3, "450,mm"))
    dataset = along_a_river()
    dataset["h"].attrs["units"] = "m"
    monkeypatch.chdir(written(tmp_path, dataset, rows))
    assert main(["analyse", "--prior", "m?.nc", "--observations", "obs.csv", "--output", "out", "--dry-run"]) == 0
    assert "    3 used\n    h: 2 rows from mm to m\n" in capsys.readouterr().out
    thinned = ["--quality", "Duplicates(), Thinning(Boxes(200.0))"]
    assert main(["analyse", "--prior", "m?.nc", "--observations", "obs.csv", *thinned, "--output", "new"]) == 0
    assert "2 of 3 observations used (1 thinned)" in capsys.readouterr().out  # 250 and 350 are in one box


def test_what_the_table_lacks_is_told_by_the_names_of_the_grid(tmp_path, monkeypatch, capsys):
    grid = {"lat": ("lat", [1.0, 2.0], {"units": "degrees_north"}), "lon": ("lon", [1.0, 2.0])}
    dataset = xr.Dataset({"h": (("realization", "lat", "lon"), np.random.default_rng(1).normal(size=(6, 2, 2)))}, grid)
    monkeypatch.chdir(written(tmp_path, dataset, table("lat", (0.3, 1.5))))
    assert main(["analyse", "--prior", "m?.nc", "--observations", "obs.csv", "--output", "out"]) == 2
    told = capsys.readouterr().err
    assert "obs.csv: variable 'h' is along 'lon', of which the table has the column lat alone: give lat and lon" in told


def test_points_of_a_latitude_are_not_counted():
    _, layout = pack(ensemble("lat", 4), "realization")
    with pytest.raises(ValueError, match="no coordinates"):
        first_localization(layout)


# --- at the surface -----------------------------------------------------------------------------------------


def ocean():
    """A field with levels, and one without that is at their top."""
    rng = np.random.default_rng(2)
    grid = {
        "lat": ("lat", [1.0, 2.0], {"units": "degrees_north"}),
        "lon": ("lon", [1.0, 2.0], {"units": "degrees_east"}),
        "depth": ("depth", 1.0 + DEPTH, {"units": "m", "positive": "down"}),
    }
    values = {"h": rng.normal(size=(MEMBERS, 4, 2, 2)), "ssh": rng.normal(size=(MEMBERS, 2, 2))}
    dims = {"h": ("realization", "depth", "lat", "lon"), "ssh": ("realization", "lat", "lon")}
    return xr.Dataset({name: (dims[name], one) for name, one in values.items()}, grid)


def test_a_surface_row_is_at_the_first_level_and_one_without_levels_where_its_variable_is(tmp_path):
    at = "1,1"
    surface, level = f"h,0.3,0.5,2024-01-01,{at},", f"h,0.3,0.5,2024-01-01,{at},31"
    rows = "\n".join(["variable,value,error,time,lat,lon,depth", surface, surface.replace("h", "ssh"), level])
    (tmp_path / "rows.csv").write_text(rows)
    met = read(tmp_path / "rows.csv")
    _, layout = pack(ocean(), "realization")
    localization = Localization(Product(Sphere(), 10.0), 500.0, ("lat", "lon", "depth"), at={"depth": 0.0})
    seen = met.observe(layout, surface=["h"]).locate(localization)
    assert seen.observation.position[:, 2].tolist() == [1.0, 0.0, 31.0]
    alone = Localization(Product(Sphere(), 10.0), 500.0, ("lat", "lon", "depth"))
    with pytest.raises(ValueError, match=r"^rows.csv: row 1 has no z, .* declare ssh a surface variable"):
        met.observe(layout, surface=["h"]).locate(alone)


def test_a_row_is_named_by_its_own_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(written(tmp_path, ocean(), table("lat,lon,depth", (0.3, "1,1,1"), (0.3, "1,1,2"))))
    (tmp_path / "other.csv").write_text("variable,value,error,time,lat,lon\nssh,0.3,0.5,2024-01-01,1,1\n")
    method = "LETKF(Localization(Product(Sphere(), 10.0), 500.0, ('lat', 'lon', 'depth')))"
    words = ["analyse", "--prior", "m?.nc", "--observations", "obs.csv", "other.csv", "--output", "out"]
    assert main([*words, "--variables", "h", "--method", method]) == 0
    capsys.readouterr()
    assert main([*words, "--method", method, "--overwrite"]) == 2
    assert "other.csv: row 0 has no z" in capsys.readouterr().err


def test_one_observation_takes_the_columns_of_a_table(tmp_path):
    written(tmp_path, column(), "")
    seen = [
        ObserveOne("h", at, 0.5, surface=("h",)).compute(f"{tmp_path}/m?.nc", np.random.default_rng(1)).prior_mean
        for at in ({"depth": 15}, {"height": -15}, {"z": 15})
    ]
    assert seen[0] == seen[1] == seen[2]
    with pytest.raises(ValueError, match="--at: variable 'h' has levels but its rows have no z"):
        ObserveOne("h", {}, 0.5).compute(f"{tmp_path}/m?.nc", np.random.default_rng(1))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--periods", "lonn=8"], "periods has 'lonn', but no variable has such a coordinate: name one of 'x'"),
        (["--periods", "x=5"], "the period 5 of 'x' must be larger than 7, from the first to the last point of 'x'"),
        (["--periods", "x=7"], "the period 7 of 'x' must be larger than 7"),
        (["--surface", "sst"], "surface has 'sst', which is no variable of the state: choose from 'h'"),
    ],
)
def test_a_period_and_a_surface_variable_fit_the_grid(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(written(tmp_path, line(), table("x", (0.3, 2.25))))
    whole = ["analyse", "--prior", "m?.nc", "--observations", "obs.csv", "--output", "out", *words]
    assert main([*whole, "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_pack_refuses_a_period_that_joins_the_ends():
    with pytest.raises(ValueError, match="the period 7 of 'x' must be larger than 7"):
        pack(line(), "realization", periods={"x": 7.0})
    assert pack(line(), "realization", periods={"x": 7.5})[1].periods == {"x": 7.5}


@pytest.mark.parametrize(("words", "dim"), [("", "latitude"), (", dims=('y', 'x')", "y")])
def test_a_localization_in_coordinates_that_the_grid_has_not_is_told_the_right_ones(words, dim, tmp_path, capsys):
    for member in range(4):
        grid = {"x": ("x", np.arange(8.0), {"axis": "X"})}
        xr.Dataset({"n": ("x", np.arange(8.0) + member)}, grid).to_netcdf(tmp_path / f"m{member}.nc")
    (tmp_path / "obs.csv").write_text("variable,value,error,time,x\nn,3,1,2020-01-01,1\n")
    arguments = ["analyse", "--prior", f"{tmp_path}/m*.nc", "--observations", f"{tmp_path}/obs.csv", "--window", "all"]
    arguments += ["--method", f"LETKF(Localization(Euclidean(), 3.0{words}))", "--output", f"{tmp_path}/out"]
    assert main(arguments) == 2
    sentence = (
        f"the localization uses '{dim}', which no variable of the state has: name the coordinates of the grid, dims="
    )
    assert f"{sentence}('x',)" in capsys.readouterr().err
