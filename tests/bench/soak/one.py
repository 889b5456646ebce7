"""Measure one drawn load in a process of its own; say what does not hold."""

import faulthandler
import os
import signal
import sys
import threading

import psutil
from draw import drawn

from triton_kit.loadtest.loops.load import ClosedLoad, ScheduleLoad
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec

# A load of 200 requests of which every one runs into its timeout takes longer.
ENDS_WITHIN_S = 300
_FREE_WITHIN_S = 8
# The model answers the rest with an error, on purpose.
_REFUSALS = {"moody": {"gRPC INTERNAL", "stream error", "HTTP 500"}}
_LAST_IDS = 2**62


def run(order):
    """Measure; None where Ctrl-C came too early or too late for a result."""
    timer = None
    if order.interrupt_s is not None:
        kill = (os.getpid(), signal.SIGINT)
        timer = threading.Timer(order.interrupt_s, os.kill, kill)
        timer.start()
    try:
        return measure(order.spec)
    except KeyboardInterrupt:
        return None
    finally:
        if timer is not None:
            timer.cancel()


def faults(order, result):
    """Yield what is wrong with a result."""
    spec = order.spec
    if result.was_interrupted:
        return
    for measured in result.runs:
        errors = {kind: e.count for kind, e in measured.recording.errors.items()}
        for refusal in _REFUSALS.get(spec.model, ()):
            errors.pop(refusal, None)
        if order.is_patient and errors:
            yield f"errors: {errors}"
        asked, got = spec.request_count, measured.total
        is_short = isinstance(spec.loads[0], ScheduleLoad) and got < (asked or 0)
        if asked is not None and got != asked and not is_short:
            yield f"{asked} requests were asked for, {got} sent"
        # The ends of sequences count nowhere but in the server.
        if order.is_patient and spec.sequences is None and measured.server:
            counted = measured.server[0].requests + measured.server[0].failed
            if counted != got:
                yield f"the server counted {counted} requests, not {got}"


def server_faults(seed, url):
    """Yield what a run has left in the server that must not be there."""
    sequences = Sequences(length=3, first_id=_LAST_IDS + seed * 10)
    [measured] = measure(
        PerfSpec(
            url=url,
            protocol="grpc",
            model="counter",
            loads=(ClosedLoad(4),),
            request_count=16,
            warm_up_s=0,
            request_timeout_s=_FREE_WITHIN_S,
            sequences=sequences,
        )
    ).runs
    if measured.recording.errors:
        yield f"sequences were left in the server: {measured.recording.errors}"


def main():
    seed, grpc_url, http_url = int(sys.argv[1]), *sys.argv[2:]
    faulthandler.dump_traceback_later(ENDS_WITHIN_S, exit=True)
    order = drawn(seed, grpc_url, http_url)
    print(order, flush=True)
    result = run(order)
    found = list(faults(order, result)) if result is not None else []
    if psutil.Process().children():
        found.append("a process was left behind")
    if order.spec.model == "counter":
        found += server_faults(seed, grpc_url)
    for fault in found:
        print(f"FAULT {fault}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
