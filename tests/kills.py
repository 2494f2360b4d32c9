"""Commands that are killed: at random moments, at each call that changes a file, or on a disk that fills up.

A server imports everything once and forks a child per try. `kills.c` is preloaded: it counts the calls of a child that
change files, kills it at one of them, or lets the disk be full.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
import ctypes, json, os, resource, signal, sys, time
import jsonargparse, matplotlib.figure, numpy as np, netCDF4, xarray
from ensf import cli, experiments, plot, tables
from ensf.cli import run as run_command
from ensf.offline import cycle as external
from ensf.runs.recipe import reader as methods
from ensf.runs import runner
from ensf.plot import folder as figures
experiments.load("lorenz96_sakov2008"), methods.read_method("EnKF()")
whole = figures._figures_of_run
figures._figures_of_run = lambda runs: [next(whole(runs)), ("ranks", figures.figure_ranks(runs))]

def cache(folder):
    from ensf.models.sqg import SQG, SQGTemperature
    from ensf.runs.nature import NatureRun
    model = SQGTemperature(SQG(n=64, dt=3600.0))
    run = NatureRun(model, spin_up=0.0, duration=3 * 7200.0, interval=7200.0, seed=3)
    try:
        np.save(folder + ".npy", run.load(folder).states)
    except OSError as error:
        print(f"ensf: {error}", file=sys.stderr)
        return 2
    return 0

def without_figures(arguments):
    run_command.report = lambda directory: 0
    return cli.main(arguments)

COMMANDS = {"cache": lambda arguments: cache(*arguments[1:]), "run": without_figures}

def do(arguments):
    return COMMANDS.get(arguments[0], cli.main)(arguments)

def child(order):
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if order["processor"]:
        signal.setitimer(signal.ITIMER_PROF, order["processor"])
        signal.alarm(12 * order["processor"])
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    shim = ctypes.CDLL(None) if order["counted"] else None
    if shim:
        shim.arm(ctypes.c_long(order["kill"]), order["midst"], ctypes.c_long(order["room"]))
    status = do(order["arguments"])
    os.write(order["pipe"], str(shim.count() if shim else 0).encode())
    os._exit(status)

for line in sys.stdin:
    order = json.loads(line)
    if order.get("warm"):
        do(order["arguments"])
        print(json.dumps({}), file=sys.__stderr__, flush=True)
        continue
    get, order["pipe"] = os.pipe()
    process = os.fork()
    if not process:
        child(order)
    os.close(order["pipe"])
    if order["seconds"]:
        time.sleep(order["seconds"])
        os.kill(process, 9)
    calls = os.read(get, 100).decode()
    os.close(get)
    status = os.waitpid(process, 0)[1]
    print(json.dumps({"status": status, "calls": int(calls or -1)}), file=sys.__stderr__, flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status as `os.wait` has it, its calls that change files (-1 if killed), what it said."""

    status: int
    calls: int
    shown: str

    @property
    def code(self) -> int:
        """Exit status; negative after a signal."""
        return os.waitstatus_to_exitcode(self.status)


class Server:
    """A process that runs commands in children of its own."""

    def __init__(self, folder: Path, counted: bool = True) -> None:
        self.folder, self.counted = folder, counted
        environment = os.environ | {"MPLBACKEND": "Agg"}
        if counted:
            compile_shim(folder / "kills.so")
            environment["LD_PRELOAD"] = str(folder / "kills.so")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    def _order(self, **order: object) -> None:
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def _answer(self) -> dict[str, int]:
        answers: list[str] = []
        while line := self.process.stderr.readline():
            if line.startswith("{"):
                return json.loads(line)
            answers.append(line)
        raise AssertionError("".join(answers))

    def warm(self, arguments: Sequence[str]) -> None:
        """Run a command in the server itself, so that children find all that is imported and compiled."""
        self._order(warm=True, arguments=list(arguments))
        self._answer()

    def begin(
        self,
        arguments: Sequence[str],
        kill: int = -1,
        midst: bool = False,
        room: int = -1,
        seconds: float = 0,
        processor: int = 0,
    ) -> None:
        """Start a command in a child.

        Parameters
        ----------
        arguments : sequence of str
        kill : int
            Number of the call that changes a file at which it is killed; -1 = none.
        midst : bool
            Half of what that call writes is written.
        room : int
            Bytes that it can write until the disk is full; -1 = no limit.
        seconds : float
            It is killed after so many; 0 = not at all.
        processor : int
            A signal ends it after so many seconds of the processor, or 12 times as many on the clock; it gets 8 GB of
            memory; 0 = no limits.
        """
        names = {name: str(self.folder / name) for name in ("stdout", "stderr")}
        how = {"kill": kill, "midst": midst, "room": room, "seconds": seconds, "counted": self.counted}
        how["processor"] = processor
        self._order(arguments=list(arguments), **how, **names)

    def ended(self) -> Ended:
        """Wait for it."""
        return Ended(**self._answer(), shown=(self.folder / "stderr").read_text())

    def run(self, arguments: Sequence[str], **how: float) -> Ended:
        """Start a command as `begin` does, and wait for it."""
        self.begin(arguments, **how)
        return self.ended()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def copied(source: Path, server: Server) -> Path:
    """A copy of the input, always in the same place, which some outputs name."""
    place = server.folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place)
    return place


def compile_shim(path: Path) -> None:
    """Compile `kills.c`; the test is skipped where that cannot be."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler, or not Linux")
    source = Path(__file__).with_name("kills.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(path), str(source), "-ldl"], check=True)


def kill(kills: int, seconds: float, arguments: Sequence[str]) -> list[int]:
    """Start ``ensf`` so many times and kill it within so many seconds; the statuses with which it ended."""
    rng = np.random.default_rng(kills)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), counted=False)
        statuses = [server.run(arguments, seconds=rng.uniform(0, seconds)).status for _ in range(kills)]
        server.close()
    return statuses
