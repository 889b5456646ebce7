"""What the tests run as tasks; the processes import it by PYTHONPATH."""

import os
import signal

from triton_kit.errors import ConvertError, VerifyError


class OwnError(VerifyError):
    """A class that the parent does not know."""


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
