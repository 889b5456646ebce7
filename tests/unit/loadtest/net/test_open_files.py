"""The limit on open files, in a process of its own: it cannot be raised again."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from triton_kit.loadtest.net.open_files import require_open_files, raise_open_file_limit
from triton_kit.errors import SpecError
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(raise_open_file_limit(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
try:
    require_open_files(wanted)
except SpecError as error:
    print(error.message, error.hint)
"""

# Refused before anything else is looked at, so there need be no server.
SWEEP = """
import resource, sys
from triton_kit.errors import SpecError
from triton_kit.loadtest.run.generator import open_generator
from triton_kit.loadtest.loops.load import ClosedLoad
from triton_kit.loadtest.spec import PerfSpec
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
loads = tuple(ClosedLoad(int(many)) for many in sys.argv[1:])
try:
    with open_generator(PerfSpec(url="x", model="m", loads=loads), models=None):
        pass
except SpecError as error:
    print(error.message)
"""

# An open loop whose 500 requests get no response; each slot has as many connections
# as there are servers.
OPEN_LOOP = """
import resource
from triton_kit.loadtest.loops.load import RateLoad
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.run.generator import LocalLoadGenerator
from triton_kit.loadtest.run.request_source import RequestSource
from triton_kit.loadtest.spec import PerfSpec
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
load = RateLoad(rate_hz=100_000)
class Slots:
    count = 0
    def open(self, slots, sink): self.count = slots
    def grow(self): self.count += 1
    def send(self, slot, request): pass
slots = Slots()
spec = PerfSpec(url="a", more_urls=("b",), model="m", loads=(load,))
with Reactor() as reactor:
    source = RequestSource(requests=[Request(b"")])
    loop = LocalLoadGenerator(spec, reactor, slots, source).open_loop(load)
    loop.begin(count=500)
    reactor.call_at(now_ns() + 100_000_000, reactor.stop)
    reactor.run()
print(slots.count)
"""

SEARCH = """
import resource, sys
from triton_kit.cli.perf import command
from triton_kit.cli.perf.spec import perf_spec
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
words = ["-m", "m", "-l", "5", "--concurrency-range", "10:0:50", *sys.argv[1:]]
options = command.make_context("perf", words).params
print([load.concurrency for load in perf_spec(options).loads])
"""


def said(*arguments, script=SCRIPT):
    argv = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        argv, check=True, capture_output=True, text=True
    ).stdout.splitlines()


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(900, 900, "800 900"), (100, 900, "800 864"), (100, 500, "436 500")],
)
def test_the_limit_is_raised_as_far_as_it_must_and_may(soft, hard, expected):
    assert said(soft, hard, 800)[0] == expected


def test_more_than_the_system_allows_is_refused():
    [_, reason] = said(100, 500, 800)

    assert reason.startswith("800 connections at once, but this process may have 436")
    assert "ulimit -n" in reason


def test_the_room_of_the_last_load_is_demanded_before_the_first():
    [reason] = said(1, 500, 2, script=SWEEP)

    assert reason.startswith("500 connections at once, but this process may have 136")


def test_a_search_without_an_end_goes_as_far_as_there_is_room():
    assert said(script=SEARCH) == ["[10, 60, 110]"]
    assert said("--processes", "2", script=SEARCH) == ["[10, 60, 110, 160, 210, 260]"]


def test_connections_to_all_servers_are_counted():
    assert said("-u", "a", "-u", "b", script=SEARCH) == ["[10, 60]"]
    assert said(script=OPEN_LOOP) == ["68"]
