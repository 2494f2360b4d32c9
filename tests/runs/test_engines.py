"""Engines: the same bits by any of them; dead workers, interrupts, addresses that do not answer."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import xarray as xr
from work import die, die_once, refuse, square, threads, wait_for_the_end

from ensf.cli import main
from ensf.runs import engines

pytestmark = pytest.mark.usefixtures("without_figures")
RUN = ["run", "lorenz96_half", "--methods", "letkf", "--members", "8", "--cycles", "3", "--seeds", "1:2"]


def results(engine, work, tasks, folder):
    return dict(engines.completed(engine, work, tasks, folder))


@pytest.fixture(params=["serial", "processes:2", "dask"])
def engine(request):
    if request.param == "dask":
        pytest.importorskip("distributed")
    return request.param


def test_every_task_has_its_result(engine, tmp_path):
    assert results(engine, square, range(5), tmp_path) == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    assert not list(tmp_path.iterdir())


def test_an_error_is_that_of_the_task(tmp_path):
    with pytest.raises(ValueError, match="one sentence"):
        results("processes:2", refuse, [1], tmp_path)


def test_processes_without_a_number_are_one_per_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    started = []
    monkeypatch.setattr(
        engines, "ProcessPoolExecutor", lambda number, *how: started.append(number) or ThreadPoolExecutor(1)
    )
    results("processes", square, range(5), tmp_path)
    results("processes", square, range(2), tmp_path)
    results("processes:9", square, range(2), tmp_path)
    assert started == [3, 2, 2]


def test_no_task(tmp_path):
    assert results("processes:2", square, [], tmp_path) == {}


def test_workers_have_one_thread_each(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = results("processes:2", threads, range(4), tmp_path)
    assert {number for number, _ in found.values()} == {"1 1"} and os.getpid() not in dict(found.values()).values()
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_worker_that_others_started_has_one_thread():
    """Those of Dask and MPI are there before the package can set their environment."""
    script = """
import numba
from ensf.runs.engines import _worked, mine
print(numba.get_num_threads(), _worked(lambda task, stopping: numba.get_num_threads(), 1, "no such file", mine()))
"""
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["2", "1"]


def test_a_worker_that_does_not_fit_is_named(tmp_path):
    theirs = ("ensf 0.0.1", engines.mine()[1])
    with pytest.raises(ValueError, match=r"the worker on .* has ensf .* but this process ensf 0\.0\.1 and numpy"):
        engines._worked(square, 1, str(tmp_path / "stop"), theirs)
    with pytest.raises(ValueError, match="has no folder .*elsewhere: give workers the same files"):
        engines._worked(square, 1, str(tmp_path / "elsewhere" / "stop"), engines.mine())


def test_what_cannot_be_sent_to_workers_is_refused(tmp_path):
    with (
        engines.opened("processes:1", tmp_path) as workers,
        pytest.raises(ValueError, match="cannot be sent to workers"),
    ):
        workers.sharing(lambda: 1).__enter__()
    assert not list(tmp_path.iterdir())


def test_an_executor_of_ones_own_stays_open(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        assert results(pool, square, range(3), tmp_path) == {0: 0, 1: 1, 2: 4}
        assert pool.submit(len, "abc").result() == 3


def test_the_task_of_a_dead_worker_is_done_again(tmp_path):
    assert sorted(results("processes:2", die_once, [(n, str(tmp_path)) for n in range(3)], tmp_path).values()) == [
        0,
        1,
        2,
    ]


def test_workers_that_always_die_end_it(tmp_path):
    with pytest.raises(OSError, match="processes of engine processes:1 died 3 times"):
        results("processes:1", die, [1], tmp_path)


def test_workers_stop_when_asked(tmp_path):
    mark = tmp_path / "begun"
    with pytest.raises(KeyboardInterrupt):
        list(engines.completed("processes:1", wait_for_the_end, [str(mark)], tmp_path, mark.exists))
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


INTERRUPTED = """
import signal, sys
from pathlib import Path
from ensf.runs import engines

pool = engines.ProcessPoolExecutor

def interrupted(*how):
    signal.raise_signal(signal.SIGINT)
    made = pool(*how)
    print("started")
    return made

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    engines.ProcessPoolExecutor = interrupted
    try:
        list(engines.completed("processes:1", len, ["a"], Path(sys.argv[1])))
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_while_workers_start_waits_until_they_have(tmp_path):
    """In a new process, where Python starts processes of its own beside the first one."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "script.py").write_text(INTERRUPTED)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "folder")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["started", "interrupted"]
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.parametrize(
    "engine", ["slurm", "processes:0", "processes:x", "processes:-1", "dask:localhost", "serial:2", "mpi:3", ""]
)
def test_words_that_are_no_engine(engine):
    with pytest.raises(ValueError, match="engine"):
        engines.check(engine)


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for word in ("dask", "mpi"):
        with pytest.raises(ImportError, match=rf"pip install \"ensf\[{word}\]\""):
            engines.check(word)


def test_an_address_that_does_not_answer(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: client(address, timeout=0.2))
    with pytest.raises(OSError, match="no Dask scheduler answers at tcp://127.0.0.1:1 .*is it running"):
        results("dask:tcp://127.0.0.1:1", square, [1], tmp_path)


def test_a_run_has_the_same_bits_by_workers(tmp_path, capsys):
    assert main([*RUN, "--output", str(tmp_path / "one")]) == 0
    assert main([*RUN, "--engine", "processes:2", "--output", str(tmp_path / "other")]) == 0
    for name in ("letkf_seed1.nc", "letkf_seed2.nc"):
        with xr.open_dataset(tmp_path / "one" / name) as one, xr.open_dataset(tmp_path / "other" / name) as other:
            xr.testing.assert_equal(one, other)
            assert one.attrs["recipe_hash"] == other.attrs["recipe_hash"]
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        path.name for path in (tmp_path / "other").iterdir()
    }


def test_ctrl_c_ends_all_workers_and_resume_goes_on(tmp_path):
    request = [*RUN, "--cycles", "4000", "--output", str(tmp_path), "--engine", "processes:2"]
    command = [sys.executable, "-c", "import sys; from ensf.cli import main; sys.exit(main(sys.argv[1:]))", *request]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(tmp_path.glob("*.restart.npz")) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in error and "Traceback" not in error
    assert list(tmp_path.glob("*.restart.npz")) and not list(tmp_path.glob(".stop*"))


def test_mpi_without_mpiexec_is_refused(tmp_path):
    """Or, where it is not installed, that it is not."""
    with pytest.raises((ValueError, ImportError), match="start it as mpiexec|pip install"):
        results("mpi", square, [1], tmp_path)
