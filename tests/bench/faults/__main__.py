"""`scripts/bench faults`: publishers that die, disks that fill, servers under load.

Each part prints one line with its figures, and exits with 1 where something does not
hold. The parts that measure time (`cost`, `verify`) need a machine without other work.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from cost import copies, digests  # noqa: E402
from disks import flips, full_disks  # noqa: E402
from kills import at_once, every_call, random_kills  # noqa: E402
from served import bad_versions, under_load  # noqa: E402

PARTS = {
    "calls": every_call,
    "kills": random_kills,
    "publishers": at_once,
    "full": full_disks,
    "flips": flips,
    "load": under_load,
    "bad": bad_versions,
    "cost": copies,
    "verify": digests,
}


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench faults", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--count", type=int, help="how often; default: as in the docs")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return asked


def main():
    asked = arguments()
    failed = []
    for name in asked.parts or PARTS:
        begin_s = time.monotonic()
        words = {} if asked.count is None else {"count": asked.count}
        with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as folder:
            try:
                text = PARTS[name](Path(folder), seed=asked.seed, **words)
            except AssertionError as error:
                text = f"DOES NOT HOLD: {error}"
                failed.append(name)
        print(f"{name}: {text} ({time.monotonic() - begin_s:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
