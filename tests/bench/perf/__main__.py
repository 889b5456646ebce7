"""`scripts/bench perf`: the load harness beside perf_analyzer, wrk and h2load.

All clients load the same server, one at a time, interleaved in rounds; throughput and
CPU are counted from outside, the same way for each. Needs two CPUs and nothing else
that runs; what others used is shown beside every figure.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

import closed
import openloop
import report
import stall
from target import WAITING, Counter, served
from tools import CACHE

from triton_kit.errors import ServerError
from triton_kit.serving.allocator import Allocator, preload

_MOST_INSTANCES = 8


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench perf", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--minutes", type=float, default=45, help="no round begins after this"
    )
    parser.add_argument("--quick", action="store_true", help="2 short rounds")
    parser.add_argument(
        "--only",
        choices=["closed", "open", "stall"],
        action="append",
        help="this part only; may be given several times",
    )
    parser.add_argument(
        "--case",
        choices=[case.name for case in closed.CASES],
        action="append",
        help="of the closed loop, only this; may be given several times",
    )
    parser.add_argument(
        "--allocator",
        choices=get_args(Allocator),
        default=_best_allocator(),
        help="the server's; tcmalloc where it is installed",
    )
    parser.add_argument(
        "--backend",
        choices=["native", "python"],
        default="python",
        help="of the model: the native one leaves more of the machine to the clients "
        "(needs cc)",
    )
    parser.add_argument(
        "--instances",
        type=int,
        default=max(1, min(len(os.sched_getaffinity(0)) // 2, _MOST_INSTANCES)),
        help="of the model; one for two CPUs, which is what it keeps busy, up to eight",
    )
    parser.add_argument(
        "--batches-wait",
        action="store_true",
        help="up to 1 ms for 24 requests: best with two instances and 64 in flight",
    )
    parser.add_argument(
        "--beside",
        metavar="PYTHON",
        help="of the closed loop, only this kit and the one that PYTHON finds",
    )
    parser.add_argument("--out", type=Path, default=CACHE / "results")
    return parser.parse_args()


def _best_allocator():
    try:
        preload("tcmalloc")
    except ServerError:
        return "system"
    return "tcmalloc"


def _cases(names):
    """Return the cases of these names; all where none is given."""
    return [case for case in closed.CASES if not names or case.name in names]


def environment(options):
    return {
        "server_allocator": options.allocator,
        "model_backend": options.backend,
        "model_instances": options.instances,
        "batches_wait": options.batches_wait,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
    }


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main():
    options = arguments()
    deadline_s = time.monotonic() + options.minutes * 60
    rounds = 2 if options.quick else options.rounds
    seconds = 1.0 if options.quick else 2.0
    options.out.mkdir(parents=True, exist_ok=True)
    results = {"environment": environment(options), "rounds": rounds}

    def keep(part, rows):
        results[part] = rows
        text = json.dumps(results, indent=1)
        (options.out / "perf.json").write_text(text + "\n")
        (options.out / "perf.md").write_text(report.markdown(results))

    parts = {
        "closed": partial(
            closed.measure, cases=_cases(options.case), beside=options.beside
        ),
        "open": openloop.measure,
        "stall": stall.measure,
    }
    with tempfile.TemporaryDirectory(prefix="triton-kit-bench-") as folder:
        work = Path(folder) / "work"
        work.mkdir()
        repository = Path(folder) / "repository"
        with served(
            repository,
            allocator=options.allocator,
            backend=options.backend,
            instances=options.instances,
            batcher=WAITING if options.batches_wait else "",
        ) as server:
            counter = Counter(server)
            for name in options.only or parts:
                for rows in parts[name](server, counter, work, rounds, seconds, say):
                    keep(name, rows)
                    if time.monotonic() > deadline_s:
                        break
            counter.close()
    say((options.out / "perf.md").read_text())
    say(f"written to {options.out}")


if __name__ == "__main__":
    main()
