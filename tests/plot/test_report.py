"""`ensf report` of an analysis and of a cycled model; one observation as a figure; the page asks for nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray as xr

from ensf import LETKF, Localization, Sphere
from ensf.cli import main
from ensf.offline import Offline
from ensf.offline.estimates import of_estimates
from ensf.offline.statistics import Bands, append, by_band, read_statistics
from ensf.plot import Report
from ensf.plot.analysis import Look, figure_fit, figure_increment, figure_places, figure_rejected, figure_spread
from ensf.plot.cycles import figure_estimates, found
from ensf.plot.grid import Grid, words_of_level
from ensf.plot.observe_one import figure_observe_one
from ensf.tables import ObservationTable, read
from ensf.tables.flags import WINDOW

ROWS = ["variable,value,error,time,lat,lon,z"]
ROWS += [
    f"t,{k % 5 - 1.5},0.5,2024-01-31T{hour},{41 + k % 7},{1.5 + k % 5},{(10, 100)[k % 2]}"
    for hour in ("06:00", "12:00")
    for k in range(20)
]
ROWS += ["t,0.5,0.5,2024-01-31T12:00,80,0,10"]


@pytest.fixture(scope="module")
def cycles(tmp_path_factory):
    """A cycled model in two cycles of four members on two levels, an analysis, and one observation."""
    folder = tmp_path_factory.mktemp("cycled")
    rng = np.random.default_rng(1)
    grid = {
        "depth": ("depth", [10.0, 100.0], {"units": "m", "positive": "down"}),
        "lat": ("lat", np.arange(40.0, 50), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(0.0, 8), {"units": "degrees_east"}),
    }
    for member in range(1, 5):
        t = rng.normal(size=(2, 10, 8)) + rng.normal()
        xr.Dataset({"t": (("depth", "lat", "lon"), t, {"units": "K"})}, grid).to_netcdf(folder / f"m{member}.nc")
    (folder / "obs.csv").write_text("\n".join(ROWS) + "\n")
    (folder / "c.toml").write_text(
        'command = "cp {input} {output}"\ninitial = "m{member}.nc"\nobservations = "obs.csv"\nmembers = 4\ncycles = 2\n'
        'start = "2024-01-31"\ninterval = 21600.0\nwithhold = 0.2\nmethod = "LETKF(Localization(Sphere(), 400.0))"\n'
    )
    assert main(["cycle", str(folder / "c.toml")]) == 0
    offline = Offline("letsf", withhold=0.2)
    offline.analyse(f"{folder}/m*.nc", folder / "obs.csv", folder / "analysis", rng=rng)
    return folder


def words(figure):
    return "\n".join(artist.get_text() for artist in figure.findobj(matplotlib.text.Text))


def test_report_of_cycles_draws_them_all_on_a_page_without_requests(cycles, capsys):
    assert main(["report", str(cycles / "cycles"), "--html", "--dpi", "60"]) == 0
    names = ["innovations", "consistency", "rows", "increment", "spread", "places", "fit", "rejected"]
    written = re.findall(r"wrote .*/(.*)", capsys.readouterr().out)
    assert written == [*(f"{name}.png" for name in names), "report.html"]
    text = (cycles / "cycles" / "report.html").read_text(encoding="utf-8")
    requests = Requests()
    requests.feed(text)
    assert requests.images == len(names) and not requests.outside
    assert "url(" not in text and "@import" not in text
    assert "t (K)" in text
    statistics = read_statistics(cycles / "cycles" / "statistics.nc")
    assert statistics["t_count"].sum(["band", "role"]).values.tolist() == [20, 20]


class Requests(HTMLParser):
    """What a page asks for beyond itself."""

    def __init__(self):
        super().__init__()
        self.images, self.outside = 0, []

    def handle_starttag(self, tag, attrs):
        self.images += tag == "img"
        if tag in ("script", "iframe", "object", "embed"):
            self.outside.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action") and not value.startswith(("data:", "#")):
                self.outside.append(value)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_opens_in_a_browser(cycles, tmp_path):
    Report(dpi=60, html=True).draw(cycles / "analysis")
    shot, page = tmp_path / "shot.png", cycles / "analysis" / "report.html"
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, f"--screenshot={shot}", "--window-size=1000,2400", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    pixels = matplotlib.image.imread(shot)[..., :3]
    assert pixels.shape[:2] == (2400, 1000)
    coloured = np.ptp(pixels, axis=-1) > 0.2
    assert coloured[400:].mean() > 0.05, "figures are not on the page"


def test_report_of_an_analysis_in_other_formats(cycles):
    look = Look.read(cycles / "analysis" / "fields.nc", cycles / "analysis" / "observations.nc", "here")
    paths = Report(formats=("svg", "pdf"), dpi=50).save(figure_rejected(look), cycles, "rejected")
    assert [path.suffix for path in paths] == [".svg", ".pdf"] and all(path.stat().st_size > 1000 for path in paths)


@pytest.mark.slow
def test_cycles_are_animated(cycles, capsys):
    assert main(["report", str(cycles / "cycles"), "--animate"]) == 0
    from PIL import Image

    with Image.open(cycles / "cycles" / "increment.gif") as moving:
        assert moving.n_frames == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "bmp"], "no format 'bmp'"),
        (["--dpi", "3"], "dpi is 3"),
        (["--methods", "letkf"], "leave out --methods"),
        (["--animate", "avi"], "name a .gif"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(cycles, capsys, arguments, sentence):
    assert main(["report", str(cycles / "cycles"), *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_report_names_a_damaged_file(cycles, tmp_path, capsys):
    shutil.copytree(cycles / "analysis", tmp_path / "a")
    (tmp_path / "a" / "fields.nc").write_bytes(b"CDF?")
    assert main(["report", str(tmp_path / "a")]) == 2
    assert "fields.nc cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folder", "file"), [("cycles", "statistics.nc"), ("analysis", "fields.nc"), ("run", "letkf_seed1.nc")]
)
def test_report_names_what_a_file_lacks(cycles, tmp_path, capsys, folder, file):
    if folder == "run":
        (tmp_path / "a").mkdir()
    else:
        shutil.copytree(cycles / folder, tmp_path / "a")
        (tmp_path / "a" / file).unlink()
    xr.Dataset({"other": ("n", np.zeros(3))}).to_netcdf(tmp_path / "a" / file)
    assert main(["report", str(tmp_path / "a")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ensf: ") and said.count("\n") == 1 and "again" in said


def test_axes_say_quantity_and_unit(cycles):
    folder = cycles / "analysis"
    look = Look.read(folder / "fields.nc", folder / "observations.nc", "here")
    for figure, wanted in (
        (figure_increment(look), ["longitude (°E)", "latitude (°N)", "increment of t (K)", "depth"]),
        (figure_spread(look), ["spread of t (K)", "observation minus mean (K)", "t, before"]),
        (figure_fit(look), ["observed t (K)", "predicted t (K)", "analysis, withheld"]),
    ):
        for word in wanted:
            assert word in words(figure), word


def test_what_nobody_observed_has_no_colours_of_departures(cycles):
    folder = cycles / "analysis"
    fields = xr.load_dataset(folder / "fields.nc")
    names = [name for name in fields if name.startswith("t_")]
    fields = fields.assign({f"s_{name[2:]}": fields[name] for name in names})
    look = Look.read(folder / "fields.nc", folder / "observations.nc", "here")
    assert words(figure_spread(Look(fields, look.table, "here"))).count("observation minus mean") == 2  # caption, t


def test_rows_of_other_times_are_counted_in_words(cycles):
    folder = cycles / "analysis"
    look = Look.read(folder / "fields.nc", folder / "observations.nc", "here")
    assert "outside the time window" not in words(figure_rejected(look))
    rows = len(look.table)
    late = Look(look.fields, look.table.reject(np.cumsum(look.table.used) <= 2, WINDOW), "here")
    said = words(figure_rejected(late))
    assert f"{rows - 2} rows" in said and "2 more are outside the time window." in said
    ticks = figure_rejected(late).axes[1].get_xticks()
    assert (ticks == np.round(ticks)).all()


def test_rows_are_drawn_on_their_level(cycles):
    folder = cycles / "analysis"
    look = Look.read(folder / "fields.nc", folder / "observations.nc", "here")
    chosen = look.near("t", {"depth": 1}, 0)
    assert set(look.table.height[chosen]) == {100.0}


def test_metres_are_drawn_as_kilometres():
    axis = np.arange(0.0, 50e3, 1e4)
    field = xr.DataArray(np.zeros((5, 5)), {"y": ("y", axis, {"units": "m"}), "x": ("x", axis, {"units": "m"})})
    grid = Grid.of(field)
    assert grid.labels == ("x (km)", "y (km)") and grid.x[-1] == 40.0
    assert grid.points(np.array([[2e4, 1e4]]), ("x", "y"), np.array([np.nan]))[0][0] == 20.0


def test_longitudes_of_rows_are_those_of_the_grid():
    lon = ("lon", np.arange(-20.0, 10), {"units": "degrees_east"})
    field = xr.DataArray(
        np.zeros((3, 30)), {"lat": ("lat", np.arange(3.0), {"units": "degrees_north"}), "lon": lon}, ("lat", "lon")
    )
    x, y = Grid.of(field).points(np.array([[1.0, 350.0]]), ("lat", "lon"), np.array([np.nan]))
    assert (x[0], y[0]) == (-10.0, 1.0)


def test_curvilinear_grids_are_drawn(tmp_path):
    rng = np.random.default_rng(2)
    y, x = np.meshgrid(np.arange(6.0), np.arange(5.0), indexing="ij")
    curved = {"nav_lat": (("j", "i"), 40 + y + 0.1 * x, {"units": "degrees_north"})}
    curved["nav_lon"] = ("j", "i"), x - 0.1 * y, {"units": "degrees_east"}
    for member in range(4):
        xr.Dataset({"t": (("j", "i"), rng.normal(size=(6, 5)))}, curved).to_netcdf(tmp_path / f"m{member}.nc")
    (tmp_path / "obs.csv").write_text("variable,value,error,time,lat,lon\nt,1,0.5,2024-01-31,42.6,1.7\n")
    method = LETKF(Localization(Sphere(), 200.0))
    Offline(method).analyse(f"{tmp_path}/m?.nc", tmp_path / "obs.csv", tmp_path / "out", rng=rng)
    fields = xr.load_dataset(tmp_path / "out" / "fields.nc")
    assert Grid.of(fields.t_increment).x.shape == (6, 5)
    look = Look.read(tmp_path / "out" / "fields.nc", tmp_path / "out" / "observations.nc", "here")
    assert "longitude (°E)" in words(figure_increment(look))


def test_fields_of_one_dimension_are_curves():
    x = {"x": ("x", 1e4 * np.arange(7.0), {"units": "m"})}
    names = ("t_increment", "t_prior_spread", "t_analysis_spread")
    fields = xr.Dataset({name: ("x", np.arange(7.0), {"units": "K"}) for name in names}, x)
    one = np.ones(1)
    extra = {f"{stage}_{what}": one for stage in ("prior", "analysis") for what in ("mean", "spread")}
    position = np.array([[2e4, 0.0]])
    table = ObservationTable(np.array(["t"]), one, one, np.array(["2024-01-31"]), position, ("x", "y"), extra=extra)
    look = Look(fields, table, "here")
    for figure in (figure_increment(look), figure_spread(look), figure_rejected(look)):
        assert "x (km)" in words(figure)
    assert figure_increment(look).axes[0].get_ylabel() == "increment of t (K)"


@pytest.fixture(params=[("depth", "x"), ("x", "depth")])
def section(request):
    """A section of 6 levels over 100 km, its rows at (62 km, 8 m) and (30 km, 16 m), and one without a level."""
    x = ("x", np.linspace(0, 1e5, 41), {"units": "m"})
    grid = {"x": x, "depth": ("depth", [1.0, 3.0, 6.0, 10.0, 15.0, 20.0], {"units": "m", "positive": "down"})}
    values = xr.DataArray(np.hypot(*np.meshgrid(np.arange(6.0), np.arange(41.0), indexing="ij")), dims=("depth", "x"))
    values = values.transpose(*request.param).assign_attrs(units="K")
    fields = xr.Dataset({f"t_{what}": values for what in ("increment", "prior_spread", "analysis_spread")}, grid)
    fields["t_inflation"] = xr.ones_like(values)
    one = np.ones(3)
    extra = {f"{stage}_{what}": one for stage in ("prior", "analysis") for what in ("mean", "spread")}
    place, level = np.array([[62e3], [30e3], [1e3]]), np.array([8.0, 16.0, np.nan])
    table = ObservationTable(
        np.array(["t"] * 3), one, one, np.array(["2024-01-31"] * 3), place, ("x",), z=level, extra=extra
    )
    return Look(fields, table, "here")


def test_rows_of_a_section_are_at_their_depth_on_the_field(section):
    figures = figure_increment(section), figure_spread(section), figure_rejected(section)
    increment, spread, rejected = (figure.axes[0] for figure in figures)
    dots = increment.lines[0].get_xydata(), spread.collections[1].get_offsets(), rejected.lines[0].get_xydata()
    for axes, drawn in zip((increment, spread, rejected), dots, strict=True):
        np.testing.assert_allclose(drawn[:2], [[62.0, 8.0], [30.0, 16.0]])
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("x (km)", "depth (m)")
        deep, shallow = axes.get_ylim()
        assert 20 <= deep < 25 and -5 < shallow <= 1
        assert np.ptp(axes.get_xlim()) < 130
    assert increment.collections[0].get_array().shape == (6, 41)
    assert "Rows without a level are counted, not drawn." in words(figures[2])


@pytest.mark.parametrize("axes", [("time", "x"), ("time", "lat", "lon"), ("time", "lev", "lat")])
def test_of_several_times_one_is_drawn(axes):
    """A line at several times is no map, and the time is told as a date."""
    hours = xr.DataArray(
        [0.0, 3.0, 6.0], dims="time", attrs={"units": "hours since 2024-03-01", "standard_name": "time"}
    )
    known = {"lat": {"units": "degrees_north"}, "lon": {"units": "degrees_east"}, "lev": {"units": "hPa", "axis": "Z"}}
    places = {dim: xr.DataArray(np.arange(4.0), dims=dim, attrs=known.get(dim, {})) for dim in axes[1:]}
    field = xr.DataArray(np.zeros((3, *(4,) * len(places))), {"time": hours, **places}, axes)
    field[1] = 1.0
    grid = Grid.of(field)
    assert "time" not in grid.dims and (grid.y is None) == (len(places) == 1)
    assert words_of_level(field, grid.level(field)) == "2024-03-01T03:00 UTC"
    assert (grid.values(field, grid.level(field)) == 1.0).all()


def test_a_section_from_south_to_north_takes_the_latitude_of_a_row():
    grid = {
        "lev": ("lev", [1000.0, 500.0, 200.0], {"units": "hPa"}),
        "lat": ("lat", np.arange(4.0), {"units": "degrees_north"}),
    }
    drawn = Grid.of(xr.DataArray(np.zeros((3, 4)), grid, ("lev", "lat")))
    x, y = drawn.points(np.array([[2.0, 11.0]]), ("lat", "lon"), np.array([850.0]))
    assert (x[0], y[0], drawn.labels) == (2.0, 850.0, ("lat (degrees_north)", "lev (hPa)"))


def test_a_column_is_upright_and_says_nothing_of_levels():
    depth = {"depth": ("depth", [5.0, 10.0, 40.0], {"units": "m", "positive": "down"})}
    names = ("t_increment", "t_prior_spread", "t_analysis_spread", "t_inflation")
    fields = xr.Dataset({name: ("depth", [1.0, 2.0, 4.0], {"units": "K"}) for name in names}, depth)
    one = np.ones(2)
    extra = {f"{stage}_{what}": one for stage in ("prior", "analysis") for what in ("mean", "spread")}
    table = ObservationTable(
        np.array(["t", "s"]),
        np.array([3.0, 35.0]),
        one,
        np.array(["2024-01-31"] * 2),
        np.zeros((2, 0)),
        (),
        z=np.array([10.0, 40.0]),
        extra=extra,
    )
    look = Look(fields, table, "here")
    figures = figure_increment(look), figure_spread(look), figure_places(look), figure_rejected(look)
    wider = figure_spread(Look(fields.assign(t_analysis_spread=3 * fields.t_analysis_spread), table, "here"))
    assert [axes.get_xlim()[1] for axes in wider.axes] == pytest.approx([1.05 * 12] * len(wider.axes))
    for figure in figures:
        axes = figure.axes[0]
        assert axes.get_ylabel() == "depth (m)" and axes.yaxis_inverted()
        assert "Circles" not in words(figure) and "level" not in words(figure)
    curve, used = figures[0].axes[0].lines
    np.testing.assert_array_equal(curve.get_xydata(), [[1, 5], [2, 10], [4, 40]])
    np.testing.assert_array_equal(used.get_xydata(), [[2, 10]])
    assert "Dots: used." in words(figures[0]) and "what was observed" not in words(figures[1])
    both, alone = figures[3].axes[0], figure_rejected(Look(fields, table.take(np.array([0])), "here")).axes[0]
    assert both.lines[0].get_ydata().tolist() == [10, 40] and both.lines[0].get_xdata().tolist() == ["t", "s"]
    assert alone.get_xlabel() == "observed t (K)" and alone.lines[0].get_xydata().tolist() == [[3, 10]]


def test_the_colour_bar_of_a_constant_says_it(section):
    low, high = figure_places(section).axes[0].collections[0].get_clim()
    assert (low, high) == pytest.approx((0.95, 1.05))


def test_one_observation_of_a_section_is_marked_where_it_is(section):
    fields = section.fields.expand_dims(radius=[20e3])
    one = fields[["t_increment", "t_analysis_spread"]].assign(t_prior_spread=section.fields.t_prior_spread + 1)
    numbers = {"innovation": 1.0, "error": 1.0, "prior_spread": 1.0, "place_x": 62e3, "place_depth": 8.0}
    figure = figure_observe_one(one.assign_attrs(observed_variable="t", observed_units="K", **numbers), "t")
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[62.0, 8.0]])
    assert axes.yaxis_inverted() and axes.get_ylim()[0] < 25 and "Circles" not in words(figure)


def test_one_observation_is_drawn_with_every_radius(cycles, tmp_path, capsys):
    words_of = ["observe-one", "--prior", f"{cycles}/m*.nc", "--variable", "t", "--at", "lat=45,lon=3.5,z=10"]
    more = ["--error", "0.5", "--radius", "200", "500", "--output", str(tmp_path / "one"), "--dpi", "60"]
    assert main([*words_of, *more]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("half-width")]
    numbers = [re.search("at ([0-9]+) of ([0-9]+) values, .* on average ([0-9.]+) %", line).groups() for line in lines]
    (near, size, less), (far, _, more_less) = numbers
    with xr.open_dataset(tmp_path / "one" / "observe_one.nc") as result:
        moved = np.abs(result.t_increment.isel(radius=0).values)
    assert int(near) == (moved > 0.1 * moved.max()).sum() < int(far) and int(size) == moved.size
    assert 0 < float(less) < float(more_less)
    assert "half-width 200 km" in printed and (tmp_path / "one" / "observe_one_t.png").is_file()
    assert xr.load_dataset(tmp_path / "one" / "observe_one.nc").radius.values.tolist() == [200.0, 500.0]
    assert main([*words_of, *more]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_time_of_one_point_is_no_level():
    """Most files of models have one: levels are chosen and profiles drawn along the depth all the same."""
    grid = {
        "lat": [40.0, 41.0, 42.0],
        "lon": [0.0, 1.0, 2.0, 3.0],
        "depth": ("depth", [5.0, 50.0], {"positive": "down"}),
    }
    time = ("time_counter", [3.888e9], {"units": "seconds since 1900-01-01", "standard_name": "time"})
    increment = np.arange(24.0).reshape(1, 1, 2, 3, 4)
    fields = xr.Dataset({"t_increment": (("radius", "time_counter", "depth", "lat", "lon"), increment)}, grid)
    fields = fields.assign_coords(time_counter=time, radius=[300.0])
    one = fields.assign(t_analysis_spread=0 * fields.t_increment + 0.5, t_prior_spread=0 * fields.t_increment[0] + 1)
    field = one.t_increment[0]
    assert words_of_level(field, Grid.of(field).level(field)) == "depth 50"
    numbers = {"innovation": 1.0, "error": 1.0, "prior_spread": 1.0, "place_lat": 41.0, "place_lon": 2.0}
    one = one.assign_attrs(observed_variable="t", observed_units="K", **numbers)
    profile = figure_observe_one(one, "t").axes[1]
    np.testing.assert_array_equal(profile.lines[0].get_xydata(), [[6.0, 5.0], [18.0, 50.0]])
    assert profile.get_ylabel() == "depth" and profile.yaxis_inverted()
    assert len(figure_observe_one(one.isel(depth=[0]), "t").axes) == 2  # no profile


def test_one_observation_takes_a_pattern_from_a_file(cycles, tmp_path):
    """As `ensf analyse` does: a string, not a list."""
    (tmp_path / "one.toml").write_text(f'prior = "{cycles}/m*.nc"\nvariable = "t"\nerror = 0.5\n')
    words_of = ["observe-one", "--config", str(tmp_path / "one.toml"), "--at", "lat=45,lon=3.5,z=10", "--dpi", "60"]
    assert main([*words_of, "--output", str(tmp_path / "one")]) == 0
    assert (tmp_path / "one" / "observe_one.nc").is_file()


def test_curves_of_all_radii_share_their_axes_and_show_the_place():
    depth = ("depth", np.array([0.0, 10.0, 50.0]), {"units": "m", "positive": "down"})
    increment = xr.DataArray([[0.1, 0.4, 0.0], [0.3, 0.8, 0.2]], dims=("radius", "depth"), attrs={"units": "K"})
    one = xr.Dataset(
        {"t_increment": increment, "t_analysis_spread": 1 - increment, "t_prior_spread": ("depth", np.ones(3))},
        {"depth": depth, "radius": ("radius", [152.8934, 300.0], {"units": "m"})},
    )
    numbers = {"innovation": 1.0, "error": 1.0, "prior_spread": 1.0, "place_depth": 12.0}
    figure = figure_observe_one(one.assign_attrs(observed_variable="t", observed_units="K", **numbers), "t")
    near, far, *_ = figure.axes
    assert near.get_xlim() == far.get_xlim() and near.get_ylim() == far.get_ylim() and near.yaxis_inverted()
    assert all(set(axes.lines[1].get_ydata()) == {12.0} for axes in figure.axes)
    assert near.get_title(loc="left") == "half-width 152.9 m"


def learnt(cycles, numbers):
    """Statistics of cycles in which a filter learns numbers of kinds, each over cycles."""
    kinds = np.array(["buoy", "ship", "ship"])
    columns = {f"{stage}_{what}": np.ones(3) for stage in ("prior", "analysis") for what in ("mean", "spread")}
    when = np.datetime64("2020-01-01T00:00")
    table = ObservationTable("t", np.ones(3), 0.5, when, np.zeros((3, 2)), extra={"kind": kinds} | columns)
    statistics = by_band(table, Bands(), {"t": "K"})
    for k in range(cycles):
        info = {"statistics": statistics, **{name: values[k] for name, values in numbers.items()}}
        every = append(statistics.merge(of_estimates(info)), Path("statistics.nc"), k + 1, float(k))
    return every


def test_what_is_learnt_of_kinds_are_lines_over_cycles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = {
        "error_factor_t_buoy": [1.0, 1.01, 1.04],
        "error_factor_t_ship": [1.0, 1.5, 2.5],
        "instrument_offset_t_ship": [0.0, 0.0, 0.7],
        "bias_t_ship": [0.0, 0.0, 0.0],
    }
    statistics = learnt(3, numbers)
    figure = figure_estimates(statistics, "mine")
    assert [axes.get_ylabel() for axes in figure.axes] == ["error factor (1)", "taken off observations (K)"]
    for axes, name in zip(figure.axes, ("error_factor_t_ship", "instrument_offset_t_ship"), strict=True):
        line, nothing = axes.lines
        assert line.get_ydata().tolist() == numbers[name]
        assert set(nothing.get_ydata()) == {1.0 if name.startswith("error") else 0.0}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["t_ship"]
    assert "mine, 3 cycles" in words(figure)


def test_there_is_no_figure_where_nothing_was_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not found(learnt(2, {"error_factor_t_ship": [1.0, 1.04], "bias_t_ship": [0.0, 0.0]}))


def test_statistics_of_cycles_name_the_date(cycles):
    statistics = xr.load_dataset(cycles / "cycles" / "statistics.nc")
    assert statistics.time.values[-1] == np.datetime64("2024-01-31T12:00")
    assert read(cycles / "cycles" / "cycle_0002" / "observations.csv").extra["analysis_mean"].size == len(ROWS) - 1
