"""Several shards at a time, in threads or in processes, that stop soon and keep what they have when told to.

Pillow decodes and resizes without holding the interpreter's lock, so threads are enough where a program merely finds
images missing; DICOM files are parsed in Python, for which processes are needed. Workers import neither torch nor
polars: they start in a fraction of a second and take some 60 MB each.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from typing import Protocol

from wsrpn_vl.data.shards import Done, Job, decode
from wsrpn_vl.errors import DataError

_stop: Event | None = None  # of a worker process


class Runner(Protocol):
    """Does jobs in any order, several at a time. Closed early, it keeps what is decoded by then."""

    def __call__(self, jobs: Sequence[Job]) -> Generator[Done, None, None]:
        """Results as they come."""
        ...


def threads(workers: int) -> Runner:
    """Jobs in threads of this process."""

    def run(jobs: Sequence[Job]) -> Generator[Done, None, None]:
        stop = threading.Event()
        with ThreadPoolExecutor(workers) as pool:
            yield from _results(pool, partial(decode, stopped=stop.is_set), jobs, stop.set)

    return run


def processes(workers: int) -> Runner:
    """Jobs in processes; one needs no second process and runs in a thread, which is as quick to stop."""
    if workers == 1:
        return threads(1)

    def run(jobs: Sequence[Job]) -> Generator[Done, None, None]:
        if not jobs:
            return
        context = get_context("spawn")  # a forked child would inherit whatever threads the caller's libraries started
        stop = context.Event()
        with ProcessPoolExecutor(min(workers, len(jobs)), context, _begin_worker, (stop,)) as pool:
            try:
                yield from _results(pool, _work, jobs, stop.set)
            except BrokenProcessPool:
                raise DataError(
                    "prepare: a worker process died; what is decoded is kept. Guard a script with "
                    "`if __name__ == '__main__':`; where memory ran out, use fewer workers"
                ) from None

    return run


def _results(
    pool: Executor, work: Callable[[Job], Done], jobs: Sequence[Job], stop: Callable[[], None]
) -> Generator[Done, None, None]:
    """Results as they come; when anything ends it early, ``stop()`` is called and what has begun is waited for."""
    waiting = [pool.submit(work, job) for job in jobs]
    try:
        for future in as_completed(waiting):
            yield future.result()
    except BaseException:
        stop()
        pool.shutdown(cancel_futures=True)
        raise


def _begin_worker(stop: Event) -> None:
    """Ctrl-C is the parent's to handle; a worker whose parent was killed ends; libraries use one thread."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _work(job: Job) -> Done:
    assert _stop is not None
    return decode(job, _stop.is_set)
