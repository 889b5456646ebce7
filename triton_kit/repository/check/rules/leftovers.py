"""What was forgotten in a model's folder or file: warnings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from triton_kit.errors import nearest
from triton_kit.repository.check.findings import WARNING
from triton_kit.repository.check.folder import CONFIG_NAME, ModelFolder
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.textfile import unreadable
from triton_kit.repository.check.rules.versions import version_number
from triton_kit.repository.config.places import Place

# The Python backend itself replaces $$TRITON_MODEL_DIRECTORY.
_UNFILLED = re.compile(r"(?<!\$)\$\{\w[^}\n]*\}|\{\{[^}\n]*\}\}")
FILE_SYSTEM_FOLDERS = frozenset({"lost+found", "System Volume Information"})
FILE_SYSTEM_HINT = (
    "it belongs to the file system, and the server takes every folder for a model: "
    "use a folder on the volume as repository, not its root"
)
_LABELS_READ_BYTES = 1 << 20


def check_leftovers(case: Case) -> Problems:
    """K22 to K24, K28, P8."""
    yield from _other_configs(case)
    yield from _unfilled(case)
    yield from _label_counts(case)
    for place in case.parsed.not_utf8 if case.parsed else ():
        yield Problem(
            "P8",
            message="the string is not UTF-8: clients that read it as JSON fail",
            hint="save the file as UTF-8",
            severity=WARNING,
            file=case.folder.config_path,
            place=place,
        )


def _other_configs(case: Case) -> Problems:
    """K22, K28: a config by another name, or in a version's folder."""
    if case.parsed is None:
        other = misnamed_config(case.folder)
        if other is not None:
            yield Problem(
                "K22",
                message=f"{other} is not read: the server looks for {CONFIG_NAME}",
                hint=f"rename it to {CONFIG_NAME}",
                severity=WARNING,
                file=case.folder.path / other,
            )
    for name in case.folder.subfolders:
        if version_number(name) is not None and CONFIG_NAME in case.folder.content_of(
            name
        ):
            yield Problem(
                "K28",
                message=f"the config in version folder {name} is not read",
                hint=f"move it to {case.folder.path}",
                severity=WARNING,
                file=case.folder.path / name / CONFIG_NAME,
            )


def misnamed_config(folder: ModelFolder) -> str | None:
    """Return the file that was most likely meant to be the config."""
    return next(
        (name for name in sorted(folder.files) if name.lower() == CONFIG_NAME),
        nearest(CONFIG_NAME, folder.files),
    )


def _unfilled(case: Case) -> Problems:
    """K23: template variables in values that the server takes for plain text."""
    if case.parsed is None:
        return
    places = case.parsed.places
    found = []
    for match in _UNFILLED.finditer(places.source):
        line = places.lines.place(match.start())
        before = places.lines.line(line[0])[: line[1] - 1]
        if "#" not in before:  # else most likely a comment
            found.append((match[0], Place(*line)))
    if not found:
        return
    text, place = found[0]
    count = f" and {len(found) - 1} more" if len(found) > 1 else ""
    verb = "were" if count else "was"
    yield Problem(
        "K23",
        message=f"{text}{count} {verb} not filled in: the server takes text as it is",
        hint="render the file before it is published",
        severity=WARNING,
        file=case.folder.config_path,
        place=place,
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
