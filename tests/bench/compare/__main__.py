"""Real pairs of results: how often does `compare` see a change that is not there, and
one that is? Usage: scripts/bench compare [--pairs N] [--repeats N] [--minutes M].

A run goes on with the pairs that --output has, so that many short ones will do. Each
pair is `perf --repeat N` twice, one after the other, on one embedded server: the
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
PAIRS = {"same": "nap", "slower": "nap_slower"}


def main():
    """Measure pairs until there are enough, or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--window-s", type=float, default=0.3)
    parser.add_argument("--output", type=Path, default=Path("build/compare.jsonl"))
    given = parser.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    done = counts(given.output, given)
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        write_nap(repository, "nap", 0.01)
        write_nap(repository, "nap_slower", 0.011)
        with tk.serve(repository) as server:
            while min(of_all for _, of_all in done.values()) < given.pairs:
                if time.monotonic() - begin > 60 * given.minutes:
                    break
                for kind, after in PAIRS.items():
                    found = outcomes(server, after, given)
                    row = {"kind": kind, "outcomes": found, **settings(given)}
                    with given.output.open("a") as file:
                        print(json.dumps(row), file=file)
                done = counts(given.output, given)
    for kind, (found, of_all) in done.items():
        print(f"{kind}: a difference in {found} of {of_all} pairs")


def settings(given):
    """Return what a pair was measured with: others are not counted."""
    return {"repeats": given.repeats, "window_s": given.window_s}


def counts(path, given):
    """Return, of each kind, how many pairs of the file differ, of how many."""
    text = path.read_text() if path.is_file() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    mine = [row for row in rows if settings(given).items() <= row.items()]
    found = {}
    for kind in PAIRS:
        differs = [
            any(word != "no difference found" for word in row["outcomes"])
            for row in mine
            if row["kind"] == kind
        ]
        found[kind] = (sum(differs), len(differs))
    return found


def outcomes(server, after, given):
    """Return what `compare` says of one pair."""
    results = [
        tk.perf(
            tk.PerfSpec(
                url=server.http_url,
                model=model,
                loads=(tk.ClosedLoad(2),),
                measurement_interval_s=given.window_s,
                warm_up_s=0.2,
                repeats=given.repeats,
            )
        )
        for model in ("nap", after)
    ]
    comparison = tk.compare(*results, figures=FIGURES, allow_differences=True)
    [load] = comparison.loads
    return [d.outcome for d in load.differences if d.figure in FIGURES]


if __name__ == "__main__":
    main()
