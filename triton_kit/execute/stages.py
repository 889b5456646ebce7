"""The stages of work in another process: logged there, and reported here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Report = Callable[[str], None]
_KIT = logging.getLogger("triton_kit")


def wants_stages() -> bool:
    """Return whether this process logs information, such as stages."""
    return _KIT.isEnabledFor(logging.INFO)


class _Reporter(logging.Handler):
    """Reports each record as a line; the work goes on if that fails."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.INFO)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Report one record."""
        with suppress(Exception):  # the reader may be gone
            self._report(record.getMessage())


@contextmanager
def stages_reported(report: Report | None) -> Iterator[None]:
    """Report what the kit logs in here; None: nothing."""
    if report is None:
        yield
        return
    handler, level = _Reporter(report), _KIT.level
    _KIT.addHandler(handler)
    _KIT.setLevel(logging.INFO)
    try:
        yield
    finally:
        _KIT.setLevel(level)
        _KIT.removeHandler(handler)


@contextmanager
def stages_reworded(reword: Callable[[str], str]) -> Iterator[None]:
    """Change what is logged in here, such as paths that only this machine knows."""

    def change(record: logging.LogRecord) -> bool:
        record.msg, record.args = reword(record.getMessage()), None
        return True

    handlers = _KIT.handlers[:]
    for handler in handlers:
        handler.addFilter(change)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(change)
