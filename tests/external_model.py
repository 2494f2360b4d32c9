"""A model of one's own for the tests: reads one file, writes another; knows nothing of ensf, NetCDF libraries or NumPy.

    python external_model.py INPUT OUTPUT START DURATION SEED [WORD ...]

The last variable of the classic NetCDF file is 3 x 4 numbers of 8 bytes, the last bytes of the file. They move one
place around the ring and are damped; noise comes from the seed. The words make it misbehave, see `misbehave`.

With the word times=N the file holds N states, the last bytes, and before them their times in hours: the model goes on
from the last state and leaves those of its start and of N - 1 steps. With each=N the file holds one state, and those
before the last are left in hist_0.nc, hist_1.nc, ...; of these nan spoils one, less leaves one out, late misdates one;
with link the last is there, too, and OUTPUT a link to it. With rate=R the states of all its steps are R times as large.
"""

import math
import os
import signal
import struct
import sys
import time

COUNT = 12


def advance(values, start, duration, seed):
    damped = [0.5 ** (0.05 * duration) * value + 0.1 * math.sin(start + k) for k, value in enumerate(values)]
    noise = [math.sin(1e4 * math.sin(seed + 17.0 * k)) for k in range(COUNT)]
    return [damped[k - 1] + 0.3 * noise[k] for k in range(COUNT)]


def misbehave(words):
    """sleep=S; once=FILE fails the first time; fail, killed, nan, nothing, hang as they say."""
    for word in words:
        name, _, value = word.partition("=")
        if name == "sleep":
            time.sleep(float(value))
        if name == "once" and not os.path.exists(value):
            open(value, "w").close()
            sys.exit("first time")
        if name == "fail":
            sys.exit("this member is ill")
        if name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "hang":
            time.sleep(1000)
        if name == "nothing":
            sys.exit(0)
        if name == "log":
            with open(value, "a") as log:
                log.write(f"{os.getcwd()}\n")


def several(given, made, start, duration, seed, times, held, words):
    with open(given, "rb") as file:
        content = file.read()
    size = held * (1 + COUNT)
    head, body = content[: -8 * size], struct.unpack(f">{size}d", content[-8 * size :])
    hours, step = body[held - 1], duration / 3600 / (times - 1)
    states = [list(body[-COUNT:])]
    rate = next((float(word[5:]) for word in words if word.startswith("rate=")), 1.0)
    for k in range(1, times):
        states.append([rate * one for one in advance(states[-1], hours + (k - 1) * step, step, seed + k)])
    clock = [hours + k * step for k in range(times)]
    if "nan" in words:
        states[1] = [math.nan, *states[1][1:]]
    if "late" in words:
        clock[0] += step
    for k in range("less" in words, times, held):
        values = [value for state in states[k : k + held] for value in state]
        with open(made if k + held == times and "link" not in words else f"hist_{k}.nc", "wb") as file:
            file.write(head + struct.pack(f">{size}d", *clock[k : k + held], *values))
    if "link" in words:
        os.symlink(f"hist_{times - 1}.nc", made)


def main(given, made, start, duration, seed, *words):
    print("running from", start, flush=True)
    misbehave(words)
    for word in words:
        name, _, number = word.partition("=")
        if name in ("times", "each"):
            held = int(number) if name == "times" else 1
            several(given, made, start, float(duration), int(seed), int(number), held, words)
            return
    with open(given, "rb") as file:
        content = file.read()
    head, body = content[: -8 * COUNT], content[-8 * COUNT :]
    values = advance(struct.unpack(f">{COUNT}d", body), float(start), float(duration), int(seed))
    if "nan" in words:
        values[0] = math.nan
    if "far" in words:
        values[0] = 1e20
    with open(made, "wb") as file:
        file.write(head + struct.pack(f">{COUNT}d", *values))


if __name__ == "__main__":
    main(*sys.argv[1:])
