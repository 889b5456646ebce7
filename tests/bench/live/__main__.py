"""`scripts/bench live`: what the live view of `triton-kit perf` costs.

Runs the same closed loop with the live view, on a pseudo-terminal, and without (`-q`),
one after the other in rounds. Prints the medians of the ratios of throughput and of the
client's CPU time per request.
"""

import argparse
import json
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "perf"))

from target import MODEL, served

FIGURES = ("requests_per_s", "client_cpu_us_per_request")


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench live", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--backend", choices=["native", "python"], default="python")
    return parser.parse_args()


def measure(options, server, folder, *, is_live):
    """Return the figures of one run, and how much it drew."""
    out = folder / "out.json"
    argv = [sys.executable, "-m", "triton_kit", "perf", "-m", MODEL]
    argv += ["-u", server.http_url.removeprefix("http://"), "--json", str(out)]
    argv += ["--concurrency-range", str(options.concurrency)]
    argv += ["-p", str(round(options.seconds * 1000))]
    ours, theirs = pty.openpty()
    drawn = []
    reader = threading.Thread(target=read_all, args=(ours, drawn))
    reader.start()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"}
    quiet = [] if is_live else ["-q"]
    subprocess.run(
        [*argv, *quiet],
        stdout=theirs,
        stderr=theirs,
        env=environment,
        check=False,
    )
    os.close(theirs)
    reader.join()
    os.close(ours)
    [run] = json.loads(out.read_text())["runs"]
    return [run[name] for name in FIGURES], sum(drawn)


def read_all(terminal, drawn):
    try:
        while data := os.read(terminal, 65536):
            drawn.append(len(data))
    except OSError:
        return  # the other end is closed


def main():
    options = arguments()
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(
            folder / "repository", allocator="system", backend=options.backend
        ) as server:
            measure(options, server, folder, is_live=False)
            for number in range(options.rounds):
                found = {}
                for is_live in (True, False) if number % 2 else (False, True):
                    found[is_live], drawn = measure(
                        options, server, folder, is_live=is_live
                    )
                    if is_live and drawn < 1000:
                        raise SystemExit(f"only {drawn} bytes drawn: no live view")
                pairs = zip(found[True], found[False], strict=True)
                ratios.append([live / quiet for live, quiet in pairs])
                print(number, found, flush=True)
    for name, values in zip(FIGURES, zip(*ratios, strict=True), strict=True):
        low, _, high = statistics.quantiles(values)
        median = statistics.median(values)
        print(f"{name}: with / without {median:.4f} [{low:.4f}-{high:.4f}]")


main()
