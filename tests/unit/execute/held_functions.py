"""What the tests have processes hold; these import it by PYTHONPATH."""

import os
import signal
import time
from contextlib import contextmanager

import psutil

from triton_kit.errors import VerifyError
from triton_kit.process import start_service


@contextmanager
def child(folder):
    """Hold a child process, as a server is one; a file says that it was closed."""
    path = folder / str(os.getpid())
    log = path.with_suffix(".log")
    with start_service(["sleep", "1000"], log=log, stop_within_s=5) as service:
        # Before the program runs, the kernel does not end it with this process.
        while psutil.Process(service.pid).name() != "sleep":
            time.sleep(0.01)
        try:
            yield service.pid, call
        finally:
            path.write_text("closed")


@contextmanager
def nothing(_):
    """Fail to hold anything."""
    raise VerifyError("wrong", hint="right")
    yield


def call(word):
    """Do what the word says."""
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "fail":
        raise VerifyError("wrong", hint="right")
    if word == "sleep":
        time.sleep(1000)
    if word == "gpus":
        return os.environ.get("CUDA_VISIBLE_DEVICES")
    if word == "crash":
        raise ZeroDivisionError("nothing to divide by")
    return word, os.getpid(), sorted(os.sched_getaffinity(0))
