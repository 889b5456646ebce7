"""Label files of outputs."""

from __future__ import annotations

import os
from pathlib import Path

from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.textfile import unreadable

# Seen in the source of 26.06; not in 2.51. When it came in between is not known.
_STAYS_INSIDE_SINCE = (2, 70)


def check_labels(case: Case) -> Problems:
    """L1 to L4: each label file is there, a file, and inside the model's folder."""
    labelled = set()
    for number, output in enumerate(case.config.output):
        if not output.label_filename:
            continue
        at = ("output", number, "label_filename")
        if output.name in labelled:
            text = f"multiple label files for '{output.name}'"
            yield Problem("L4", text, at=at, hint="one output is listed twice")
            continue
        labelled.add(output.name)
        path = Path(f"{case.folder.path}/{output.label_filename}")
        if _escapes(path, case.folder.path):
            yield from _outside(case, path, output.name, at)
            if case.target.version >= _STAYS_INSIDE_SINCE:
                continue
        failure = unreadable(path)
        if failure:
            hint = f"make {output.label_filename}, or remove label_filename"
            yield Problem("L1", failure, at=at, hint=hint)
        elif path.is_dir():
            yield Problem(
                "L3",
                at=at,
                message=f"the label file {output.label_filename!r} is a folder: the "
                "server aborts on it",
                hint="name a text file with a label a line",
            )


def _outside(
    case: Case, path: Path, output: str, at: tuple[str | int, ...]
) -> Problems:
    is_error = case.target.version >= _STAYS_INSIDE_SINCE
    text = (
        f"label file path '{path}' for output '{output}' in model '{case.name}' is "
        "outside model directory"
    )
    yield Problem(
        "L2",
        text if is_error else "",
        at=at,
        message=f"the label file of output {output!r} is outside the model's folder",
        hint="copy it into the model's folder: newer servers refuse this",
        severity="error" if is_error else "warning",
    )


def _escapes(path: Path, folder: Path) -> bool:
    parent = os.path.realpath(folder)
    return os.path.commonpath([parent, os.path.realpath(path)]) != parent
