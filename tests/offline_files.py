"""Files of a forecast ensemble for the tests of the offline analysis: what a model might restart from."""

from __future__ import annotations

import netCDF4
import numpy as np
import xarray as xr

MEMBERS = 4
LAT, LON, LEVEL = np.arange(40.0, 52.0), np.arange(0.0, 10.0), np.array([1000.0, 850.0])
ROWS = (
    "t,281.5,1.0,2024-01-31T03:00,47.3,4.2,850",
    "q,0.008,0.001,2024-01-31T03:00,43.3,8.2,",
    "t,279,1.0,2024-01-31T03:00,41,1,1000",
)
HEAD = "variable,value,error,time,lat,lon,z"


def fields(rng):
    """Temperature on levels, humidity, sea surface temperature beside land, and what no filter touches."""
    warm = rng.normal()
    sst = np.where(LON < 3, np.nan, 285 + rng.normal(size=(len(LAT), len(LON))))
    return {
        "t": 280 + warm + rng.normal(size=(1, len(LEVEL), len(LAT), len(LON))),
        "q": np.exp(-5 + 0.5 * warm + 0.3 * rng.normal(size=(len(LAT), len(LON)))),
        "sst": sst,
    }


def define(file, members=None):
    """Dimensions and variables of a file that a model might restart from: packed, chunked, with groups."""
    file.title, file.history = "a model", "made"
    sizes = {"time": None, "level": len(LEVEL), "lat": len(LAT), "lon": len(LON), "n": 3}
    for name, size in (sizes if members is None else {**sizes, "realization": members}).items():
        file.createDimension(name, size)
    for name, values, units in (("lat", LAT, "degrees_north"), ("lon", LON, "degrees_east"), ("level", LEVEL, "hPa")):
        file.createVariable(name, "f8", (name,))[:] = values
        file[name].units = units
    file.createVariable("time", "f8", ("time",))[:] = [3.0]
    file["time"].units = "hours since 2024-01-31"
    ahead = () if members is None else ("realization",)
    chunks = () if members is None else (1,)
    t = file.createVariable("t", "i2", ("time", *ahead, "level", "lat", "lon"), zlib=True, shuffle=True, complevel=4,
                            chunksizes=(1, *chunks, 1, 5, 5), fill_value=-32767)  # fmt: skip
    t.scale_factor, t.add_offset, t.units = 0.01, 280.0, "K"
    file.createVariable("q", "f4", (*ahead, "lat", "lon")).units = "1"
    file.createVariable("sst", "f4", ("lat", *ahead, "lon"), fill_value=-1e30).units = "K"
    file.createVariable("orography", "f4", ("lat", "lon"))[:] = np.arange(120.0).reshape(12, 10)
    file.createVariable("step", "i4", ("n",))[:] = np.arange(3)
    file.createVariable("name", str, ("n",))[:] = np.array(["a", "bb", "ccc"], dtype=object)
    file.createGroup("model").createDimension("k", 2)
    file["model"].createVariable("k", "i8", ("k",))[:] = [4, 5]


def write(folder, seed=1):
    """A file per member, ``forecast_1.nc`` to ``forecast_6.nc``."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for member in range(1, MEMBERS + 1):
        with netCDF4.Dataset(folder / f"forecast_{member}.nc", "w") as file:
            define(file)
            for name, values in fields(rng).items():
                file[name][:] = np.ma.masked_invalid(values)
    (folder / "obs.csv").write_text("\n".join([HEAD, *ROWS]) + "\n")
    return folder


def write_one(folder, seed=1):
    """The same in one file."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    with netCDF4.Dataset(folder / "forecast.nc", "w") as file:
        define(file, MEMBERS)
        for member in range(MEMBERS):
            given = {name: np.ma.masked_invalid(values) for name, values in fields(rng).items()}
            file["t"][:, member], file["q"][member], file["sst"][:, member] = given["t"], given["q"], given["sst"]
    (folder / "obs.csv").write_text("\n".join([HEAD, *ROWS]) + "\n")
    return folder


def load(folder, pattern="forecast_*.nc", names=("t", "q", "sst")):
    datasets = [xr.load_dataset(path, decode_times=False)[list(names)] for path in sorted(folder.glob(pattern))]
    return xr.concat(datasets, "realization")


def command(folder, *more, output="out"):
    method = "RTPS(LETKF(Localization(Sphere(), 300.0)), 0.3)"
    words = ["analyse", "--prior", f"{folder}/forecast_*.nc", "--observations", f"{folder}/obs.csv"]
    return [*words, "--method", method, "--mask", "--output", str(folder / output), *more]


# --- what can go wrong: changes of a valid input ------------------------------------------------------------


def member(folder, number=3):
    return folder / f"forecast_{number}.nc"


def edit(path, change):
    with netCDF4.Dataset(path, "r+") as file:
        file.set_auto_maskandscale(False)
        change(file)


def put(name, value, place=0, number=3):
    def change(file):
        values = file[name][...]
        values.reshape(-1)[place] = value
        file[name][...] = values

    return lambda folder: edit(member(folder, number), change)


def rebuild(folder, drop=(), sizes=None, number=3):
    """The file of a member again, without some variables or with other sizes."""
    path, sizes = member(folder, number), sizes or {}
    with netCDF4.Dataset(path) as old, netCDF4.Dataset(folder / "new.nc", "w") as new:
        for name, dim in old.dimensions.items():
            new.createDimension(name, sizes.get(name, len(dim)))
        for name, variable in old.variables.items():
            if name in drop or variable.dtype is str:
                continue
            fill = getattr(variable, "_FillValue", None)
            made = new.createVariable(name, variable.dtype, variable.dimensions, fill_value=fill)
            made.setncatts({key: value for key, value in variable.__dict__.items() if key != "_FillValue"})
            made[...] = variable[tuple(slice(len(new.dimensions[dim])) for dim in variable.dimensions)]
    (folder / "new.nc").replace(path)


def truncate(folder, part=0.5, number=3):
    content = member(folder, number).read_bytes()
    member(folder, number).write_bytes(content[: int(part * len(content))])


def rows(*lines):
    return lambda folder: (folder / "obs.csv").write_text("\n".join([HEAD, *lines]) + "\n")


def with_row(line):
    return rows(*ROWS, line)


def remove(name):
    return lambda folder: (folder / name).unlink()


def contents(folder):
    """Every file and folder, hidden ones too."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
