"""Standard streams that are closed, full, cut by a pipe, or know ASCII only: the work goes on, the failure is told."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast

__all__ = ["Stream", "standard"]


class Stream:
    """A text stream that never fails: after the first failure, which it keeps, its text goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.failure = stream, cast(OSError | None, None)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self._kept():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._kept():
            self.stream.flush()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error
            with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())
                self.stream.flush()

    @property
    def is_cut(self) -> bool:
        """Whether text was lost, other than by a reader who has read enough."""
        return self.failure is not None and self.failure.errno not in (errno.EPIPE, errno.ESHUTDOWN)


@contextmanager
def standard() -> Iterator[Stream]:
    """Within, both streams never fail; gives that of the output."""
    _open_closed()
    output, errors = Stream(sys.stdout), Stream(sys.stderr)
    with redirect_stdout(cast(TextIO, output)), redirect_stderr(cast(TextIO, errors)):
        try:
            yield output
        finally:
            output.flush()
            errors.flush()


def _open_closed() -> None:
    """Without this the first file that is opened gets the number of a closed stream, and what is printed."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
