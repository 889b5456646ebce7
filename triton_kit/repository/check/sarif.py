"""A check's report as SARIF 2.1.0, which GitHub and editors show beside the lines."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any  # JSON has no type of its own
from urllib.parse import quote

from triton_kit.repository.check.findings import ERROR, CheckReport, Finding
from triton_kit.repository.check.rule_texts import rule_text

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# The name that readers of SARIF give to the root of the sources.
_BASE = "SRCROOT"
_WHERE = "All rules are in docs/validation.md of triton-kit."


def as_sarif(report: CheckReport, base: Path | None = None) -> str:
    """Write one SARIF log.

    Args:
        report: the check of a repository.
        base: the folder that addresses are relative to, the root of the checkout; by
            default the current folder.
    """
    root = (base or Path.cwd()).resolve()
    rules = list(dict.fromkeys(finding.rule for finding in report.findings))
    run = {
        "tool": {
            "driver": {
                "name": "triton-kit",
                "version": version("triton_kit"),
                "rules": [_rule(rule, report) for rule in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_BASE: {"uri": f"{root.as_uri().rstrip('/')}/"}},
        "properties": {"tritonServer": report.server, "models": len(report.models)},
        "results": [
            _result(finding, rules.index(finding.rule), root)
            for finding in report.findings
        ],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2)


def _rule(rule: str, report: CheckReport) -> dict[str, Any]:
    found = next(finding for finding in report.findings if finding.rule == rule)
    text = rule_text(rule)
    return {
        "id": rule,
        "shortDescription": {"text": text},
        "help": {
            "text": f"{rule}: {text}. {_WHERE}",
            "markdown": f"**{rule}**: {text}.\n\n{_WHERE}",
        },
        "defaultConfiguration": {"level": _level(found)},
    }


def _level(finding: Finding) -> str:
    return "error" if finding.severity == ERROR else "warning"


def _result(finding: Finding, index: int, root: Path) -> dict[str, Any]:
    text = finding.message
    if finding.hint:
        text += f"\nhint: {finding.hint}"
    if finding.server_text and finding.server_text != finding.message:
        text += f"\nserver: {finding.server_text}"
    artifact, relative = _artifact(finding.path, root)
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": artifact}}
    if region := _region(finding):
        location["physicalLocation"]["region"] = region
    if finding.model:
        logical = {"name": finding.model, "kind": "module"}
        location["logicalLocations"] = [logical]
    at = json.dumps([finding.rule, finding.model, relative, *finding.at])
    print_ = hashlib.sha256(at.encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _level(finding),
        "message": {"text": text},
        "locations": [location],
        # Of the field, not of its line: an alert stays the same when lines move.
        "partialFingerprints": {"tritonKitFinding/v1": print_},
    }


def _artifact(path: Path, root: Path) -> tuple[dict[str, str], str]:
    """Return a file's address below the root; a whole one for a file elsewhere."""
    # Links stay: the name that the user gave is the one in the checkout.
    whole = Path.cwd() / path
    for place in (whole, whole.parent.resolve() / whole.name):
        if ".." not in place.parts and place.is_relative_to(root):
            relative = place.relative_to(root).as_posix()
            return {
                "uri": quote(os.fsencode(relative), "/"),
                "uriBaseId": _BASE,
            }, relative
    whole = whole.parent.resolve() / whole.name
    return {"uri": whole.as_uri()}, str(whole)


def _region(finding: Finding) -> dict[str, int]:
    """Return the place in a file. One without a place is shown at the first line."""
    if finding.line:
        place = {"startLine": finding.line}
        return place | ({"startColumn": finding.column} if finding.column else {})
    return {"startLine": 1} if finding.path.is_file() else {}
