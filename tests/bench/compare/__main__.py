"""Real pairs of results: how often does `compare` see a change that is not there, and
one that is? Usage: scripts/bench compare [--pairs N] [--output FILE].

Each pair is `perf --repeat 5` twice, one after the other, on one embedded server: the
same model twice; and a model that takes 10 ms and one that takes 10 % longer.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tune"))
from models import write_nap

import triton_kit as tk

FIGURES = ("throughput", "p50")


def main():
    """Measure pairs until there are enough, or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--within-s", type=float, default=3600.0)
    parser.add_argument("--window-s", type=float, default=0.3)
    parser.add_argument("--output", type=Path, default=Path("build/compare.jsonl"))
    given = parser.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    counts = {"same": [0, 0], "slower": [0, 0]}
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        write_nap(repository, "nap", 0.01)
        write_nap(repository, "nap_slower", 0.011)
        with tk.serve(repository) as server:
            for _ in range(given.pairs):
                if time.monotonic() - begin > given.within_s:
                    break
                for kind, after in (("same", "nap"), ("slower", "nap_slower")):
                    found = outcomes(server, after, given.window_s)
                    is_found = any(word != "no difference found" for word in found)
                    counts[kind][0] += is_found
                    counts[kind][1] += 1
                    with given.output.open("a") as file:
                        print(json.dumps({"kind": kind, "outcomes": found}), file=file)
    for kind, (found, of_all) in counts.items():
        print(f"{kind}: a difference in {found} of {of_all} pairs")


def outcomes(server, after, window_s):
    """Return what `compare` says of one pair."""
    results = [
        tk.perf(
            tk.PerfSpec(
                url=server.http_url,
                model=model,
                loads=(tk.ClosedLoad(2),),
                measurement_interval_s=window_s,
                warm_up_s=0.2,
                repeats=5,
            )
        )
        for model in ("nap", after)
    ]
    comparison = tk.compare(*results, figures=FIGURES, allow_differences=True)
    [load] = comparison.loads
    return [d.outcome for d in load.differences if d.figure in FIGURES]


if __name__ == "__main__":
    main()
