"""A test whose Triton died under it is run once more, with new servers.

The Python backend (24.10) takes a model's process that had no CPU for a second for
dead, and under load the server does not survive that: issue 8882 of Triton. On a
virtual machine whose host is busy this happens to whichever test runs at the time, and
every later one would meet the dead server. The summary says what was tried
twice.
"""

import re
from contextlib import suppress

import psutil
import pytest
from _pytest.runner import runtestprotocol

# The key of a test's property that says what became of its server.
LOST = "server lost"
_SAID = re.compile(
    r"Stub process '[^']*' is not healthy"
    r"|tritonserver ended (?:while it was in use|before it was ready): "
    r"killed by SIG(?:SEGV|ABRT|BUS)"
    r"|the server's process ended"
)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    where = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**where)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if LOST in dict(item.user_properties):
        with suppress(Exception):  # of fixtures that find their server dead
            # As after the last test, every fixture ends: the session's servers, too.
            item.session._setupstate.teardown_exact(None)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**where)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Look before the fixtures end: with them go the traces."""
    report = yield
    if report.failed and (lost := _said(report) or _dead_server()):
        item.user_properties.append((LOST, lost))
    return report


def pytest_terminal_summary(terminalreporter):
    tried_twice = {
        report.nodeid: dict(report.user_properties)[LOST]
        for reports in terminalreporter.stats.values()
        for report in reports
        if LOST in dict(getattr(report, "user_properties", ()))
    }
    if tried_twice:
        terminalreporter.section("run once more, as Triton died")
    for test, lost in tried_twice.items():
        terminalreporter.line(f"{test}: {lost}")


def _said(report):
    """Return what is told of a dead process, wherever the failure shows it."""
    sections = (text for _, text in report.sections)
    found = _SAID.search("\n".join([report.longreprtext, *sections]))
    return found and found[0]


def _dead_server():
    """Say that a server of ours ended and nobody has asked for its exit status yet."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            is_over = child.status() == psutil.STATUS_ZOMBIE
            if is_over and child.name() == "tritonserver":
                return f"tritonserver {child.pid} ended"
    return None
