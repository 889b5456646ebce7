"""One of several processes that share a load: does what its parent says.

Commands come on stdin, a JSON object per line. Events leave on stdout: a JSON object
per line, of which a cut is followed by as many bytes as it says. The end of stdin is
the end of the worker, so none outlives its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack
from typing import Any

from triton_kit.errors import TritonKitError
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.open_loop import OpenLoop
from triton_kit.loadtest.loops.scheduling import scheduling_of
from triton_kit.loadtest.record.recording_wire import cut_to_bytes
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.run.sender import Sender, sender_of
from triton_kit.loadtest.run.spec_wire import spec_from_json
from triton_kit.loadtest.run.target import targets_of

_STDIN, _STDOUT = 0, 1
_READ_BYTES = 1 << 16


def tell(what: str, payload: bytes = b"", **more: object) -> None:
    """Send an event to the parent."""
    head = json.dumps({"is": what, "bytes": len(payload)} | more).encode()
    left = memoryview(head + b"\n" + payload)
    while left:
        left = left[os.write(_STDOUT, left) :]


def read_job() -> Any:  # noqa: ANN401  JSON
    """Read the first line of stdin; no other comes before the worker is ready."""
    text = b""
    while not text.endswith(b"\n"):
        data = os.read(_STDIN, _READ_BYTES)
        if not data:
            raise SystemExit
        text += data
    return json.loads(text)


class Worker:
    """Runs one share of each load."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._engine: ClosedLoop | OpenLoop | None = None
        self._has_begun = False
        self._is_over = False
        self._round = 0
        self._unread = b""
        self._scheduling = ExitStack()  # as the load wants it
        sender.reactor.watch(_STDIN, self._on_commands)

    def run(self) -> None:
        """Work until stdin ends."""
        tell("ready")
        while not self._is_over:
            self._sender.reactor.run()
            if self._has_begun and self._engine and self._engine.is_done:
                self._has_begun = False
                tell("done", round=self._round)

    def _on_commands(self, _events: int, _woke_ns: int) -> None:
        data = os.read(_STDIN, _READ_BYTES)
        if not data:
            self._is_over = True
            self._sender.reactor.stop()
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, command: dict[str, Any]) -> None:
        do, engine = command["do"], self._engine
        if do == "load":
            load = self._sender.spec.loads[command["index"]]
            self._scheduling.close()
            real_time = self._sender.spec.real_time
            self._scheduling.enter_context(scheduling_of(load, real_time=real_time))
            self._engine = self._sender.engine(load)
            self._engine.open()
            tell("open")
        elif engine is None:
            raise AssertionError(f"{do} before a load")
        elif do in ("begin", "end_sequences"):
            self._start(engine, command)
        elif do == "cut":
            tell("cut", cut_to_bytes(engine.cut()), sent=engine.sent)
        elif do == "finish":
            engine.finish(command["end_ns"])
        elif do == "abandon":
            engine.abandon(Failure(**command["failure"]))
        elif do == "expire":
            engine.expire(command["before_ns"], Failure(**command["failure"]))
            tell("count", ended=engine.ended, owed=engine.owed)

    def _start(self, engine: ClosedLoop | OpenLoop, command: dict[str, Any]) -> None:
        self._round = command["round"]
        if command["do"] == "begin":
            self._begin(engine, command["at_ns"], command["count"])
        else:
            self._has_begun = True
            engine.end_sequences()
            self._sender.reactor.stop()  # there may have been none

    def _begin(
        self, engine: ClosedLoop | OpenLoop, at_ns: int, count: int | None
    ) -> None:
        def begin() -> None:
            self._has_begun = True
            engine.begin(count=count)
            self._sender.reactor.stop()  # it may have had nothing to send

        if isinstance(engine, OpenLoop):
            self._has_begun = True
            engine.begin(count=count, at_ns=at_ns)
            self._sender.reactor.stop()
        else:
            self._sender.reactor.call_at(at_ns, begin)


def main() -> None:
    """Take a job, and work on it to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what it means
    job = read_job()
    spec = spec_from_json(job["spec"])
    try:
        with (
            targets_of(spec) as targets,
            sender_of(spec, targets, share=(job["index"], job["of"])) as sender,
        ):
            Worker(sender).run()
    except TritonKitError as error:
        kind = type(error).__name__
        tell("error", kind=kind, message=error.message, hint=error.hint)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
