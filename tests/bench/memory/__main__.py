"""`scripts/bench memory`: what a conversion of a large model takes, beside its size.

A stack of products of random weights (or, with --convolutions, a network of ResNet-50's
size) is written by a child process, then converted by the command line. The figures are
the peak over time of the memory of all its processes: their shares of what they share
(PSS), and what each has resident (RSS, shared pages several times).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

MAKE = Path(__file__).parent / "make.py"
PRECISIONS = ("fp32", "fp16")
MIB = 2**20


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench memory", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the weights")
    parser.add_argument("--beside", action="store_true", help="weights in a file apart")
    parser.add_argument("--convolutions", action="store_true")
    parser.add_argument("--precision", nargs="*", default=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--python",
        nargs="*",
        default=[sys.executable],
        help="Pythons whose kits are measured in turns, such as one of an older commit",
    )
    return parser.parse_args()


class Watch:
    """Follows a process and its children until it ends."""

    def __init__(self, process):
        self.process = process
        self.pss_bytes = self.rss_bytes = 0
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self):
        root = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            found = [memory(one) for one in family(root)]
            self.pss_bytes = max(self.pss_bytes, sum(pss for pss, _ in found))
            self.rss_bytes = max(self.rss_bytes, sum(rss for _, rss in found))
            time.sleep(0.02)

    def wait(self):
        code = self.process.wait()
        self._thread.join()
        return code


def family(root):
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def memory(process):
    """Return PSS and RSS in bytes; 0 of a process that ended."""
    sizes = {}
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0, 0
    for line in text.splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name] = int(size) * 1024
    return sizes.get("Pss:", 0), sizes.get("Rss:", 0)


def measured(python, source, shape, precision, folder):
    argv = [python, "-m", "triton_kit", "convert", str(source), "-o", str(folder)]
    argv += ["--precision", precision, "--shape", shape, "--json"]
    began_s = time.monotonic()
    with (folder.parent / "log").open("w+") as log:
        watch = Watch(subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT))
        code = watch.wait()
        log.seek(0)
        text = log.read()
    size = sum(p.stat().st_size for p in source.parent.glob("source.onnx*"))
    row = {
        "python": python,
        "precision": precision,
        "source_mib": round(size / MIB),
        "pss": round(watch.pss_bytes / size, 2),
        "rss": round(watch.rss_bytes / size, 2),
        "pss_mib": round(watch.pss_bytes / MIB),
        "seconds": round(time.monotonic() - began_s, 1),
    }
    return row if code == 0 else row | {"failed": text[-500:]}


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="triton-kit-bench-") as name:
        folder = Path(name)
        source = folder / "source.onnx"
        kind = "convolutions" if options.convolutions else "products"
        where = "beside" if options.beside else "inside"
        argv = [sys.executable, MAKE, source, str(options.mib), kind, where]
        shape = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        for number in range(options.rounds):
            for precision in options.precision:
                for index, python in enumerate(options.python):
                    out = folder / f"{number}-{precision}-{index}"
                    row = measured(python, source, shape.strip(), precision, out)
                    sys.stdout.write(json.dumps(row) + "\n")
                    sys.stdout.flush()
                    subprocess.run(["rm", "-rf", out], check=True)


if __name__ == "__main__":
    main()
