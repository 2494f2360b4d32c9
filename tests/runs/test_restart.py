"""Restarts: trees come back bit for bit, runs go on as if they had never stopped, other recipes are refused."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace

import array_api_strict
import netCDF4
import numpy as np
import pytest
import xarray as xr
from kills import kill

from ensf import experiments
from ensf.cli import main
from ensf.experiments.lorenz96_million import million
from ensf.filters import ETKF, LETKF, LETSF, EnKF, EnSF, QuantileFilter
from ensf.localization import periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.models.sqg import SQG, SQGTemperature
from ensf.runs import restart, runner
from ensf.runs.netcdf.journal import Journal
from ensf.runs.recipe import describe
from ensf.runs.run import Run
from ensf.twin import GaussianStart, Method, Network, Streams, TwinExperiment, twin
from ensf.wrappers import AdaptiveInflation, FiniteSize, Rotation, SpreadReset
from ensf.wrappers.collapse_guard import GuardMemory
from ensf.wrappers.deferred_analysis import DeferralMemory

pytestmark = pytest.mark.usefixtures("without_figures")
LINE = periodic_line(40, half_width=6.0)
EXPERIMENT = TwinExperiment(
    name="short",
    summary="Lorenz-96, a few cycles",
    model=Lorenz96(size=40, forcing=8.0, dt=0.05),
    network=Network(error=1.0),
    initial=GaussianStart(np.eye(40)[0], 1.0),
    methods={"adaptive": Method(AdaptiveInflation(Rotation(LETKF(LINE)), LINE), 7), "enkf": Method(EnKF(), 12)},
    cycles=12,
    interval=0.05,
)
WAVES = replace(
    EXPERIMENT,
    model=SQGTemperature(SQG(n=16, dt=3600.0)),
    initial=GaussianStart(np.zeros(512), 1.0),
    methods={"enkf": Method(EnKF(), 6)},
    cycles=4,
    interval=7200.0,
    time_units="seconds",
)

# --- trees -----------------------------------------------------------------------------------------------


def stored(tmp_path, **content):
    restart.write(tmp_path / "a.restart.npz", content)
    return restart.read(tmp_path / "a.restart.npz")


def test_a_tree_comes_back(tmp_path):
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((3, 4)).astype(np.float32)
    tree = DeferralMemory(3, DeferralMemory(np.float32(0.1), GuardMemory(matrix, matrix[0] * np.nan)))
    values = [1, 2.5, None, True, "text", float("inf"), (1, 2), {"a": np.array(3.5)}]
    back = stored(tmp_path, tree=tree, values=values)
    assert type(back["tree"]) is DeferralMemory and back["tree"].waited == 3
    first, second = back["tree"].inner.inner.mean, back["tree"].inner.inner.square
    np.testing.assert_array_equal(first, matrix)
    assert first.dtype == np.float32 and np.isnan(second).all()
    assert type(back["tree"].inner.waited) is np.float32
    assert back["values"][:-1] == values[:-1] and back["values"][-1]["a"] == 3.5


def test_memory_order_comes_back(tmp_path):
    """The order of a sum over members, and so its last bit, depends on it."""
    matrix = np.random.default_rng(1).standard_normal((5, 7))
    back = stored(tmp_path, rows=matrix, columns=matrix.T)
    assert back["rows"].flags.c_contiguous and back["columns"].flags.f_contiguous
    np.testing.assert_array_equal(back["columns"], matrix.T)


@pytest.mark.parametrize("kind", ["SFC64", "PCG64", "Philox", "MT19937"])
def test_random_streams_come_back_with_their_children(tmp_path, kind):
    rng = np.random.Generator(getattr(np.random, kind)(np.random.SeedSequence(5, spawn_key=(2,))))
    rng.standard_normal(3, dtype=np.float32)
    rng.integers(3, dtype=np.uint32)
    rng.spawn(2)
    back = stored(tmp_path, rng=rng)["rng"]
    np.testing.assert_array_equal(
        back.integers(2**32, size=9, dtype=np.uint32), rng.integers(2**32, size=9, dtype="u4")
    )
    np.testing.assert_array_equal(back.spawn(1)[0].random(3), rng.spawn(1)[0].random(3))


def test_arrays_of_another_library_come_back(tmp_path):
    back = stored(tmp_path, array=array_api_strict.asarray([1.0, 2.0], dtype=array_api_strict.float32))["array"]
    assert back.dtype == array_api_strict.float32 and float(back[1]) == 2.0


@pytest.mark.parametrize("bad", [object(), {1: 2}, np.array([None]), len, EXPERIMENT.network])
def test_what_cannot_be_stored_is_named_and_nothing_is_written(tmp_path, bad):
    with pytest.raises(ValueError, match=r"memory\.inner is an? .*, which a restart cannot hold: "):
        restart.write(tmp_path / "a.npz", {"memory": {"inner": bad}})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    restart.write(path, {"cycle": 1})
    monkeypatch.setattr(np, "savez", partial(_fail, OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"a\.npz could not be written \(No space left on device\): is the disk full"):
        restart.write(path, {"cycle": 2})
    assert restart.read(path) == {"cycle": 1} and list(tmp_path.iterdir()) == [path]


def _fail(error, *rest, **more):
    raise error


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
def test_a_damaged_restart_is_one_sentence(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz is not a restart file, or damaged .*: start the run again"):
        restart.read(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match="there is no restart"):
        restart.read(tmp_path / "b.npz")


def flips(content, count, seed=1):
    """Copies with one bit changed, at places over the whole file."""
    places = np.random.default_rng(seed).permutation(8 * len(content))[:count]
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        yield bytes(damaged)


def test_a_restart_with_one_bit_changed_is_refused(tmp_path):
    path, rng = tmp_path / "a.npz", np.random.default_rng(1)
    restart.write(path, {"rng": rng, "memory": DeferralMemory(1, rng.random(5)), "recipe": {"a": "b"}})
    content = path.read_bytes()
    for damaged in [content[:-1], content + b"x", *flips(content, 300)]:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged"):
            restart.read(path)


FORGED = {
    "module": {"class": "antigravity:geohash", "fields": {}},
    "class": {"class": "ensf.filters.ensf:EnSF", "fields": {}},
    "path": {"class": "ensf.wrappers.spread:ResetMemory.__init__", "fields": {}},
    "library": {"array": "a", "library": "antigravity"},
    "generator": {"generator": {"state": {"bit_generator": "test"}, "seed": None}},
    "deep": json.loads(200 * '{"list": [' + "1" + 200 * "]}"),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_restart_names_nothing_but_what_is_listed(tmp_path, monkeypatch, forged):
    """Even one whose checksum fits."""
    monkeypatch.setattr(restart, "_encode", lambda value, name, arrays: arrays.update(a=np.zeros(2)) or value)
    monkeypatch.setattr("webbrowser.open", partial(_fail, AssertionError("a browser")))
    restart.write(tmp_path / "a.npz", {"checkpoint": forged})
    before = set(sys.modules)
    if "list" in forged:
        assert restart.read(tmp_path / "a.npz")
        return
    with pytest.raises(ValueError, match="is not a restart file, or damaged"):
        restart.read(tmp_path / "a.npz")
    assert set(sys.modules) == before


# --- recipes ---------------------------------------------------------------------------------------------


def described(**changes):
    return describe.recipe(experiment=replace(EXPERIMENT, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interval": 0.1}, "experiment.interval is 0.05 there but 0.1 now"),
        ({"network": Network(error=2.0)}, "experiment.network.error is 1.0 there but 2.0 now"),
        (
            {"network": Network(error=np.ones(40))},
            "experiment.network.error is 1.0 there but <40 float64, hash",
        ),
        (
            {"initial": GaussianStart(np.eye(40)[1], 1.0)},
            "experiment.initial.mean is <40 float64, hash",
        ),
        (
            {"initial": GaussianStart(np.eye(40)[0] + 1e-9 * np.eye(40)[39], 1.0)},
            "experiment.initial.mean is <40 float64, hash",
        ),
        ({"truth_model": Lorenz96(40)}, "experiment.truth_model is None there but Lorenz96 now"),
    ],
)
def test_the_first_difference_of_recipes_is_named(tmp_path, changes, words):
    describe.check_recipe(described(), described(), tmp_path / "a.npz")
    with pytest.raises(ValueError, match=f"a.npz was made by another recipe: {words}"):
        describe.check_recipe(described(**changes), described(), tmp_path / "a.npz")
    assert describe.digest(described(**changes)) != describe.digest(described()) == describe.digest(described())


@dataclass(frozen=True)
class Chimney(TwinExperiment):
    """An experiment of a user, with a field whose name begins like one that is not in the recipe."""

    source_height: float = 10.0


def test_what_only_names_an_experiment_is_not_in_the_recipe(tmp_path):
    def recipe(**changes):
        experiment = replace(Chimney(**vars(EXPERIMENT)), **changes)
        return Run(experiment, "enkf", EXPERIMENT.methods["enkf"], 1, tmp_path, "test").recipe

    names = {"name": "other", "summary": "more", "source": "a book", "seeds": (4,), "methods": {}}
    assert recipe(**names) == recipe()
    assert recipe(source_height=20.0)["experiment.source_height"] == "20.0"
    with pytest.raises(ValueError, match="experiment.source_height is 10.0 there but 20.0 now"):
        describe.check_recipe(recipe(source_height=20.0), recipe(), tmp_path / "a.nc")


def test_the_hash_of_a_recipe_does_not_depend_on_the_order():
    recipe = described()
    assert describe.digest(dict(reversed(recipe.items()))) == describe.digest(recipe)


def test_recipes_do_not_depend_on_the_process():
    class Plain:
        def __init__(self):
            self.factor, self.function = 2.0, np.arctan

    assert "0x" not in "".join(describe.recipe(a=Plain(), b=test_recipes_do_not_depend_on_the_process).values())
    assert describe.recipe(a=Plain())["a.factor"] == "2.0"


# --- twins -----------------------------------------------------------------------------------------------

FILTERS = {
    "adaptive": AdaptiveInflation(Rotation(LETKF(LINE)), LINE),
    "reset": SpreadReset(AdaptiveInflation(EnKF(), LINE)),
    "etkf": Rotation(ETKF()),
    "finite": FiniteSize(ETKF()),
    "ensf": EnSF(),
    "letsf": LETSF(LINE),
    "quantile": QuantileFilter(),
}


def same(one, other):
    assert one.index == other.index and one.time == other.time
    for name in ("truth", "forecast"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    assert one.observation.value.tobytes() == other.observation.value.tobytes()
    assert one.analysis.ensemble.tobytes() == other.analysis.ensemble.tobytes()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FILTERS)
def test_a_twin_goes_on_from_a_file_as_if_it_had_not_stopped(tmp_path, name, dtype):
    settings = {"members": 12, "cycles": 5, "interval": 0.05}
    start = GaussianStart(np.eye(40, dtype=dtype)[0], 1.0)
    parts = EXPERIMENT.model, FILTERS[name], EXPERIMENT.network, start
    cycles = []
    for cycle in twin(*parts, **settings, streams=Streams.spawn(4)):
        restart.write(tmp_path / f"{cycle.index}.npz", {"checkpoint": cycle.checkpoint})
        cycles.append(cycle)
    assert cycles[0].analysis.ensemble.dtype == dtype
    for stop in (0, 2, 4):
        go_on = restart.read(tmp_path / f"{stop}.npz")["checkpoint"]
        rest = list(twin(*parts, **settings, streams=Streams.spawn(9), start=go_on))
        assert len(rest) == 4 - stop
        for one, other in zip(rest, cycles[stop + 1 :], strict=True):
            same(one, other)


def test_an_experiment_without_cycling_goes_on_too(tmp_path):
    pytest.importorskip("eofs")
    page = replace(experiments.load("geopotential_height"), cycles=4)
    method = Method(EnKF(), 20)
    whole = page.run(method, 1)
    stop = [next(whole), next(whole)][1]
    restart.write(tmp_path / "a.npz", {"checkpoint": stop.checkpoint})
    for one, other in zip(page.run(method, 1, restart.read(tmp_path / "a.npz")["checkpoint"]), whole, strict=True):
        same(one, other)


def goes_on(page, method, path):
    """The third cycle after a restart from a file is that of a run that was not stopped."""
    whole = page.run(method, 1)
    stop = [next(whole), next(whole)][1]
    restart.write(path, {"checkpoint": stop.checkpoint})
    same(next(page.run(method, 1, restart.read(path)["checkpoint"])), next(whole))


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments.names())
def test_every_method_of_every_experiment_goes_on(tmp_path, name):
    smaller = {"lorenz96_million": partial(million, 10**4)}  # its full size takes half an hour
    page = replace(smaller.get(name, partial(experiments.load, name))(), cycles=3)
    for method in page.methods.values():
        goes_on(page, method, tmp_path / "a.npz")


@pytest.mark.parametrize(("name", "points"), [("bearings_only_bdsde", 5), ("double_well_bdsde", 51)])
def test_a_page_whose_own_filter_remembers_a_density_goes_on(tmp_path, name, points):
    page = replace(experiments.load(name), cycles=3)
    coarse = replace(page.methods["bdsde"].filter, points=points)
    goes_on(page, replace(page.methods["bdsde"], filter=coarse), tmp_path / "a.npz")


# --- runs ------------------------------------------------------------------------------------------------


def run(folder, experiment=EXPERIMENT, methods=("adaptive", "enkf"), **how):
    folder.mkdir(exist_ok=True)
    chosen = {name: experiment.methods[name] for name in methods}
    return runner.run(experiment, chosen, [1, 2], folder, "test", **how)


def stopped(folder, monkeypatch, cycles, **how):
    """Run until so many cycles were taken, as by Ctrl-C."""
    count = iter(range(1, 10**6))
    signalled = partial(_stopping, lambda: next(count) >= cycles)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runner, "deferred", signalled)
        run(folder, **how)


class _stopping:
    def __init__(self, function):
        self.function = function

    def __enter__(self):
        return self.function

    def __exit__(self, *_):
        return None


def variables(path):
    with xr.open_dataset(path, decode_times=False, mask_and_scale=False) as file:
        return {name: (values.dtype, values.shape, values.values.tobytes()) for name, values in file.variables.items()}


def summary(folder):
    records = json.loads((folder / "summary.json").read_text())
    return [{key: value for key, value in r.items() if not key.startswith("seconds")} for r in records]


def assert_same_runs(one, other):
    names = sorted(path.name for path in one.glob("*.nc"))
    assert names and names == sorted(path.name for path in other.glob("*.nc"))
    for name in names:
        assert variables(one / name) == variables(other / name), name
    assert summary(one) == summary(other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(folder)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("cycles", "every"), [(1, 1), (5, 1), (12, 1), (17, 1), (41, 1), (19, 0)])
def test_a_stopped_run_goes_on(tmp_path, monkeypatch, whole, cycles, every):
    stopped(tmp_path / "a", monkeypatch, cycles, restart_every=every)
    run(tmp_path / "a", resume=True)
    assert_same_runs(whole, tmp_path / "a")
    left = {path.name for path in (tmp_path / "a").iterdir()}
    assert left <= {path.name for path in whole.iterdir()} and not [name for name in left if "journal" in name]


def test_a_stopped_run_with_spectra_goes_on(tmp_path, monkeypatch):
    how = {"experiment": WAVES, "methods": ("enkf",)}
    run(tmp_path / "whole", **how)
    stopped(tmp_path / "a", monkeypatch, 3, **how)
    run(tmp_path / "a", resume=True, **how)
    assert_same_runs(tmp_path / "whole", tmp_path / "a")
    assert variables(tmp_path / "a" / "enkf_seed2.nc")["kinetic_energy_spectrum_analysis_error"][1] == (4, 9)


def test_restarts_are_written_after_every_so_many_cycles(tmp_path, monkeypatch):
    counted, write = [], restart.write
    monkeypatch.setattr(
        restart, "write", lambda path, content: (counted.append(content["checkpoint"].cycles), write(path, content))
    )
    run(tmp_path / "a", methods=("enkf",), restart_every=5)
    assert sorted(set(counted)) == [5, 10, 12]


def test_a_finished_run_is_kept(whole):
    before = contents(whole)
    records = run(whole, resume=True)
    assert contents(whole) == before and len(records) == 4


def test_resuming_adds_what_is_new(tmp_path, whole):
    run(tmp_path / "a", methods=("adaptive",))
    run(tmp_path / "a", methods=("enkf",), resume=True)
    assert_same_runs(whole, tmp_path / "a")


def test_cycles_after_the_restart_are_forgotten(tmp_path, monkeypatch, whole):
    """As if killed in cycle 9, with a restart every 5 cycles: the file is ahead of the restart."""
    folder = tmp_path / "a"
    stopped(folder, monkeypatch, 5)
    old = (folder / "adaptive_seed1.restart.npz").read_bytes()
    stopped(folder, monkeypatch, 4, resume=True)
    (folder / "adaptive_seed1.restart.npz").write_bytes(old)
    run(folder, resume=True)
    assert_same_runs(whole, folder)


@pytest.mark.parametrize("damage", [b"", b"\x89HDF\r\n\x1a\n" + bytes(3000), None])
def test_a_file_left_unreadable_is_made_again(tmp_path, monkeypatch, whole, damage):
    folder = tmp_path / "a"
    stopped(folder, monkeypatch, 17)
    path = folder / "adaptive_seed2.nc"
    path.unlink() if damage is None else path.write_bytes(damage)
    run(folder, resume=True)
    assert_same_runs(whole, folder)


def test_a_run_killed_before_its_first_restart_starts_again(tmp_path, monkeypatch, whole):
    folder = tmp_path / "a"
    stopped(folder, monkeypatch, 5)
    (folder / "adaptive_seed1.restart.npz").unlink()
    run(folder, resume=True)
    assert_same_runs(whole, folder)


def test_a_run_killed_between_its_last_cycle_and_the_summary(tmp_path, monkeypatch, whole):
    folder = tmp_path / "a"
    stopped(folder, monkeypatch, 12)
    (record,) = [record for record in run(folder, resume=True) if (record["method"], record["seed"]) == ("adaptive", 1)]
    assert record["cycles"] == 12
    assert_same_runs(whole, folder)


def test_the_history_names_both_commands(tmp_path, monkeypatch):
    stopped(tmp_path / "a", monkeypatch, 5)
    run(tmp_path / "a", resume=True)
    with netCDF4.Dataset(tmp_path / "a" / "adaptive_seed1.nc") as file:
        assert len(file.history.splitlines()) == 2
        assert json.loads(file.recipe)["experiment.interval"] == "0.05"


# --- refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cycles", [5, 17], ids=["unfinished", "finished"])
def test_another_recipe_is_refused_and_nothing_is_touched(tmp_path, monkeypatch, cycles):
    folder = tmp_path / "a"
    stopped(folder, monkeypatch, cycles)
    before = contents(folder)
    with pytest.raises(ValueError, match=r"adaptive_seed1\..* experiment.network.error is 1.0 there but 1.5 now"):
        run(folder, replace(EXPERIMENT, network=Network(error=1.5)), resume=True)
    changed = replace(EXPERIMENT, methods=EXPERIMENT.methods | {"adaptive": Method(FILTERS["adaptive"], 8)})
    with pytest.raises(ValueError, match="members is 7 there but 8 now"):
        run(folder, changed, resume=True)
    assert contents(folder) == before


def test_cycles_without_a_restart_are_not_replaced(tmp_path, monkeypatch):
    folder = tmp_path / "a"
    stopped(folder, monkeypatch, 5)
    (folder / "adaptive_seed1.restart.npz").unlink()
    (folder / "adaptive_seed1.journal").unlink()
    before = contents(folder)
    with pytest.raises(ValueError, match=r"adaptive_seed1.nc has 5 cycles but no restart beside it: .* --overwrite"):
        run(folder, resume=True)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("size", "sentence"), [(None, "there is no journal"), (100, "not a journal"), (-1, "has fewer than 5 records")]
)
def test_a_lost_journal_is_one_sentence(tmp_path, monkeypatch, size, sentence):
    folder = tmp_path / "a"
    stopped(folder, monkeypatch, 5)
    journal = folder / "adaptive_seed1.journal"
    whole = journal.read_bytes()
    journal.unlink() if size is None else journal.write_bytes(whole[:size])
    before = contents(folder)
    with pytest.raises((ValueError, OSError), match=sentence):
        run(folder, resume=True)
    assert contents(folder) == before


def test_the_last_record_may_be_written_in_part(tmp_path):
    journal = Journal.create(tmp_path / "j", b"template")
    record = np.array((1.5, 2.5), dtype=[("score", "f8"), ("members", "f8")])
    journal.write(0, record, used=16)
    journal.write(1, record, used=8)
    journal.close()
    journal = Journal.resume(tmp_path / "j")
    assert journal.template == b"template"
    assert journal.read(2, record.dtype).tolist() == [(1.5, 2.5), (1.5, 0.0)]
    journal.close()


def test_a_journal_with_one_bit_changed_is_refused(tmp_path):
    journal, values = Journal.create(tmp_path / "j", b"template"), np.random.default_rng(1).random((5, 7))
    for index, row in enumerate(values):
        journal.write(index, row.view([("row", "f8", (7,))])[0], used=56)
    journal.close()
    content = (tmp_path / "j").read_bytes()
    swapped = content[:32] + content[104:176] + content[32:104] + content[176:]
    assert len(content) == 32 + 5 * 72
    for damaged in [swapped, *flips(content, 300)]:
        (tmp_path / "j").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged: start the run again with --overwrite"), ExitStack() as stack:
            journal = Journal.resume(tmp_path / "j")
            stack.callback(journal.close)
            journal.read(5, np.dtype([("row", "f8", (7,))]))


def test_a_new_journal_has_no_record_of_the_old_one(tmp_path):
    for template in (b"one with a record", b"new"):
        journal = Journal.create(tmp_path / "j", template)
        with pytest.raises(ValueError, match="fewer than 1 records"):
            journal.read(1, np.dtype("f8"))
        journal.write(0, np.array(3.5), used=8)
        journal.close()


def test_two_processes_do_not_write_one_run(tmp_path, monkeypatch):
    folder = tmp_path / "a"
    stopped(folder, monkeypatch, 5)
    journal = Journal.resume(folder / "adaptive_seed1.journal")
    with pytest.raises(OSError, match="another process is writing .*adaptive_seed1.journal: wait until it ends"):
        run(folder, resume=True)
    journal.close()
    run(folder, resume=True)


def test_a_summary_keeps_the_records_of_other_methods(tmp_path):
    for names in (["enkf"], ["adaptive"], ["enkf"]):
        methods = {name: EXPERIMENT.methods[name] for name in names}
        runner.run(EXPERIMENT, methods, [1], tmp_path, "test")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert sorted(record["method"] for record in summary) == ["adaptive", "enkf"]


def test_an_experiment_without_streams_runs_without_a_restart(tmp_path):
    class Own:
        """A user's experiment, as before there were restarts."""

        def __getattr__(self, name):
            return getattr(EXPERIMENT, name)

        def run(self, method, seed):
            for cycle in EXPERIMENT.run(method, seed):
                yield replace(cycle, streams=None)

    run(tmp_path, Own())
    assert {path.suffix for path in tmp_path.iterdir()} == {".nc", ".json"}
    assert Run(SimpleNamespace(cycles=3), "a", EXPERIMENT.methods["enkf"], 1, tmp_path, "").recipe["members"] == "12"


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--resume", "--overwrite"], "exclude each other"), (["--restart-every", "-1"], "--restart-every is -1")],
)
def test_the_command_line_refuses(tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "lorenz63_sakov2012", *options]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- killed ----------------------------------------------------------------------------------------------


