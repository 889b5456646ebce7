"""What every child of the converter does: read an order, work, answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
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
