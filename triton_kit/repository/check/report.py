"""A check's report as text for people, as JSON, and as annotations on GitHub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any  # JSON has no type of its own

from triton_kit.repository.check.findings import ERROR, CheckReport, Finding


def as_text(report: CheckReport) -> str:
    """Write one block a finding, as compilers do, and a last line that sums up."""
    return "\n".join([*_blocks(report), summary(report)])


def _blocks(report: CheckReport) -> Iterator[str]:
    for finding in report.findings:
        yield f"{finding.place}: {finding.severity} {finding.rule}: {finding.message}"
        if finding.hint:
            yield f"  hint: {finding.hint}"
        if finding.server_text and finding.server_text != finding.message:
            yield f"  server: {finding.server_text}"


def summary(report: CheckReport) -> str:
    """Return the verdict in one line."""
    models = len(report.models)
    rejected = len(report.rejected_models())
    verdict = "all accepted" if report.accepted else f"{rejected} rejected"
    counts = f"{_count(len(report.errors), 'error')}, "
    counts += _count(len(report.warnings), "warning")
    return f"{_count(models, 'model')}: {verdict} by Triton {report.server} ({counts})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def as_json(report: CheckReport) -> str:
    """Write one JSON object, with all that a finding has."""
    rejected = set(report.rejected_models())
    whole = {
        "root": str(report.root),
        "server": report.server,
        "accepted": report.accepted,
        "models": [
            {"name": name, "accepted": name not in rejected} for name in report.models
        ],
        "findings": [finding_as_json(finding) for finding in report.findings],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False)


def finding_as_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as a JSON object."""
    return {
        "model": finding.model,
        "rule": finding.rule,
        "severity": finding.severity,
        "path": str(finding.path),
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "hint": finding.hint,
        "server_text": finding.server_text,
    }


def as_github(report: CheckReport) -> str:
    """Write workflow commands, which GitHub shows beside the lines of a change."""
    lines = []
    for finding in report.findings:
        level = "error" if finding.severity == ERROR else "warning"
        title = f"{finding.rule} {finding.model}".strip()
        places = {"file": str(finding.path), "title": title}
        if finding.line:
            places |= {"line": str(finding.line), "col": str(finding.column)}
        properties = ",".join(f"{k}={_escaped(v, ':,')}" for k, v in places.items())
        text = finding.message + (f"\nhint: {finding.hint}" if finding.hint else "")
        lines.append(f"::{level} {properties}::{_escaped(text)}")
    return "\n".join([*lines, summary(report)])


def _escaped(text: str, more: str = "") -> str:
    for char in f"%\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text


FORMATS = {"text": as_text, "json": as_json, "github": as_github}
