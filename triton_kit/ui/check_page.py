"""A check's report becomes a page of one file, with the lines that are at fault."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from triton_kit.errors import TritonKitError
from triton_kit.files import read_text
from triton_kit.report.page import render_page
from triton_kit.repository.check.findings import ERROR, CheckReport, Finding
from triton_kit.repository.check.report import summary


def check_page(report: CheckReport) -> str:
    """Write a report as HTML that needs no other file."""
    by_model: dict[str, list[Finding]] = {name: [] for name in report.models}
    general: list[Finding] = []
    for finding in report.findings:
        by_model.get(finding.model, general).append(finding)
    return (
        render_page(
            "ui/validate.html.j2",
            title=f"Check of {', '.join(str(root) for root in report.roots)}",
            summary=[summary(report)],
            general=general,
            rejected=set(report.rejected_models()),
            models=[
                (name, found, sum(finding.severity == ERROR for finding in found))
                for name, found in by_model.items()
            ],
            numbers={name: number for number, name in enumerate(by_model, 1)},
            sources=source_lines(report.findings),
        )
        .encode("utf-8", "replace")
        .decode()
    )  # names of files may be no text


def source_lines(findings: Sequence[Finding]) -> dict[Finding, str]:
    """Return the line at fault of each finding that has one."""
    read = cache(_lines)
    return {
        finding: read(finding.path)[finding.line - 1]
        for finding in findings
        if 0 < finding.line <= len(read(finding.path))
    }


def _lines(path: Path) -> list[str]:
    try:
        return read_text(path).splitlines() if path.is_file() else []
    except TritonKitError:
        return []
