"""Valid input changed at random: a sentence, or a whole result; no traceback, nothing half done."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offline_files import MEMBERS, command, contents, edit, member, rebuild, truncate, write

from ensf.cli import main
from ensf.tables import read


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write(tmp_path_factory.mktemp("offline") / "files")


number = st.integers(1, MEMBERS)
text = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "nan", "inf", "-1", "0", "1e400", "t", "q", "2024-01-31", "1e-320"])
)
MUTATIONS = {
    "truncate": st.tuples(st.floats(0, 0.999), number),
    "bytes": st.tuples(number, st.floats(0, 0.999), st.binary(min_size=1, max_size=30)),
    "value": st.tuples(
        number, st.sampled_from(["q", "sst", "lat", "lon", "level", "time"]), st.floats(width=32), st.integers(0, 200)
    ),
    "drop": st.tuples(number, st.sampled_from(["t", "q", "sst", "lat", "lon", "level", "time", "orography"])),
    "size": st.tuples(number, st.sampled_from(["lat", "lon", "level", "n"]), st.integers(1, 30)),
    "copy": st.tuples(number, number),
    "delete": st.tuples(number),
    "cell": st.tuples(st.integers(0, 3), st.integers(0, 6), text),
    "line": st.tuples(text),
    "attribute": st.tuples(
        number,
        st.sampled_from(["t", "q", "sst", "lat"]),
        st.sampled_from(
            ["units", "scale_factor", "add_offset", "missing_value", "coordinates", "bounds", "standard_name"]
        ),
        st.one_of(st.text(max_size=6), st.floats(width=32), st.integers(-5, 5)),
    ),
}


@st.composite
def mutations(draw):
    kind = draw(st.sampled_from(sorted(MUTATIONS)))
    return kind, draw(MUTATIONS[kind])


def mutate(folder, kind, given):
    """Change an input; mutations that NetCDF itself refuses change nothing."""
    if kind == "truncate":
        truncate(folder, *given)
    if kind == "bytes":
        content = bytearray(member(folder, given[0]).read_bytes())
        start = int(given[1] * len(content))
        content[start : start + len(given[2])] = given[2]
        member(folder, given[0]).write_bytes(content)
    if kind == "copy":
        shutil.copy(member(folder, given[0]), folder / "copy")
        (folder / "copy").replace(member(folder, given[1]))
    if kind == "delete":
        member(folder, given[0]).unlink()
    if kind == "cell":
        table = [line.split(",") for line in (folder / "obs.csv").read_text().splitlines()]
        table[given[0]][given[1]] = given[2]
        (folder / "obs.csv").write_text("\n".join(map(",".join, table)) + "\n")
    if kind == "line":
        (folder / "obs.csv").write_text((folder / "obs.csv").read_text() + given[0] + "\n")
    try:
        if kind == "value":
            edit(member(folder, given[0]), lambda file: _set(file[given[1]], given[3], given[2]))
        if kind == "drop":
            rebuild(folder, [given[1]], number=given[0])
        if kind == "size":
            rebuild(folder, sizes={given[1]: given[2]}, number=given[0])
        if kind == "attribute":
            edit(member(folder, given[0]), lambda file: file[given[1]].setncattr(given[2], given[3]))
    except (RuntimeError, AttributeError, OSError, IndexError, ValueError, KeyError, TypeError):
        return


def _set(variable, place, value):
    values = variable[...]
    values.reshape(-1)[place % values.size] = value
    variable[...] = values


def accepted(folder):
    """What a result must be: every member, finite where the forecast is, and every row accounted for."""
    members = sorted(folder.glob("forecast_*.nc"))
    assert sorted(path.name for path in (folder / "out").glob("forecast_*.nc")) == [path.name for path in members]
    lines = [line for line in (folder / "obs.csv").read_text().splitlines()[1:] if line.strip()]
    table = read(folder / "out" / "observations.nc")
    assert len(table) <= len(lines) and all(reason for reason in table.reason)
    for path in members:
        with netCDF4.Dataset(folder / "out" / path.name) as file:
            assert np.isfinite(
                file["q"][...].compressed() if np.ma.isMaskedArray(file["q"][...]) else file["q"][...]
            ).all()


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(changes=st.lists(mutations(), min_size=1, max_size=2))
def test_anything_gives_a_sentence_or_a_whole_result(original, changes):
    _check_changes(original, changes)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(changes=st.lists(mutations(), min_size=1, max_size=3))
def test_anything_gives_a_sentence_or_a_whole_result_often(original, changes):
    _check_changes(original, changes)


def _check_changes(original, changes):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(original, Path(place) / "files"))
        for kind, given in changes:
            if all(member(folder, k).exists() for k in range(1, MEMBERS + 1)):
                mutate(folder, kind, given)
        before = contents(folder)
        status = main(command(folder))
        if status == 0:
            accepted(folder)
        else:
            assert status == 2 and contents(folder) == before
