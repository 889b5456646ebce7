"""`scripts/bench soak`: random loads on a real server; says which do not hold.

A load must end in time, send what was asked, lose no request, agree with the server's
own counts, and leave neither processes nor sequences behind, Ctrl-C or not. Each is
drawn from a seed, which repeats it.

The embedded 24.10 has a fault of its own that may show: a decoupled Python model
(`repeat`) hangs for good while it sends, seen in two of about a hundred loads of it.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from triton_kit.process import describe_exit, tail
from triton_kit.serving.access import Access
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "server" / "perf_models"


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="default: 10")
    parser.add_argument("--seed", type=int, default=1, help="of the first load")
    parser.add_argument("--only", action="store_true", help="the first load alone")
    return parser.parse_args()


def holds(seed, server):
    """Run one load; print it and what was said where something does not hold."""
    urls = (server.grpc_url, server.http_url)
    argv = [sys.executable, str(HERE / "one.py"), str(seed), *urls]
    began_s = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    took_s = time.monotonic() - began_s
    if done.returncode == 0:
        print(f"seed {seed}: holds, {took_s:.1f} s", flush=True)
        return True
    print(f"seed {seed}: DOES NOT HOLD, {took_s:.1f} s, exit code {done.returncode}")
    print(done.stdout, done.stderr, sep="", flush=True)
    return False


def seeds_of(asked):
    """Yield seeds until the time is over; one at least."""
    ends_s = time.monotonic() + asked.minutes * 60
    yield asked.seed
    if not asked.only:
        for seed in itertools.count(asked.seed + 1):
            if time.monotonic() > ends_s:
                return
            yield seed


def has_died(server, log):
    """Whether a server is gone; says how it ended."""
    code = server.process.poll()
    if code is not None:
        print(f"the server died: {describe_exit(code)}", tail(log), sep="\n")
    return code is not None


def main():
    asked = arguments()
    names = tuple(sorted(m.name for m in MODELS.iterdir() if m.name != "broken"))
    held, died = {}, 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        log = Path(folder) / "server.log"
        spec = ServeSpec(
            repository=MODELS,
            model_control="explicit",
            models=names,
            log=log,
            access=Access(client_shared_memory=True),
        )
        server = stack.enter_context(running(spec))
        for seed in seeds_of(asked):
            held[seed] = holds(seed, server)
            if has_died(server, log):
                died += 1
                stack.close()
                server = stack.enter_context(running(spec))
    broken = [seed for seed, does_hold in held.items() if not does_hold]
    print(
        f"{len(held)} loads, {len(broken)} of which do not hold: {broken or 'none'}; "
        f"the server died {died} times"
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
