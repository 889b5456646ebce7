"""What every child of the converter does: read an order, work, answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

Json = Any
Order = dict[str, Json]


def do_order(work: Callable[[Order], Json]) -> None:
    """Read an order on stdin, do it, write the answer as JSON on stdout.

    Whatever libraries print meanwhile, from C++ as well, goes to stderr. An exception
    ends the process with its type and text, which the parent explains.
    """
    order = json.load(sys.stdin)
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        answer = work(order)
    except Exception as error:  # a supervisor's border
        sys.exit(f"{type(error).__name__}: {error}")
    with os.fdopen(answers, "w", encoding="utf-8") as stdout:
        json.dump(answer, stdout)


def import_named(module: str, folder: Path) -> ModuleType:
    """Import a module that the user named: from `folder` if it is there.

    A worker starts without the current folder on its path. A folder joins the path only
    if it has the module: then the user asked for its code.
    """
    top = module.partition(".")[0]
    if (folder / top).is_dir() or any(folder.glob(f"{top}.*")):
        sys.path.insert(0, str(folder))
    return import_module(module)
