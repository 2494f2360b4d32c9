"""A kill at a call that changes a file, or a full disk, leaves what the next command continues, bit for bit."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from commands import CASES, content
from kills import copied

from ensf.runs.owner import OWNER

SLOW = ("report", "cache", "analyse")


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES]
)
def started(request, server, tmp_path_factory):
    """A case, the server after it has done it once, the folder with its input, what it should leave, and its calls."""
    case, source = CASES[request.param], tmp_path_factory.mktemp(request.param)
    case.make(source)
    server.warm((case.before or case.words)(source))
    if not case.before:
        shutil.rmtree(source / "out")
    place = copied(source, server)
    ended = server.run(case.words(place))
    assert ended.code == 0, ended.shown
    return case, server, source, content(place / "out"), ended.calls


def continued(case, server, place):
    """What is there after the command that continues."""
    ended = server.run(case.words(place, case.more))
    assert ended.code == 0, ended.shown
    assert not [path for path in place.rglob("*") if path.name.startswith(".")]
    return content(place / "out")


def killed(started, calls):
    case, server, source, whole, _ = started
    for number, midst in calls:
        place = copied(source, server)
        ended = server.run(case.words(place), kill=number, midst=midst)
        assert ended.code == -9, (number, ended.shown)
        left = [path for path in place.rglob("*") if path.is_file() and path.name != OWNER]
        if case.more == "--overwrite":  # all files of an analysis, or none
            own = [path for path in left if path.parent.name == "out"]
            assert not own or content(place / "out").keys() - {OWNER} == whole.keys()
        assert continued(case, server, place) == whole, (number, midst)


def spread(calls, count):
    """So many numbers of calls, over all of them."""
    return sorted({int(number) for number in np.linspace(0, calls, count + 2)[1:-1]})


def test_a_kill_at_some_calls(started):
    killed(started, [(number, bool(k % 2)) for k, number in enumerate(spread(started[-1], 3))])


@pytest.mark.slow
def test_a_kill_at_many_calls(started):
    killed(started, [(number, bool(k % 2)) for k, number in enumerate(spread(started[-1], 100))])


@pytest.mark.full
def test_a_kill_at_every_call(started):
    calls = started[-1]
    print(f"{calls} calls")
    killed(started, [(number, midst) for number in range(calls) for midst in (False, True)])


def filled(started, rooms):
    """The disk is full after so many bytes: a sentence, what was there is untouched, and it goes on."""
    case, server, source, whole, _ = started
    stopped = 0
    for room in rooms:
        place = copied(source, server)
        before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        ended = server.run(case.words(place), room=room)
        if ended.code == 0:
            continue
        stopped += 1
        last = ended.shown.strip().splitlines()[-1]
        assert ended.code == 2 and last.startswith("ensf: ") and "Traceback" not in ended.shown, (room, ended.shown)
        assert "unforeseen" not in last
        assert all(path.read_bytes() == former for path, former in before.items()), room
        assert continued(case, server, place) == whole, room
    return stopped


def written(started):
    """Bytes that the command writes, about."""
    case, server, source, _, _ = started
    low, high = 0, 2**24
    while high - low > max(256, low // 20):
        middle = (low + high) // 2
        code = server.run(case.words(copied(source, server)), room=middle).code
        low, high = (low, middle) if code == 0 else (middle, high)
    return high


def test_a_full_disk(started):
    assert filled(started, [3000])


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_place(started):
    total = written(started)
    print(f"{total} bytes")
    filled(started, [int(room) for room in np.linspace(0, total, 60)])
