"""The one clock of a measurement: CLOCK_MONOTONIC, in nanoseconds.

Wall time appears only in "when was this measured", never in a duration.
"""

from __future__ import annotations

import ctypes
import os
import time
from types import TracebackType
from typing import Self

NS_PER_S = 1_000_000_000
NS_PER_US = 1_000

now_ns = time.monotonic_ns


def ns(seconds: float) -> int:
    """Convert seconds to whole nanoseconds."""
    return round(seconds * NS_PER_S)


_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("ns", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class AlarmClock:
    """A file descriptor that becomes readable at a set time (timerfd).

    epoll's own timeout counts milliseconds; this one wakes some 50 us late.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(
            time.CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC
        )
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._setting = _Itimerspec()
        self._pointer = ctypes.byref(self._setting)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._fd

    def set(self, due_ns: int) -> None:
        """Ring at `due_ns` of `now_ns`, at once if that is past; 0 is never."""
        value = self._setting.value
        value.seconds, value.ns = divmod(due_ns, NS_PER_S)
        self._libc.timerfd_settime(self._fd, _ABSOLUTE, self._pointer, None)
