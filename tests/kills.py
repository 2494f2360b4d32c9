"""A run of the command line that is killed at random moments."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import os, signal, sys, time
import jsonargparse, numpy as np, netCDF4, xarray
from ensf import cli, experiments, plot, tables
from ensf.offline import cycle as external
from ensf.runs.recipe import reader as methods
from ensf.runs import runner
experiments.load("lorenz96_sakov2008"), methods.read_method("EnKF()")
kills, seconds, *arguments = sys.argv[1:]
rng = np.random.default_rng(int(kills))
for _ in range(int(kills)):
    child = os.fork()
    if not child:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        os._exit(cli.main(arguments))
    time.sleep(rng.uniform(0, float(seconds)))
    os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def kill(kills, seconds, arguments):
    """Start ``ensf`` so many times and kill it within so many seconds; the statuses with which it ended."""
    command = [sys.executable, "-c", SCRIPT, str(kills), str(seconds), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"MPLBACKEND": "Agg"})
    return [int(line) for line in done.stdout.split()]
