"""Does the tuned model keep what `tune` promised? Usage: scripts/bench tune [ARGS].

Each repeat tunes a model, then measures the default and the best settings again, in
turn, on a new server for each round. A line of JSON for each repeat goes to --output;
times are in seconds. A run leaves out the repeats that --output has, so that many short
ones will do. With --cores repeats on other cores can run beside it.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from models import write_mlp, write_nap, write_pipeline

from triton_kit.loadtest.spec import PerfSpec
from triton_kit.tuning.at_once import TrialsAtOnce
from triton_kit.tuning.budget import parse_budget
from triton_kit.tuning.objective import parse_objective
from triton_kit.tuning.server import kit_server
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.trial import TrialRunner
from triton_kit.tuning.tune import tune

DIGITS = Path(__file__).parents[3] / "model_repository"
# Name -> model, what writes its repository (None: it is there), fields.
CASES = {
    "mlp": (
        "mlp",
        write_mlp,
        (
            "instances=1,2",
            "max_batch_size=8..64",
            "queue_delay_us=off,0,500",
            "threads=0,1",
            "concurrency=16",
        ),
    ),
    "pipeline": (
        "pipeline",
        write_pipeline,
        (
            "nap:instances=1,2,4",
            "nap:queue_delay_us=off,0",
            "mlp:instances=1,2",
            "mlp:queue_delay_us=off,0",
            "concurrency=16",
        ),
    ),
    "nap": ("nap", write_nap, ("instances=1,2,4", "concurrency=8")),
    "digits": ("digits", None, ()),
}
ROUNDS = 6


def main():
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="one repeat alone")
    parser.add_argument("--cores", type=int, help="as tune's --cores-per-trial")
    parser.add_argument("--output", type=Path, default=Path("build/tune.jsonl"))
    parser.add_argument("--noise", type=int, default=0, metavar="N", help=noise.__doc__)
    given = parser.parse_args()
    if given.noise:
        print(noise(given.noise))
        return
    given.output.parent.mkdir(parents=True, exist_ok=True)
    print(f"tune --help: {help_s():.2f} s (median of 5)")
    begin = time.monotonic()
    text = given.output.read_text() if given.output.is_file() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    done = {(row["case"], row["seed"]) for row in rows}
    seeds = range(given.repeats) if given.seed is None else [given.seed]
    for seed in seeds:
        for name in given.case or CASES:
            if (name, seed) in done or time.monotonic() - begin > 60 * given.minutes:
                continue
            row = {"case": name, "seed": seed, **one(name, seed, given)}
            with given.output.open("a") as file:
                print(json.dumps(row), file=file)
            print(json.dumps(row), flush=True)


def noise(count):
    """Measure digits N times, shortly, as it is: by how much do the figures differ?"""
    base = PerfSpec(url="localhost", model="digits")
    with kit_server(DIGITS, "digits") as server:
        runner = TrialRunner(server, base, parse_objective("throughput"), ())
        done = [runner.run({"concurrency": 8}, 1.0) for _ in range(count)]
    spread = {
        name: statistics.stdev(math.log(trial.figures[name]) for trial in done)
        for name in ("throughput", "p50", "p95", "p99")
    }
    return {
        **{name: f"{100 * share:.1f} %" for name, share in spread.items()},
        "measure_s": statistics.median(trial.measure_s for trial in done),
        "cost_s": statistics.median(trial.cost_s for trial in done),
    }


def help_s():
    """Return how long the help takes."""
    times = []
    for _ in range(5):
        begin = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "triton_kit", "tune", "--help"],
            check=True,
            capture_output=True,
        )
        times.append(time.monotonic() - begin)
    return statistics.median(times)


def one(name, seed, given):
    """Tune once, and measure again what was promised."""
    model, write, fields = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository" if write else DIGITS
        if write:
            write(repository)
        spec = TuneSpec(
            model=model,
            repository=repository,
            space=fields,
            budget=parse_budget(f"trials={given.trials}"),
            output=Path(folder) / "out",
            seed=seed,
            at_once=given.cores
            and TrialsAtOnce(parallel=1, cores_per_trial=given.cores),
        )
        begin = time.monotonic()
        result = tune(spec)
        took_s = time.monotonic() - begin
        again = measured_again(spec, result)
    gain = means_ratio(again) - 1
    low = result.gain_interval.low if result.gain_interval else None
    done = [trial for _, trial in result.trials if not trial.failure]
    return {
        "outcome": result.outcome,
        "changes": {k: list(map(str, v)) for k, v in result.changes.items()},
        "promised": result.gain,
        "at_least": low,
        "again": gain,
        "again_values": again,
        "promised_values": {
            "before": confirmed(result, result.decision.baseline),
            "after": confirmed(result, result.decision.best),
        },
        "kept": low is None or gain >= low,
        "trials": len(result.trials),
        "took_s": round(took_s, 1),
        "measure_s": statistics.median(trial.measure_s for trial in done),
        "cost_s": statistics.median(trial.cost_s for trial in done),
        "why": result.why,
    }


def confirmed(result, point):
    """Return the figures of a point in the rounds that confirm the gain."""
    return [
        round(trial.value, 1)
        for ask, trial in result.trials
        if ask.stage == "confirm" and ask.point == point
    ]


def measured_again(spec, result):
    """Return figures of the default and of the best settings, on new servers."""
    values = {"before": [], "after": []}
    if result.best == result.baseline:
        return values
    base = PerfSpec(url="localhost", model=spec.model)
    sides = [("before", result.baseline), ("after", result.best)]
    with kit_server(spec.repository, spec.model) as server:
        server.cores = spec.at_once and spec.at_once.cores_per_trial
        runner = TrialRunner(server, base, parse_objective("throughput"), ())
        for _ in range(ROUNDS):
            server.start_anew()
            for side, settings in sides:
                values[side].append(round(runner.run(settings, 2.0).value, 1))
            sides.reverse()
    return values


def means_ratio(values):
    """Return the mean after over the mean before; 1 where nothing was measured."""
    if not values["after"]:
        return 1.0
    before, after = map(statistics.geometric_mean, values.values())
    return after / before


if __name__ == "__main__":
    main()
