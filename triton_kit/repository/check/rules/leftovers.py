"""What was forgotten in a model's folder or file: warnings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from triton_kit.errors import nearest
from triton_kit.repository.check.findings import WARNING
from triton_kit.repository.check.folder import CONFIG_NAME, ModelFolder
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.textfile import unreadable
from triton_kit.repository.config.places import Place

# The Python backend itself replaces $$TRITON_MODEL_DIRECTORY.
_UNFILLED = re.compile(r"(?<!\$)\$\{\w[^}\n]*\}|\{\{[^}\n]*\}\}")
_LABELS_READ_BYTES = 1 << 20


def check_leftovers(case: Case) -> Problems:
    """K22 to K24."""
    yield from _config_names(case)
    yield from _unfilled(case)
    yield from _label_counts(case)


def _config_names(case: Case) -> Problems:
    if case.parsed is not None:
        return
    other = nearest(CONFIG_NAME, case.folder.files)
    if other is not None:
        yield Problem(
            "K22",
            message=f"{other} is not read: the server looks for {CONFIG_NAME}",
            hint=f"rename it to {CONFIG_NAME}",
            severity=WARNING,
            file=case.folder.path / other,
        )


def _unfilled(case: Case) -> Problems:
    """Find template variables in values that the server takes for plain text."""
    if case.parsed is None:
        return
    places = case.parsed.places
    for found in _UNFILLED.finditer(places.source):
        line = places.lines.place(found.start())
        before = places.lines.line(line[0])[: line[1] - 1]
        if "#" in before:
            continue  # most likely a comment
        yield Problem(
            "K23",
            message=f"{found[0]} was not filled in: the server takes it as it is",
            hint="render the file before it is published",
            severity=WARNING,
            file=case.folder.config_path,
            place=Place(*line),
        )


def _label_counts(case: Case) -> Problems:
    for number, output in enumerate(case.config.output):
        path = case.folder.path / (output.label_filename or ".")
        if not output.label_filename or len(output.dims) != 1 or not path.is_file():
            continue
        if unreadable(path) or path.stat().st_size > _LABELS_READ_BYTES:
            continue
        labels = len(path.read_bytes().splitlines())
        if output.dims[0] > 0 and labels != output.dims[0]:
            yield Problem(
                "K24",
                at=("output", number, "label_filename"),
                message=f"{output.label_filename} has {labels} labels for "
                f"{output.dims[0]} values of {output.name!r}",
                hint="write one label a line, in the order of the values",
                severity=WARNING,
            )


def where_models_are(folder: ModelFolder) -> Sequence[str]:
    """Return the subfolders that look like models: the level above was named."""
    return [
        name for name in folder.subfolders if CONFIG_NAME in folder.content_of(name)
    ]
