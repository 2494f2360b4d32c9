"""Damaged and changed inputs of every kind: one sentence, or what an undamaged file of the same content gives.

Each try copies a folder, changes one file of it at random, and runs a command in a child with limits of time and
memory. Whatever happens: no traceback, no crash, no hang, no input touched, nothing half written. A file with a
checksum of ours is refused, or what comes out is what the unchanged file gives. Any other file that is accepted is read
by other means than ours, `plain`, and written anew: the analysis of that must be the same, bit for bit.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from commands import content, cycle, for_cycles, run, values
from kills import Server, copied

from ensf.tables import read

SECONDS = 10
HEAD = "variable,value,error,time,y,x"
OBSERVED = [f"q,{0.3 * k - 0.5:.2f},0.5,2020-01-01T0{k}:00,{k % 3},{k % 4}" for k in range(6)]


# --- kinds of input --------------------------------------------------------------------------------------


Y, X = np.arange(3.0), np.arange(4.0)


def write_member(path, q, form="NETCDF4", units="K", y=Y, x=X):
    with netCDF4.Dataset(path, "w", format=form) as file:
        for name, axis in (("y", y), ("x", x)):
            file.createDimension(name, len(axis))
            file.createVariable(name, "f8", (name,))[:] = axis
            file[name].axis = name.upper()
        file.createVariable("q", "f8", ("y", "x"))[:] = q
        if units is not None:
            file["q"].units = units


def for_analysis(form="NETCDF4", table=".csv"):
    def make(folder):
        rng = np.random.default_rng(5)
        for member in range(1, 5):
            write_member(folder / f"forecast_{member}.nc", rng.standard_normal((3, 4)), form)
        path = folder / "obs.csv"
        path.write_text("\n".join([HEAD, *OBSERVED]) + "\n")
        if table == ".nc":
            read(path).write(folder / "obs.nc")
            path.unlink()

    return make


def for_ioda(folder):
    rng = np.random.default_rng(6)
    for member in range(1, 5):
        path = folder / f"forecast_{member}.nc"
        write_member(path, rng.standard_normal((3, 4)), y=np.arange(10.0, 40.0, 10), x=np.arange(0.0, 40.0, 10))
        with netCDF4.Dataset(path, "r+") as file:
            for name, units in (("y", "degrees_north"), ("x", "degrees_east")):
                file[name].delncattr("axis")
                file[name].units = units
    columns = {
        "MetaData/latitude": np.array([10.0, 20.0, 30.0], dtype="f4"),
        "MetaData/longitude": np.array([0.0, 15.0, 30.0], dtype="f4"),
        "MetaData/dateTime": np.array([0, 3600, 7200], dtype="i8"),
        "ObsValue/q": np.array([0.2, -0.5, 1.0]),
        "ObsError/q": np.array([0.5, 0.5, 0.4]),
        "PreQC/q": np.array([0, 0, 0], dtype="i4"),
    }
    with netCDF4.Dataset(folder / "obs.nc", "w") as file:
        file.createDimension("Location", 3)
        for name, column in columns.items():
            file.createVariable(f"/{name}", column.dtype, ("Location",))[:] = column
        file["MetaData/dateTime"].units = "seconds since 2024-01-01T00:00:00Z"


def analyse(folder):
    table = next(folder.glob("obs*"))
    words = ["--observations", str(table), "--output", str(folder / "out"), "--method", "ETKF()", "--window", "all"]
    return ["analyse", "--prior", f"{folder}/forecast_*.nc", "--variables", "q", *words]


def remembering(folder, *more):
    words = analyse(folder)
    words[words.index("ETKF()")] = "AdaptiveInflation(LETKF(Localization(Euclidean(), 2.0)), 2.0)"
    return [*words, *more]


@dataclass(frozen=True)
class Kind:
    """A kind of input: who makes it, the file that is changed, the command that reads it, and what came before it."""

    make: Callable[[Path], object]
    target: str
    words: Callable[..., list[str]]
    before: Callable[[Path, Server], None] = lambda folder, server: None
    guarded: bool = False  # by a checksum of ours
    replaces: bool = False  # the command goes on in the folder of what is changed
    plain: Callable[[Path], bool] | None = None


def finished(words):
    def before(folder, server):
        ended = server.run(words(folder))
        assert ended.code == 0, ended.shown

    return before


def cut_short(words, target):
    """Killed on its way, where what it goes on from is there."""

    def before(folder, server):
        calls = server.run(words(folder)).calls
        for kill in np.linspace(0.4, 0.9, 11) * calls:
            shutil.rmtree(folder / "out")
            assert server.run(words(folder), kill=int(kill)).code == -9
            if [*folder.glob(target)]:
                return
        raise AssertionError(f"{target} is never there")

    return before


def report(folder):
    return ["report", str(folder / "out")]


def resumed(words):
    return lambda folder: words(folder, "--resume")


def dry(folder):
    return cycle(folder, "--dry-run")


def plain_member(path):
    """Write a member anew, from what another reader finds in it; False if that is no such member."""
    with netCDF4.Dataset(path) as file:
        q, axes = file["q"], {name: np.ma.filled(file[name][:].astype(float), np.nan) for name in ("y", "x")}
        units = getattr(q, "units", None)
        field = np.ma.filled(q[:].astype(float), np.nan)
    if field.shape != (3, 4) or not np.isfinite(field).all():
        return False
    path.unlink()
    write_member(path, field, units=units, **axes)
    return True


def plain_csv(path):
    """Write the rows that Python can read, and no others."""
    text = path.read_bytes().decode("utf-8-sig")
    first, *rows = [row for row in csv.reader(text.splitlines()) if row]
    names = [name.strip() for name in first]
    wanted = HEAD.split(",")
    whole = []
    for row in rows:
        entries = dict(zip(names, (entry.strip() for entry in row), strict=False))
        try:
            numbers = {name: float(entries[name].replace("_", "x")) for name in ("value", "error", "y", "x")}
            datetime.fromisoformat(entries["time"])
        except (ValueError, KeyError):
            continue
        if len(row) != len(names) or not np.isfinite([*numbers.values()]).all() or numbers["error"] <= 0:
            continue
        whole.append(",".join([entries["variable"], *(repr(numbers[name]) for name in ("value", "error")),
                               entries["time"], *(repr(numbers[name]) for name in ("y", "x"))]))  # fmt: skip
    path.write_text("\n".join([",".join(wanted), *whole]) + "\n")
    return bool(whole)


def guarded(make, target, words):
    return Kind(make, target, resumed(words), cut_short(words, target), guarded=True, replaces=True)


KINDS = {
    "netcdf3": Kind(for_analysis("NETCDF3_CLASSIC"), "forecast_2.nc", analyse, plain=plain_member),
    "netcdf4": Kind(for_analysis(), "forecast_3.nc", analyse, plain=plain_member),
    "csv": Kind(for_analysis(), "obs.csv", analyse, plain=plain_csv),
    "points": Kind(for_analysis(table=".nc"), "obs.nc", analyse),
    "ioda": Kind(for_ioda, "obs.nc", analyse),
    "toml": Kind(for_cycles, "c.toml", dry),
    "restart": guarded(lambda folder: None, "out/*.restart.npz", run),
    "journal": guarded(lambda folder: None, "out/*.journal", run),
    "restart of cycle": guarded(for_cycles, "out/restart.npz", cycle),
    "summary": Kind(lambda folder: None, "out/summary.json", resumed(run), finished(run), replaces=True),
    "finished run": Kind(lambda folder: None, "out/e*_seed1.nc", resumed(run), finished(run), replaces=True),
    "report of run": Kind(lambda folder: None, "out/[es]*", report, finished(run)),
    "report of analysis": Kind(for_analysis(), "out/[aos]*", report, finished(analyse)),
    "report of cycle": Kind(for_cycles, "out/statistics.nc", report, finished(cycle)),
}


# --- changes ---------------------------------------------------------------------------------------------

NUMBERS = ("nan", "inf", "-1", "0", "1e300", "1e-300", "9" * 25, "", "x", "-999", "0x10", "1_0", "1,5")
WORDS = ("", "q", "é", "\x00", "../..", "{member.x}", "%s", "None", "time", "[", '"', "-", "a" * 300)


def changed(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Bytes with a random change, and what it is."""
    size = len(data)
    how = rng.choice(["flip", "truncate", "duplicate", "drop", "number", "word", "noise"])
    start = int(rng.integers(size))
    stop = min(size, start + int(rng.integers(1, max(2, size // 8))))
    if how == "flip":
        array = np.frombuffer(data, np.uint8).copy()
        array[rng.integers(size, size=rng.integers(1, 9))] ^= np.uint8(1 << rng.integers(8))
        return how, array.tobytes()
    if how == "truncate":
        return how, data[:start]
    if how == "duplicate":
        return how, data[:stop] + data[start:]
    if how == "drop":
        return how, data[:start] + data[stop:]
    if how == "noise":
        return how, data[:start] + rng.bytes(stop - start) + data[stop:]
    pattern = rb"-?\d+\.?\d*(?:e[+-]?\d+)?" if how == "number" else rb"[A-Za-z_]{2,}"
    places = list(re.finditer(pattern, data))
    if not places:
        return "truncate", data[:start]
    place = places[int(rng.integers(len(places)))]
    new = str(rng.choice(NUMBERS if how == "number" else WORDS)).encode()
    return how, data[: place.start()] + new + data[place.end() :]


def set_within(path: Path, rng: np.random.Generator) -> str:
    """A valid NetCDF file with another value, name or attribute."""
    with netCDF4.Dataset(path, "r+") as file:
        file.set_auto_maskandscale(False)
        groups = [file, *file.groups.values()]
        places = [variable for group in groups for variable in group.variables.values() if variable.dtype is not str]
        variable = places[int(rng.integers(len(places)))]
        how = str(rng.choice(["value", "attribute", "rename", "drop attribute"]))
        names = variable.ncattrs()
        if how == "value" and variable.dtype.kind in "fiu" and variable.size:
            numbers = variable[...]
            reals = [np.nan, np.inf, 1e30, 0, -1, 9.969209968386869e36, 1e300]
            choice = reals if variable.dtype.kind == "f" else [0, 7]
            with np.errstate(over="ignore"):
                np.atleast_1d(numbers).reshape(-1)[rng.integers(numbers.size)] = rng.choice(choice)
            variable[...] = numbers
        elif how == "attribute":
            name = str(rng.choice(["units", "scale_factor", "add_offset", "missing_value", "valid_range", "axis",
                                   "coordinates", "calendar", "positive", "standard_name"]))  # fmt: skip
            value = [2.0, 0.0, np.nan, "degC", "", "seconds since never", np.array([0.0, 1.0]), -999.0]
            variable.setncattr(name, value[int(rng.integers(len(value)))])
        elif how == "drop attribute" and names:
            variable.delncattr(names[int(rng.integers(len(names)))])
        else:
            variable.group().renameVariable(variable.name, "renamed")
        return how


def mutate(path: Path, rng: np.random.Generator) -> str:
    if path.suffix == ".nc" and rng.random() < 0.4:
        try:
            return set_within(path, rng)
        except RuntimeError:  # the library cannot
            pass
    how, data = changed(path.read_bytes(), rng)
    path.write_bytes(data)
    return how


# --- what must hold --------------------------------------------------------------------------------------


def tried(kind: Kind, source: Path, server: Server, rng: np.random.Generator) -> str:
    """What became of one try; AssertionError if it is not right."""
    place = copied(source, server)
    paths = sorted(place.glob(kind.target))
    path = paths[int(rng.integers(len(paths)))]
    former = path.read_bytes()
    how = mutate(path, rng)
    if path.read_bytes() == former:
        return "no change"
    before = {one: one.read_bytes() for one in place.rglob("*") if one.is_file()}
    ended = server.run(kind.words(place), processor=SECONDS)
    about = (how, path.name, ended.code, ended.shown[-1500:])
    assert ended.code in (0, 2), about
    assert "Traceback" not in ended.shown and "unforeseen" not in ended.shown, about
    mine = {one: data for one, data in before.items() if not kind.replaces or place / "out" not in one.parents}
    assert all(one.read_bytes() == data for one, data in mine.items()), about
    if ended.code == 2:
        assert ended.shown.strip().splitlines()[-1].startswith("ensf: "), about
        after = {one for one in place.rglob("*") if one.is_file() and one.suffix != ".png" and one.name[0] != "."}
        assert kind.replaces or after <= before.keys(), (about, after - before.keys())
        return "refused"
    if kind.guarded:
        continued = content(place / "out")
        place = copied(source, server)
        assert server.run(kind.words(place)).code == 0
        assert continued == content(place / "out"), about
        return "accepted: the same result"
    if kind.plain is None:
        return "accepted"
    analysis = members(place)
    place = copied(source, server)
    path = place / path.relative_to(place)
    path.write_bytes(before[path])
    if not kind.plain(path):
        assert path.suffix == ".csv" and analysis == members(place, ""), about
        return "accepted: no row is left, told so, and the analysis is the forecast"
    again = server.run(kind.words(place), processor=SECONDS)
    assert again.code == 0, (about, again.shown)
    assert members(place) == analysis, about
    return "accepted: as written anew"


def members(place, folder="out"):
    """The analysis, or the forecast, as numbers."""
    return {path.name: values(path)["q"] for path in sorted((place / folder).glob("forecast_*.nc"))}


QUICK = ("netcdf4", "csv", "journal")
SOURCES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name) for name in KINDS]


@pytest.fixture(scope="module", params=SOURCES)
def source(request, server, tmp_path_factory):
    """A kind and its folder, always made in the same place, which some outputs name."""
    kind = KINDS[request.param]
    place, kept = server.folder / "place", tmp_path_factory.mktemp("kept") / "folder"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    kind.make(place)
    kind.before(place, server)
    shutil.copytree(place, kept)
    server.warm(kind.words(place))
    return kind, kept


def many(source, server, seeds):
    kind, folder = source
    outcomes, wrong = Counter(), []
    for seed in seeds:
        try:
            outcomes[tried(kind, folder, server, np.random.default_rng(seed))] += 1
        except AssertionError as error:
            wrong.append((seed, str(error)))
    print(json.dumps(outcomes))
    assert not wrong, (len(wrong), wrong[:5])


def test_some_mutations(source, server):
    many(source, server, range(2))


@pytest.mark.slow
def test_more_mutations(source, server):
    many(source, server, range(100, 130))


@pytest.mark.full
def test_mutations(source, server):
    many(source, server, range(130, 315))
