"""One of several processes that share a load; it obeys its parent.

Commands and events (`messages`) travel over the connection whose descriptor is the
first argument. When the parent closes it, or ends, the worker ends.
"""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from triton_kit.errors import TritonKitError
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.open_loop import OpenLoop
from triton_kit.loadtest.loops.scheduling import scheduling_of
from triton_kit.loadtest.net.clock import NS_PER_S, now_ns
from triton_kit.loadtest.record.process_cpu import own_cpu_time
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.run.generator import LocalLoadGenerator, open_generator
from triton_kit.loadtest.run.served_models import fetch_served_models

# A report takes a millisecond or less.
_REPORT_EVERY_NS = NS_PER_S

# Sends events, receives commands; `Any`: pickled objects of several classes.
Parent: TypeAlias = "Connection[Any, Any]"


class Worker:
    """Runs one share of each load."""

    def __init__(self, parent: Parent, generator: LocalLoadGenerator) -> None:
        self._parent = parent
        self._generator = generator
        self._loop: ClosedLoop | OpenLoop | None = None
        self._is_busy = False
        self._is_over = False
        self._round = 0
        self._report_at_ns = 0
        self._ended = self._responses = 0  # reported since the last snapshot
        self._scheduling = ExitStack()  # of the current load
        generator.reactor.watch(parent.fileno(), self._on_commands)

    def run(self) -> None:
        """Work until the parent closes the connection."""
        self._parent.send(messages.Ready())
        while not self._is_over:
            self._generator.reactor.run()
            if self._is_busy and self._loop is not None and self._loop.is_done:
                self._is_busy = False
                self._parent.send(messages.Done(self._round))

    def _on_commands(self, _events: int, _woke_ns: int) -> None:
        try:
            while self._parent.poll():
                self._obey(self._parent.recv())
        except (EOFError, OSError):
            self._is_over = True
            self._generator.reactor.stop()

    def _obey(self, command: messages.Command) -> None:
        if isinstance(command, messages.OpenLoop):
            self._open(command.load_index)
            return
        loop = self._loop
        assert loop is not None, command
        match command:
            case messages.Begin(number, at_ns, count):
                loop.begin(count=count, at_ns=at_ns)
                self._expect_end(number)
            case messages.EndSequences(number):
                loop.end_sequences()
                self._expect_end(number)
            case messages.Finish(end_ns):
                loop.finish(end_ns)
            case messages.Abandon(failure):
                loop.abandon(failure)
            case messages.Expire(before_ns, failure):
                loop.expire(before_ns, failure)
                self._report(loop)
            case messages.TakeSnapshot():
                snapshot = loop.take_snapshot()
                self._parent.send(messages.Taken(snapshot, loop.sent, own_cpu_time()))
                self._ended = self._responses = 0

    def _report(self, loop: ClosedLoop | OpenLoop) -> None:
        """Send what was recorded, and counts.

        Once in a while the parent gets the recording: it has that if we are lost.
        """
        if now_ns() >= self._report_at_ns:
            self._report_at_ns = now_ns() + _REPORT_EVERY_NS
            self._ended += loop.ended
            self._responses += loop.responses
            self._parent.send(messages.Reported(loop.take_snapshot()))
        ended, responses = self._ended + loop.ended, self._responses + loop.responses
        self._parent.send(
            messages.Counts(
                ended, responses, loop.in_flight, loop.backlog, own_cpu_time()
            )
        )

    def _open(self, load_index: int) -> None:
        spec = self._generator.spec
        load = spec.loads[load_index]
        self._scheduling.close()
        self._scheduling.enter_context(scheduling_of(load, real_time=spec.real_time))
        self._loop = self._generator.open_loop(load)
        self._loop.open()
        self._parent.send(messages.Opened(own_cpu_time()))

    def _expect_end(self, number: int) -> None:
        """Report the end of this round; it may have come already."""
        self._round = number
        self._is_busy = True
        self._generator.reactor.stop()


def main() -> None:
    """Receive the job, and work on it until the parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what it means
    parent: Parent = Connection(int(sys.argv[1]))
    job: messages.Job = parent.recv()
    try:
        with (
            fetch_served_models(job.spec) as models,
            open_generator(job.spec, models, share=job.share) as generator,
        ):
            Worker(parent, generator).run()
    except TritonKitError as error:
        kind = type(error).__name__
        parent.send(messages.Failed(kind, error.message, error.hint))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
