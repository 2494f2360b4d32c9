"""Checks of quality against cases with known answers; every rejected row keeps its first reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensf.tables import ObservationTable
from ensf.tables.flags import DUPLICATE, GROSS, MERGED, MISSING, OUTSIDE, THINNED, WINDOW
from ensf.tables.quality.boxes import Boxes
from ensf.tables.quality.checks import Duplicates, GrossCheck, SuperObservations, Thinning, TimeWindow

NOON = np.datetime64("2024-01-01T12:00", "us")


def table(position, **columns):
    position = np.asarray(position, float)
    size = len(position)
    return ObservationTable(
        **({"variable": "t", "value": np.arange(size), "error": 1.0, "time": NOON, "position": position} | columns)
    )


def globe(size, seed=0):
    rng = np.random.default_rng(seed)
    latitude = np.rad2deg(np.arcsin(rng.uniform(-1, 1, size)))
    position = np.stack([latitude, rng.uniform(-180, 180, size)], axis=1)
    return table(position, value=rng.standard_normal(size), error=rng.uniform(0.5, 2, size))


def distance(first, second):
    """Great-circle distance in km."""
    a, b = np.deg2rad(first), np.deg2rad(second)
    inner = np.sin(a[..., 0]) * np.sin(b[..., 0])
    inner += np.cos(a[..., 0]) * np.cos(b[..., 0]) * np.cos(a[..., 1] - b[..., 1])
    return 6371.0 * np.arccos(np.clip(inner, -1, 1))


# --- one by one ------------------------------------------------------------------------------------------


def test_the_end_of_the_window_is_the_next_ones():
    time = NOON + np.array([-3601, -3600, 0, 3600, 3601]).astype("timedelta64[s]")
    checked = TimeWindow("2024-01-01T11:00", "2024-01-01T13:00").flag(table(np.zeros((5, 2)), time=time))
    assert checked.codes.tolist() == [WINDOW, 0, 0, WINDOW, WINDOW]
    assert checked.reason[0] == "outside the time window"
    with pytest.raises(ValueError, match="is empty: give start before end"):
        TimeWindow("2024-01-02", "2024-01-01")


def test_the_gross_check_counts_total_standard_deviations():
    columns = {"prior_mean": np.zeros(4), "prior_spread": np.array([3.0, 3.0, 0.0, np.nan])}
    value, error = np.array([14.9, -15.1, 4.1, 99.0]), np.array([4.0, 4.0, 1.0, 1.0])
    checked = GrossCheck(3.0).flag(table(np.zeros((4, 2)), value=value, error=error, extra=columns))
    assert checked.codes.tolist() == [0, GROSS, GROSS, 0]
    with pytest.raises(ValueError, match="no column 'prior_mean': compare"):
        GrossCheck().flag(table(np.zeros((1, 2))))
    with pytest.raises(ValueError, match="gross_limit 0"):
        GrossCheck(0)


def test_of_duplicates_the_best_stays():
    position = [[10, 350], [10, -10], [10, 350], [10, 350], [10, 350], [10, 351]]
    variable = ["t", "t", "t", "u", "t", "t"]
    time = NOON + np.array([0, 0, 0, 0, 1, 0]).astype("timedelta64[s]")
    error = np.array([2.0, 1.0, 1.0, 3.0, 3.0, 3.0])
    checked = Duplicates().flag(table(position, variable=variable, time=time, error=error))
    assert checked.codes.tolist() == [DUPLICATE, 0, DUPLICATE, 0, 0, 0]
    assert Duplicates().flag(checked).codes.tolist() == checked.codes.tolist()
    levels = table(np.zeros((3, 2)), z=[1.0, np.nan, np.nan])
    assert Duplicates().flag(levels).codes.tolist() == [0, 0, DUPLICATE]


def test_rejected_rows_stand_for_nobody():
    rows = table(np.zeros((3, 2)), qc=[9, 0, 0], value=[1.0, np.nan, 3.0])
    for check in (Duplicates(), Thinning(Boxes(100.0)), SuperObservations(Boxes(100.0))):
        assert check.flag(rows).codes.tolist() == [9, MISSING, 0]


def test_tables_without_rows_pass():
    nothing = table(np.zeros((0, 2)))
    for check in (Duplicates(), Thinning(Boxes(1.0)), SuperObservations(Boxes(1.0)), TimeWindow("2024", "2025")):
        assert len(check.flag(nothing)) == 0


# --- boxes -----------------------------------------------------------------------------------------------


def test_boxes_on_the_sphere_are_of_about_equal_size():
    rows = globe(200_000)
    side = 1000.0
    box = Boxes(side).number(rows)
    assert np.array_equal(np.unique(box), np.arange(box.max() + 1))
    expected = 4 * np.pi * 6371.0**2 / side**2
    assert 0.75 < (box.max() + 1) / expected < 1.05
    count = np.bincount(box)
    assert np.median(count) / 2 < np.percentile(count, 2) and np.percentile(count, 98) < 2 * np.median(count)
    first = np.unique(box, return_index=True)[1]
    assert distance(rows.position, rows.position[first][box]).max() < 2.5 * side


def test_the_pole_is_in_the_last_band():
    boxes = Boxes(np.deg2rad(45.0), radius=1.0)
    box = boxes.number(table([[90.0, 10.0], [89.0, 10.0], [46.0, 10.0], [44.0, 10.0], [-90.0, 10.0], [-46.0, 10.0]]))
    assert box[0] == box[1] == box[2] != box[3] and box[4] == box[5]


def test_boxes_separate_variables_heights_times_and_meet_at_the_date_line():
    position = [[0.5, 179.9], [0.5, -180.0], [0.5, 180.0], [0.5, 180.0], [0.5, 180.0]]
    rows = table(position, variable=["t", "t", "t", "u", "t"], z=[1.0, 1.0, 1.0, 1.0, 2.0])
    box = Boxes(100.0).number(rows)
    assert box[1] == box[2] != box[3] and box[4] not in box[:4]
    assert Boxes(100.0, height=5.0).number(rows)[4] == Boxes(100.0, height=5.0).number(rows)[2]
    later = table(position, time=NOON + np.arange(5).astype("timedelta64[h]"))
    assert len(set(Boxes(100.0, duration=7200.0).number(later)[1:])) == 3
    assert len(set(Boxes(100.0).number(later)[1:])) == 1


def test_only_the_first_vertical_column_has_the_height_of_boxes():
    """A sonde with z in m and pressure in Pa: 1000 m are one box, whatever the pressure."""
    height = np.arange(0.0, 10_000.0, 100.0)
    pressure = 1e5 * np.exp(-height / 8000.0)
    rows = table(np.zeros((100, 2)), z=height, vertical={"pressure": pressure})
    assert Boxes(100.0, height=1000.0).number(rows).tolist() == np.repeat(np.arange(10), 10).tolist()
    rows = table(np.zeros((100, 2)), vertical={"pressure": pressure})
    assert len(set(Boxes(100.0, height=1e4).number(rows))) == len(set(pressure // 1e4))


def test_boxes_on_a_plane():
    rows = table([[0.5, 0.5], [0.9, 0.1], [1.1, 0.1], [-0.1, 0.1]], axes=("x", "y"))
    assert len(set(Boxes(1.0).number(rows).tolist())) == 3
    assert Boxes(1.0).number(rows)[0] == Boxes(1.0).number(rows)[1]


@pytest.mark.parametrize("name", ["side", "height", "duration", "radius"])
def test_boxes_have_a_size(name):
    with pytest.raises(ValueError, match=f"boxes have {name} -1.0: give a positive number"):
        Boxes(**({"side": 1.0} | {name: -1.0}))


# --- thinning and super-observations ---------------------------------------------------------------------


def test_thinning_keeps_the_best_of_each_box():
    rows = globe(3000)
    box = Boxes(2000.0).number(rows)
    thinned = Thinning(Boxes(2000.0)).flag(rows)
    assert set(thinned.codes.tolist()) == {0, THINNED}
    assert sorted(box[thinned.used].tolist()) == list(range(box.max() + 1))
    best = np.full(box.max() + 1, np.inf)
    np.minimum.at(best, box, rows.error)
    assert (rows.error[thinned.used] == best[box[thinned.used]]).all()


def test_a_super_observation_is_the_weighted_mean():
    rows = table([[0.1, 0.1], [0.2, 0.1], [80.0, 0.0]], value=[1.0, 5.0, 9.0], error=[1.0, 0.5, 1.0], z=[3.0, 3.0, 3.0])
    rows = rows.reject(np.zeros(3, bool), OUTSIDE)
    merged = SuperObservations(Boxes(100.0)).flag(rows)
    assert merged.codes.tolist() == [MERGED, MERGED, 0, 0]
    np.testing.assert_allclose(merged.value[3], (1 + 4 * 5) / 5)
    np.testing.assert_allclose(merged.error[3], 1 / np.sqrt(5))
    np.testing.assert_allclose(merged.position[3], [0.18, 0.1], rtol=1e-6)
    assert merged.z[3] == pytest.approx(3) and merged.time[3] == NOON
    assert np.array_equal(merged.extra["merged"], [np.nan, np.nan, np.nan, 2], equal_nan=True)
    assert rows.used.all()


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_errors_of_super_observations_are_those_of_the_mean(correlation):
    error = np.array([1.0, 0.5, 2.0])
    rows = table(np.full((3, 2), 0.1), error=error)
    merged = SuperObservations(Boxes(100.0), correlation).flag(rows)
    weight = error**-2 / (error**-2).sum()
    covariance = np.outer(error, error) * (correlation + (1 - correlation) * np.eye(3))
    np.testing.assert_allclose(merged.error[3], np.sqrt(weight @ covariance @ weight))
    with pytest.raises(ValueError, match="from 0 to 1"):
        SuperObservations(Boxes(100.0), 1.1)


def test_super_observations_across_the_date_line_and_in_time():
    rows = table([[0.5, 179.9], [0.5, -179.9]], time=[NOON, NOON + np.timedelta64(10, "s")])
    merged = SuperObservations(Boxes(50_000.0)).flag(rows)
    assert abs(merged.position[2, 1]) == pytest.approx(180)
    assert merged.time[2] == NOON + np.timedelta64(5, "s")
    flat = SuperObservations(Boxes(10.0)).flag(table([[1.0, 2.0], [3.0, 5.0]], axes=("x", "y")))
    np.testing.assert_allclose(flat.position[2], [2.0, 3.5])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60), st.floats(10, 30_000))
def test_super_observations_conserve_information_and_every_row_has_one_fate(seed, size, side):
    rows = globe(size, seed)
    merged = SuperObservations(Boxes(side)).flag(rows)
    used = merged.used
    np.testing.assert_allclose((merged.error[used] ** -2.0).sum(), (rows.error**-2.0).sum())
    total = (merged.value[used] * merged.error[used] ** -2.0).sum()
    np.testing.assert_allclose(total, (rows.value * rows.error**-2.0).sum(), atol=1e-9)
    assert set(merged.codes[:size].tolist()) <= {0, MERGED} and used[size:].all()
    again = Thinning(Boxes(side)).flag(rows)
    assert again.used.sum() == used.sum()
