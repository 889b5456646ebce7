"""What the tests run as tasks; the processes import it by PYTHONPATH."""

import logging
import os
import signal
import time

from triton_kit.errors import ConvertError, VerifyError


class OwnError(VerifyError):
    """A class that the parent does not know."""


def say(words, _attempt):
    for word in words:
        logging.getLogger("triton_kit.tests").info("%s", word)


def say_and_wait(folder, attempt):
    """Wait until there is a file, after the first stage and before the second."""
    log = logging.getLogger("triton_kit.tests")
    log.info("begin %d", attempt)
    (folder / f"began-{attempt}").touch()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (folder / "go").exists():
        time.sleep(0.05)
    log.info("end %d", attempt)
    return attempt


def million_bytes(letter, _attempt):
    """Return what Ray keeps on the node until the driver takes it."""
    return letter * 1_000_000


def double(number, _attempt):
    return 2 * number


def die_once(folder, attempt):
    if attempt == 1:
        (folder / "half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt


def die(_, _attempt):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(_, _attempt):
    raise OwnError("wrong", hint="right")


def crash(_, _attempt):
    raise ConvertError("broken")