def killed(folder, kills, seconds, cycles):
    """Kill `ensf run` so many times, at random, then let it end; the exit statuses of the killed ones."""
    request = ["run", "lorenz96_sakov2008", "--methods", "enkf,etkf", "--seeds", "1", "--cycles", str(cycles)]
    request += ["--output", str(folder), "--resume"]
    statuses = kill(kills, seconds, request)
    assert main(request) == 0
    return statuses


def uninterrupted(folder, cycles):
    request = ["lorenz96_sakov2008", "--methods", "enkf,etkf", "--seeds", "1", "--cycles", str(cycles)]
    assert main(["run", *request, "--output", str(folder)]) == 0
    return folder


def test_a_run_killed_at_random_moments_goes_on(tmp_path):
    statuses = killed(tmp_path / "killed", kills=3, seconds=0.5, cycles=100)
    assert statuses.count(signal.SIGKILL) >= 1
    assert_same_runs(uninterrupted(tmp_path / "whole", 100), tmp_path / "killed")


@pytest.mark.slow
def test_a_run_killed_many_times_goes_on(tmp_path):
    statuses = killed(tmp_path / "killed", kills=200, seconds=0.5, cycles=5000)
    assert statuses.count(signal.SIGKILL) >= 100
    assert_same_runs(uninterrupted(tmp_path / "whole", 5000), tmp_path / "killed")
