"""Two commands in one folder at the same time: one is refused, nothing is lost, nothing is replaced in silence."""

from __future__ import annotations

import itertools
import json
import shutil
import time

import commands
import numpy as np
import offline_files
import pytest
from kills import Server

RUNS = ["--methods", "etkf", "--seeds", "1", "--burn_in", "0"]


def other_run(folder):
    return [*commands.run(folder, *RUNS), "--cycles", "4", "--resume"]


def board(folder):
    words = ["--experiments", "lorenz63_sakov2012", "--methods", "etkf", "--seeds", "1", "--tuning-seeds", "2"]
    return ["board", *words, "--trials", "1", "--cycles", "4", "--tuning-cycles", "4", "--jobs", "1"] + [
        "--output", str(folder / "out")
    ]  # fmt: skip


COMMANDS = {
    "run": lambda folder: commands.run(folder, "--overwrite"),
    "other": other_run,
    "report": commands.report,
    "cycle": lambda folder: commands.cycle(folder, "--overwrite"),
    "analyse": lambda folder: offline_files.command(folder / "files", "--overwrite", "--output", f"{folder}/out"),
    "board": board,
}
PAIRS = list(itertools.product(COMMANDS, repeat=2))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Input of every command, and a folder with a finished run."""
    folder = tmp_path_factory.mktemp("pairs")
    commands.for_cycles(folder)
    offline_files.write(folder / "files")
    return folder


@pytest.fixture(scope="module")
def servers(tmp_path_factory, source):
    """Two processes that can do every command."""
    both = [Server(tmp_path_factory.mktemp(f"server{k}"), counted=False) for k in (1, 2)]
    both[0].warm([word.replace(str(source / "out"), str(source / "whole")) for word in commands.run(source)])
    yield both
    for server in both:
        server.close()


def together(servers, source, pair, delay):
    """Codes and words of two commands in one folder, the second a little later."""
    for server, name in zip(servers, pair, strict=True):
        server.begin(COMMANDS[name](source))
        time.sleep(delay)
    return [server.ended() for server in servers]


def check(source, pair, ended, full):
    """Each command did what it does alone, or was refused in one sentence; all records of runs are there."""
    place = source / "out"
    for one in ended:
        last = ["", *one.shown.strip().splitlines()][-1]
        assert one.code == 0 or one.code == 2 and last.startswith("ensf: "), (pair, one)
        assert "Traceback" not in one.shown and "unforeseen" not in one.shown, (pair, one)
    assert not [path for path in place.rglob("*") if path.name.startswith(".")], pair
    if not list(place.glob("*_seed*.nc")):
        assert not full
        return
    records = {f"{one['method']}_seed{one['seed']}" for one in json.loads((place / "summary.json").read_text())}
    assert records == {path.stem for path in place.glob("*_seed*.nc")}, pair
    assert records >= {"enkf_seed1", "etkf_seed1"} or not full, pair
    for path in place.glob("*_seed*.nc"):
        commands.values(path)


def tried(servers, source, pairs):
    """Pairs in a folder with a finished run, and in one that is not there; how many commands were refused."""
    refused, rng = 0, np.random.default_rng(1)
    for pair, full in pairs:
        shutil.rmtree(source / "out", ignore_errors=True)
        if full:
            shutil.copytree(source / "whole", source / "out")
        ended = together(servers, source, pair, rng.uniform(0, 0.3))
        check(source, pair, ended, full)
        refused += sum(one.code != 0 for one in ended)
    return refused


SOME = [("run", "run"), ("run", "cycle"), ("report", "other")]


def test_some_pairs_of_commands(servers, source):
    assert tried(servers, source, [(pair, k % 2 == 0) for k, pair in enumerate(SOME)])


@pytest.mark.slow
def test_every_pair_of_commands(servers, source):
    refused = tried(servers, source, [(pair, full) for pair in PAIRS for full in (True, False)] * 2)
    print(f"{4 * len(PAIRS)} pairs, {refused} commands refused")
