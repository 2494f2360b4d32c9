"""Nothing false goes into files or comes out of them: packing, limits, marks, units, places."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest

from ensf.cli import main
from ensf.filters import ETKF, LETKF
from ensf.localization import Localization, Sphere
from ensf.offline import Offline
from ensf.tables import read_ioda
from ensf.tables.quality import GrossCheck

LAT, LON = np.linspace(40.0, 60.0, 21), np.linspace(0.0, 30.0, 31)
HEAD = "variable,value,error,time,lat,lon\n"
PLAIN = f"{HEAD}t,283,0.5,2024-01-01,47.3,14.2\n"


def values(member):
    rng = np.random.default_rng(member)
    return 280 + rng.normal() + np.cumsum(0.3 * rng.normal(size=(21, 31)), axis=1)


def write(path, field, kind="f8", fill=None, places=(LAT, LON), of=("degrees_north", "degrees_east"), **attributes):
    options = {"zlib": True, "complevel": 4, "chunksizes": (7, 31)} if kind == "i2" else {}
    with netCDF4.Dataset(path, "w") as file:
        for name, grid, unit in zip(("lat", "lon"), places, of, strict=True):
            file.createDimension(name, len(grid))
            file.createVariable(name, "f8", (name,))[:] = grid
            file[name].setncatts({"units": unit, "standard_name": {"lat": "latitude", "lon": "longitude"}[name]})
        variable = file.createVariable("t", kind, ("lat", "lon"), fill_value=fill, **options)
        variable.setncatts(attributes)
        variable[:] = field


def analysed(folder, *, prior="m*.nc", table="obs.csv", method=None, **settings):
    offline = Offline(method or LETKF(Localization(Sphere(), 800.0)), **settings)
    rng = np.random.default_rng(1)
    return offline.analyse(folder / prior, folder / table, folder / "out", rng=rng, overwrite=True)


def test_two_packed_files_in_two_out(tmp_path):
    """Each packed tightly, by itself: not larger, within half a step, limits true, no checksum of former values."""
    (tmp_path / "obs.csv").write_text(PLAIN)
    for k in (1, 2):
        field = values(k)
        low, high = field.min(), field.max()
        write(tmp_path / f"m{k}.nc", field, "i2", -32767, scale_factor=(high - low) / 60000, checksum="2B5F", units="K",
              add_offset=(low + high) / 2, valid_range=np.array([-30000, 30000], "i2"))  # fmt: skip
    result = analysed(tmp_path)
    for k in (1, 2):
        old, new = tmp_path / f"m{k}.nc", tmp_path / "out" / f"m{k}.nc"
        assert new.stat().st_size <= old.stat().st_size
        with netCDF4.Dataset(new) as file:
            variable = file["t"]
            shown = variable[:]
            assert not np.ma.is_masked(shown) and "checksum" not in variable.ncattrs()
            assert np.abs(shown.ravel() - result.ensemble[k - 1]).max() <= 0.5001 * variable.scale_factor
            assert variable.filters()["complevel"] == 4 and variable.chunking() == [7, 31]
            variable.set_auto_maskandscale(False)
            low, high = variable.valid_range
            assert low <= variable[:].min() and variable[:].max() <= high


def test_no_value_equals_a_mark_and_limits_hold(tmp_path):
    (tmp_path / "obs.csv").write_text(PLAIN)
    for k in range(1, 5):
        field = np.ma.masked_where(np.tile(LON < 5, (21, 1)), values(k))
        write(tmp_path / f"m{k}.nc", field, "f4", np.float32(-999.0), valid_max=np.float32(300.0), units="K",
              missing_value=np.float32(-99.0), actual_range=np.array([1.0, 2.0], "f4"))  # fmt: skip
    (tmp_path / "obs.csv").write_text(f"{HEAD}t,330,0.1,2024-01-01,47.3,14.2\n")
    result = analysed(tmp_path, method=ETKF(), mask=True, statistics=("analysis",))
    assert result.ensemble.max() > 301
    with netCDF4.Dataset(tmp_path / "out" / "m3.nc") as file, netCDF4.Dataset(tmp_path / "m3.nc") as former:
        np.testing.assert_array_equal(np.ma.getmaskarray(file["t"][:]), np.ma.getmaskarray(former["t"][:]))
        assert file["t"].valid_max >= result.ensemble[2].max() and "actual_range" not in file["t"].ncattrs()
    with netCDF4.Dataset(tmp_path / "out" / "statistics" / "analysis_spread.nc") as file:
        assert np.isfinite(file["t"][:].compressed()).all() and "valid_max" not in file["t"].ncattrs()


@pytest.mark.parametrize(("fill", "missing"), [(-999.0, -99.0), (np.nan, -999.0), (None, np.array([-99.0, -999.0]))])
@pytest.mark.parametrize("mode", [["--dry-run"], []])
def test_marks_that_differ_are_read_and_kept(tmp_path, capsys, fill, missing, mode):
    (tmp_path / "obs.csv").write_text(PLAIN)
    land = np.atleast_1d(missing)[0]
    for k in range(1, 5):
        field = values(k)
        field[:, :3] = land
        write(tmp_path / f"m{k}.nc", field, fill=fill, missing_value=missing)
    words = ["--prior", f"{tmp_path}/m*.nc", "--observations", f"{tmp_path}/obs.csv", "--output", f"{tmp_path}/out"]
    assert main(["analyse", *words, "--method", "ETKF()", "--mask", *mode]) == 0
    if not mode:
        with netCDF4.Dataset(tmp_path / "out" / "m2.nc") as file:
            file.set_auto_maskandscale(False)
            assert (file["t"][:, :3] == land).all()


# --- units and places --------------------------------------------------------------------------------------


def table(path, value, error, value_units, error_units):
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("obs", 1)
        file.createVariable("variable", str, ("obs",))[0] = "t"
        columns = {"value": (value, value_units), "error": (error, error_units), "time": (0, "hours since 2024-01-01")}
        for name, (number, units) in {**columns, "lat": (47.3, "degrees_north"), "lon": (14.2, "degrees_east")}.items():
            file.createVariable(name, "f8", ("obs",))[:] = number
            if units:
                file[name].units = units


def test_observations_in_other_units_are_those_in_the_same(tmp_path, caplog):
    for k in range(1, 5):
        write(tmp_path / f"m{k}.nc", values(k), units="K")
    (tmp_path / "obs.csv").write_text(PLAIN)
    same = analysed(tmp_path).ensemble
    table(tmp_path / "c.nc", 283 - 273.15, 0.5, "degC", "degC")
    np.testing.assert_allclose(analysed(tmp_path, table="c.nc").ensemble, same, rtol=1e-12)
    table(tmp_path / "f.nc", (283 - 273.15) * 1.8 + 32, 0.9, "degF", "degF")
    result = analysed(tmp_path, table="f.nc")
    np.testing.assert_allclose(result.ensemble, same, rtol=1e-12)
    assert result.info["table"].extra["units"].tolist() == ["K"]
    (tmp_path / "u.csv").write_text(HEAD.strip() + ",units\nt,9.85,0.5,2024-01-01,47.3,14.2,degC\n")
    np.testing.assert_allclose(analysed(tmp_path, table="u.csv").ensemble, same, rtol=1e-12)
    assert not caplog.records
    for units, sentence in (("degC2", "those of a variance"), ("m", "cannot be converted"), ("bananas", "no unit of")):
        table(tmp_path / "v.nc", 9.85, 0.25, "degC", units)
        with pytest.raises(ValueError, match=rf"v.nc: observations of 't': .*{sentence}"):
            analysed(tmp_path, table="v.nc")


def test_numbers_that_stand_for_nothing_in_text_are_named_and_a_check_rejects_them(tmp_path, caplog):
    for k in range(1, 5):
        write(tmp_path / f"m{k}.nc", values(k))
    coded = "".join(f"t,{code},0.5,2024-01-01,50,20\n" for code in (-999, -9999.0, -999, 9.85))
    (tmp_path / "obs.csv").write_text(PLAIN + coded)
    analysed(tmp_path)
    assert "4 of 5 observations of 't' are farther" in caplog.text
    assert "together: 1 of them -9999, 2 of them -999, which often says that nothing was measured" in caplog.text
    (tmp_path / "obs.csv").write_text(PLAIN)
    plain = analysed(tmp_path).ensemble
    (tmp_path / "obs.csv").write_text(PLAIN + coded)
    checked = analysed(tmp_path, checks=(GrossCheck(10.0),))
    np.testing.assert_array_equal(checked.ensemble, plain)


def test_values_that_look_like_other_units_are_reported(tmp_path, capsys, caplog):
    for k in range(1, 5):
        write(tmp_path / f"m{k}.nc", values(k))
    (tmp_path / "obs.csv").write_text(f"{PLAIN}t,9.85,0.5,2024-01-01,50,20\n")
    words = ["--prior", f"{tmp_path}/m*.nc", "--observations", f"{tmp_path}/obs.csv", "--output", f"{tmp_path}/out"]
    assert main(["analyse", *words, "--method", "ETKF()", "--dry-run"]) == 0
    sentence = "1 of 2 observations of 't' are farther from the forecast than 10 standard deviations"
    assert sentence in capsys.readouterr().out
    analysed(tmp_path)
    assert sentence in caplog.text


def test_a_grid_in_radians(tmp_path):
    (tmp_path / "obs.csv").write_text(PLAIN)
    for k in range(1, 5):
        write(tmp_path / f"m{k}.nc", values(k))
        write(tmp_path / f"r{k}.nc", values(k), places=(np.deg2rad(LAT), np.deg2rad(LON)), of=("radian", "rad"))
    same = analysed(tmp_path).ensemble
    np.testing.assert_allclose(analysed(tmp_path, prior="r*.nc").ensemble, same, rtol=1e-9)


def curvilinear(path, field, names, dims, attribute):
    lat, lon = np.meshgrid(LAT, LON, indexing="ij")
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("Time", 1), ("y", 21), ("x", 31)):
            file.createDimension(name, size)
        for name, grid in zip(names, (lat, lon), strict=True):
            file.createVariable(name, "f8", dims)[:] = grid
        file.createVariable("t", "f8", ("Time", "y", "x"))[:] = field
        if attribute:
            file["t"].coordinates = attribute


@pytest.mark.parametrize(
    ("names", "dims", "attribute", "coordinates"),
    [
        (("XLAT", "XLONG"), ("Time", "y", "x"), "XLONG XLAT", {}),
        (("nav_lat", "nav_lon"), ("y", "x"), "", {}),
        (("gphit", "glamt"), ("Time", "y", "x"), "", {"lat": "gphit", "lon": "glamt"}),
    ],
)
def test_coordinates_of_models(tmp_path, names, dims, attribute, coordinates):
    (tmp_path / "obs.csv").write_text(PLAIN)
    for k in range(1, 5):
        write(tmp_path / f"m{k}.nc", values(k))
        curvilinear(tmp_path / f"c{k}.nc", values(k), names, dims, attribute)
    same = analysed(tmp_path, method=ETKF()).ensemble
    result = analysed(tmp_path, prior="c*.nc", method=ETKF(), coordinates=coordinates, variables=("t",)).ensemble
    np.testing.assert_allclose(result, same, rtol=1e-4)


def test_what_jedi_leaves_out_is_missing(tmp_path):
    missing = np.float32(-3.3687953e38)
    columns = {"MetaData/latitude": ("f4", [42, 43, 44]), "MetaData/longitude": ("f4", [4, 5, 6]),
               "ObsValue/t": ("f4", [281, missing, 281]), "ObsError/t": ("f4", [0.5, 0.5, 0.5]),
               "PreQC/t": ("i4", [0, 0, -2147483643]), "MetaData/dateTime": ("i8", [0, 0, 0])}  # fmt: skip
    with netCDF4.Dataset(tmp_path / "f.nc", "w") as file:
        file.createDimension("Location", 3)
        for name, (kind, column) in columns.items():
            file.createVariable(name, kind, ("Location",))[:] = column
        file["MetaData/dateTime"].units = "seconds since 2024-01-01T00:00:00Z"
    observed = read_ioda(tmp_path / "f.nc")
    assert observed.used.tolist() == [True, False, False] and np.isnan(observed.value[1])
