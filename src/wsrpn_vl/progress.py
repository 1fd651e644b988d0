"""Progress of long work: one bar with ETA and images per second on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_EVERY = 15.0  # seconds between plain lines


@contextmanager
def progress(name: str, unit: str = "images") -> Iterator[Callable[..., None]]:
    """``report(done, total, note="")``; speed is counted from the first call. Writes to stderr."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(name, total=None, note="")
            clock = _Clock()

            def show(done: int, total: int, note: str = "") -> None:
                bar.update(task, completed=done, total=total, note=f"{clock.rate(done):.1f} {unit}/s {note}")

            yield show
        return
    clock = _Clock()

    def line(done: int, total: int, note: str = "") -> None:
        rate = clock.rate(done)
        if clock.due() or done == total:
            left = (total - done) / rate if rate else 0.0
            print(
                f"{name}: {done}/{total} {unit}, {rate:.1f} {unit}/s, {left:.0f} s left {note}".rstrip(),
                file=sys.stderr,
            )

    yield line


class _Clock:
    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._first: int | None = None

    def rate(self, done: int) -> float:
        if self._first is None:
            self._first = done
        return (done - self._first) / max(1e-9, time.monotonic() - self._start) if done > self._first else 0.0

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < _EVERY:
            return False
        self._last = now
        return True
