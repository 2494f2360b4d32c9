"""Ctrl-C and SIGTERM: noticed though a library swallows the exception, or kept until what is under way is stored."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["deferred", "noticed"]


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Within, Ctrl-C and SIGTERM only make the yielded function return True; a second one acts at once.

    Outside the main thread nothing changes, and the function returns False.
    """
    received: list[int] = []
    names = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    former = {name: signal.getsignal(name) for name in names}

    def restore() -> None:
        for name, handler in former.items():
            signal.signal(name, handler)

    def receive(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    for name in names:
        signal.signal(name, receive)
    try:
        yield lambda: bool(received)
    finally:
        restore()


@contextmanager
def noticed() -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM raises KeyboardInterrupt as Ctrl-C does; the yielded function tells whether either came.

    Outside the main thread nothing changes, and the function returns False.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def receive(number: int, frame: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt

    former = {name: signal.signal(name, receive) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for name, handler in former.items():
            signal.signal(name, handler)
