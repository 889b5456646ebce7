"""One fuzzing process: `run.py TARGET SECONDS CORPUS [ONE_INPUT]`.

libFuzzer, by atheris, mutates the corpus and follows the coverage of the package. What
it finds ends the process; the input is left in the current folder.
"""

import atexit
import resource
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["triton_kit"]):
    import targets

HANG_S = 10
MOST_BYTES = 1 << 30


def limit_memory():
    """Let the process grow by 1 GiB: an allocation beyond it raises MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main():
    name, seconds, corpus, *one_input = sys.argv[1:]
    target = targets.TARGETS[name]
    atexit.register(targets.clean_up)
    limit_memory()
    with tempfile.TemporaryDirectory() as fresh:
        options = [f"-timeout={HANG_S}", f"-rss_limit_mb={MOST_BYTES >> 20}"]
        options += ["-max_len=16384", f"-max_total_time={seconds}", "-verbosity=0"]
        options += ["-print_final_stats=1", "-use_value_profile=1"]
        where = one_input or [fresh, corpus]
        atheris.Setup([sys.argv[0], *options, *where], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
