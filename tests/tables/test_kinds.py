"""The column `kind` of a table: what adaptive filters learn apart, and what a localization by variable can name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from ensf import LETKF, AdaptiveSpread, ByVariable, Euclidean, Localization, Observation, Select, Sphere, variable_code
from ensf.dataset import Problem, analyse, pack
from ensf.tables import ObservationTable, read

LAT, LON = np.arange(0.0, 50.0, 10.0), np.arange(0.0, 60.0, 10.0)
KINDS = ["argo", "", "ship", "argo", "ship", "argo", ""]
NEAR = Localization(Sphere(), 2000.0)


@pytest.fixture
def forecast(rng):
    dims = ("realization", "lat", "lon")
    fields = {name: (dims, rng.standard_normal((12, LAT.size, LON.size))) for name in ("t", "s")}
    return xr.Dataset(fields, {"lat": LAT, "lon": LON})


@pytest.fixture
def table(rng):
    position = np.stack([rng.choice(LAT, 7), rng.choice(LON, 7)], axis=1)
    when = np.datetime64("2020-01-01T00:00")
    return ObservationTable("t", rng.standard_normal(7), 0.5, when, position, extra={"kind": np.array(KINDS)})


def without(table, rows=slice(None), **columns):
    """Some rows, with other columns or none."""
    return ObservationTable(
        table.variable[rows], table.value[rows], table.error[rows], table.time[rows], table.position[rows], **columns
    )


def test_rows_count_as_their_kind_or_else_their_variable(forecast, table):
    observation = table.observe(pack(forecast, "realization")[1]).observation
    assert observation.kind.tolist() == ["t_argo", "t", "t_ship", "t_argo", "t_ship", "t_argo", "t"]
    assert without(table).observe(pack(forecast, "realization")[1]).observation.kind.tolist() == ["t"] * 7


@pytest.mark.parametrize("empty", ["", "1"])
def test_numbers_of_kinds_have_one_name_in_every_file(tmp_path, empty):
    rows = "\n".join(f"t,1.0,0.5,2020-01-01,{10 * k},{10 * k},{kind}" for k, kind in enumerate(["12", empty, "345678"]))
    (tmp_path / "table.csv").write_text(f"variable,value,error,time,lat,lon,kind\n{rows}\n")
    assert read(tmp_path / "table.csv").kind.tolist() == ["12", empty or "t", "345678"]


def test_an_instrument_has_what_is_learnt_of_each_variable_it_sees():
    """An offset of its temperatures was taken off its salinities."""
    table = ObservationTable(["t", "s", "s"], [1.0] * 3, [1.0] * 3, [np.datetime64("2020-01-01")] * 3, np.zeros((3, 2)))
    table = replace(table, extra={"kind": np.array(["ctd", "ctd", ""])})
    assert table.kind.tolist() == ["ctd", "ctd", "s"]
    assert table.learnt_as.tolist() == ["t_ctd", "s_ctd", "s"]


def test_each_kind_has_an_error_factor_of_its_own(forecast, table):
    table = without(table, extra={"kind": np.array(["argo"] * 4 + ["ship"] * 3)})
    analysis = Problem.of(forecast, table, AdaptiveSpread(LETKF(NEAR), NEAR)).analyse(1)
    assert {"error_factor_t_argo", "error_factor_t_ship"} <= set(analysis.info)


def test_rules_name_kinds_and_those_of_variables_still_hold(forecast, table):
    def made(table, *rules):
        by = Localization(ByVariable(Sphere(), rules), 2000.0, ("latitude", "longitude", "variable"))
        return analyse(forecast, table, LETKF(by), 1)

    argo = np.flatnonzero(np.array(KINDS) == "argo")
    others = np.flatnonzero(np.array(KINDS) != "argo")
    deaf = made(table, ("s", "argo", 0.0))
    whole, without_argo = made(without(table)), made(without(table, others))
    np.testing.assert_array_equal(deaf.t, whole.t)
    np.testing.assert_allclose(deaf.s, without_argo.s, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(made(table, ("s", "t", 0.0)).s, forecast.s)
    only = made(table, ("s", "argo", 1.0), ("s", "t", 0.0), ("s", "ship", 0.0))
    np.testing.assert_allclose(only.s, made(without(table, argo)).s, rtol=0, atol=1e-12)
    place = table.observe(pack(forecast, "realization")[1]).locate(
        Localization(ByVariable(Sphere(), (("s", "ship", 2.0),)), 2000.0, ("latitude", "longitude", "variable"))
    )
    codes = [variable_code("t", "ship" if kind == "ship" else "") for kind in KINDS]
    np.testing.assert_array_equal(place.observation.position[:, 2], codes)


def test_a_rule_for_a_kind_leaves_that_for_its_variable(forecast, table):
    """Temperature does not touch salinity, whoever measured it."""
    rules = (("s", "t", 0.0), ("*", "argo", 0.5))
    near = Localization(ByVariable(Sphere(), rules), 2000.0, ("latitude", "longitude", "variable"))
    made = analyse(forecast, table, LETKF(near), 1)
    np.testing.assert_array_equal(made.s, forecast.s)
    assert (made.t != forecast.t).any()
    code = variable_code("t", "argo")
    assert [near.geometry.factor(variable_code(name), code) for name in ("s", "t")] == [0.0, 0.5]
    assert near.geometry.factor(variable_code("t"), variable_code("t")) == 1.0
    assert near.geometry.factor(variable_code("t"), variable_code("argo")) == 0.5


def test_a_rule_for_what_is_not_there_is_said(forecast, table, caplog):
    """Misspelt names do nothing: a line says so, of each."""

    def made(*rules):
        caplog.clear()
        by = Localization(ByVariable(Sphere(), rules), 2000.0, ("latitude", "longitude", "variable"))
        analyse(forecast, table, LETKF(by), 1)
        return caplog.messages

    assert made(("s", "t", 0.0), ("*", "argo", 2.0), ("t", "*", 1.5)) == []
    assert made(("salt", "t", 0.0), ("salt", "argo", 0.0)) == [
        "a rule of ByVariable is for 'salt', which is no variable of the state: check its spelling"
    ]
    assert made(("s", "temp", 0.0)) == [
        "a rule of ByVariable is for observations of 'temp', of which there are none here"
    ]


def test_the_variable_and_its_rules_come_together(forecast, table):
    rules = ByVariable(Sphere(), (("s", "t", 0.0),))
    with pytest.raises(ValueError, match=r"ByVariable asks for the variable, but dims=\('latitude', 'longitude'\)"):
        analyse(forecast, table, LETKF(Localization(rules, 2000.0)), 1)
    with pytest.raises(ValueError, match="ByVariable asks for the variable"):
        each = {"t": ("latitude", "longitude"), "s": ("latitude", "longitude")}
        analyse(forecast, table, LETKF(Localization(rules, 2000.0, each)), 1)
    with pytest.raises(ValueError, match="has the variable, for which Sphere has no rules"):
        named = ("latitude", "longitude", "variable")
        analyse(forecast, table, LETKF(Localization(Sphere(), 2000.0, named)), 1)
    seen = Observation([0.3], Select([1]), 0.5)
    with pytest.raises(ValueError, match=r"positions have 1 column: ByVariable needs .* variable_code\(name\)"):
        LETKF(Localization(ByVariable(Euclidean(), ()), 3.0)).analyse(np.eye(4, 6), seen, 1)
