"""`scripts/bench fuzz [--minutes N] [TARGET...]`: fuzz longer, two targets at once."""

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from fuzz.fuzzing import NAMES, fuzz


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    options = parser.parse_args()
    names = options.targets or NAMES
    seconds = round(options.minutes * 60 * options.at_once / len(names))
    folder = Path(tempfile.mkdtemp(prefix="triton-kit-fuzz-"))
    failed = False
    with ThreadPoolExecutor(options.at_once) as pool:
        outcomes = pool.map(lambda n: fuzz(n, seconds=seconds, folder=folder), names)
        for name, outcome in zip(names, outcomes, strict=True):
            print(
                f"{name:12} {outcome.runs:9} inputs in {seconds} s, "
                f"{outcome.peak_mb} MB at most",
                flush=True,
            )
            if outcome.found:
                failed = True
                print(f"{outcome.found}\n{name}: the input is in {folder}", flush=True)
    sys.exit(failed)


main()
