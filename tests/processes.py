"""Processes of a test: those that are forked, and may die at any point, and those that end with the test.

They are not forked from the process of the tests itself: gRPC, which tests of etcd load, may wait in its
handler of forks for ever, and locks that threads hold are held in the child, by nobody. multiprocessing has a
server without threads to fork from.
"""

import multiprocessing
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from typing import Any, AnyStr

from .cni_calls import LONG

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["pytest", "tests.cni_calls", "tests.store_contract"])


def fork(work: Callable[..., object], *arguments: Any) -> ForkServerProcess:
    """Do some work, which is a function of a module, in a process that ends with that of the tests."""
    process = _SERVER.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def end_of(process: ForkServerProcess) -> int:
    """Wait for the process: its status, or the number of the signal that ended it, less than zero."""
    process.join(LONG)
    status = process.exitcode
    assert status is not None, f"{process} goes on"
    process.close()
    return status


@contextmanager
def ending(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """Kill a process if it still runs in the end: a test that failed would else wait for it."""
    with process:
        try:
            yield process
        finally:
            process.kill()
