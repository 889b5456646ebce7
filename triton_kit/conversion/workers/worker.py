"""The program of every child process: one request in, one response out, both JSON.

    python -P worker.py MODULE

MODULE is a module's name, or its file, with a function `work(request)`. Nothing here
imports the kit: the program also runs in Pythons that lack it.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

Json = Any
Request = dict[str, Json]


def main() -> None:
    """Read a request on stdin, let the module do it, write the response on stdout.

    What libraries print meanwhile, from C++ as well, goes to stderr. An exception ends
    the process with its type and text, which the parent explains.
    """
    request = json.load(sys.stdin)
    response = os.dup(1)
    os.dup2(2, 1)
    try:
        result = _work_of(sys.argv[1])(request)
    except Exception as error:  # a supervisor's border
        sys.exit(f"{type(error).__name__}: {error}")
    with os.fdopen(response, "w", encoding="utf-8") as stdout:
        json.dump(result, stdout)


def _work_of(module: str) -> Callable[[Request], Json]:
    is_file = module.endswith(".py")
    found = runpy.run_path(module) if is_file else vars(import_module(module))
    work: Callable[[Request], Json] = found["work"]
    return work


def import_named(module: str, folder: Path) -> ModuleType:
    """Import a module that the user named: from `folder` if it is there.

    A worker starts without the current folder on its path. A folder joins the path only
    if it has the module: then the user asked for its code.
    """
    top = module.partition(".")[0]
    if (folder / top).is_dir() or any(folder.glob(f"{top}.*")):
        sys.path.insert(0, str(folder))
    return import_module(module)


if __name__ == "__main__":
    main()
