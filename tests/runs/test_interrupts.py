"""Signals: kept until what is under way is stored, noticed though swallowed."""

from __future__ import annotations

import contextlib
import signal
import threading

import pytest

from ensf.runs.interrupts import answered, deferred, noticed, status

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


@SIGNALS
def test_the_first_signal_is_kept(number):
    before = handlers()
    with deferred() as stopping:
        assert not stopping()
        signal.raise_signal(number)
        assert stopping()
    assert handlers() == before and status() == 128 + number and status() == 130


def test_an_ignored_hangup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deferred() as stopping:
            signal.raise_signal(signal.SIGHUP)
            assert not stopping()
    finally:
        signal.signal(signal.SIGHUP, before)


@SIGNALS
def test_a_second_signal_acts_at_once(number):
    """Also where its own action would end the process and leave others behind."""
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(number)


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
