"""What each rule is about, as docs/validation.md has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from triton_kit.repository.check.findings import SERVER_RULE


def rule_text(rule: str) -> str:
    """Return what a rule, or the few rules that belong together, is about."""
    return _texts().get(rule, rule)


@cache
def _texts() -> Mapping[str, str]:
    file = files("triton_kit.repository.check") / "rule_texts.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    texts = {rule: text for ids, text in rows.items() for rule in ids.split(", ")}
    return texts | {SERVER_RULE: "the embedded server rejects what the check accepts"}
