"""Signals and locks: kept until what is under way is stored, noticed though swallowed; one process at a time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

from ensf.runs.interrupts import answered, deferred, noticed
from ensf.runs.netcdf.locks import held

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@SIGNALS
def test_the_first_signal_is_kept(number):
    before = handlers()
    with deferred() as stopping:
        assert not stopping()
        signal.raise_signal(number)
        assert stopping()
    assert handlers() == before


def test_a_second_signal_acts_at_once():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), deferred():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@SIGNALS
def test_a_swallowed_interrupt_is_noticed(number):
    before = handlers()
    with noticed() as interrupted:
        assert not interrupted()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        assert interrupted()
    assert handlers() == before


def test_signals_get_another_answer_and_the_former_one_back():
    before, received = handlers(), []
    with answered(lambda number, frame: received.append(number), [signal.SIGINT]) as restore:
        signal.raise_signal(signal.SIGINT)
        assert received == [signal.SIGINT] and handlers()[1] == before[1]
        restore()
        assert handlers() == before
    with pytest.raises(ZeroDivisionError), answered(signal.SIG_IGN):
        signal.raise_signal(signal.SIGTERM)
        raise ZeroDivisionError
    assert handlers() == before


@pytest.mark.parametrize("within", [deferred, noticed])
def test_other_threads_leave_signals_alone(within):
    before, found = handlers(), []

    def work():
        with within() as came:
            found.append((handlers() == before, came()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(True, False)]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of open files")
def test_a_refused_lock_leaves_no_file_open(tmp_path):
    with held(tmp_path / "lock"):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="another process is writing .*lock: wait"), held(tmp_path / "lock"):
            pass
        assert len(os.listdir("/proc/self/fd")) == before
    with held(tmp_path / "lock"):
        pass
