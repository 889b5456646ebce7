"""Measure a start: `python measure.py [FOLDER] [OPTION of triton-kit serve ...]`.

Starts a server for the project in FOLDER, waits until every model is ready, and prints
how long that took and how much memory the server and its Python models have resident.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

HERE = Path(__file__).parent


def main() -> None:
    """Print a line of figures."""
    folder, options = HERE, sys.argv[1:]
    if options and not options[0].startswith("-"):
        folder, options = Path(options[0]), options[1:]
    repository = folder / "model_repository"
    words = [sys.executable, "-m", "triton_kit", "serve", str(repository), "--json"]
    begin = time.monotonic()
    with subprocess.Popen([*words, *options], stdout=subprocess.PIPE) as command:
        try:
            line = command.stdout.readline()
            if not line:
                sys.exit("the server did not start")
            taken = time.monotonic() - begin
            models = len(json.loads(line)["models"])
            server = psutil.Process(command.pid).children(recursive=True)
            memory = sum(process.memory_info().rss for process in server)
        finally:
            command.terminate()
    files = [path for path in repository.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(
        f"{models} models ready after {taken:.1f} s in {len(server)} processes, "
        f"{memory / 1e6:.0f} MB resident, repository {size / 1e3:.0f} KB"
    )


if __name__ == "__main__":
    main()
