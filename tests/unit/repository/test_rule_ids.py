"""The rules in the code are the rules in the docs."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
ID = re.compile(r"\b[PFRVDSCILBGWTANEMKUY]\d{1,2}\b")


def test_every_rule_is_documented():
    sources = (ROOT / "triton_kit" / "repository").rglob("*.py")
    code = "\n".join(path.read_text() for path in sources)
    used = set(re.findall(r'"([PFRVDSCILBGWTANEMKUY]\d{1,2})"', code))
    rows = [
        line.split("|")[1]
        for line in (ROOT / "docs" / "validation.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    documented = {rule for row in rows for rule in ID.findall(row)}

    assert used == documented


def test_the_texts_of_the_rules_are_those_of_the_docs():
    rows = re.findall(
        r"^\| ((?:[A-Z]\d+(?:, )?)+) \| (.*) \|$",
        (ROOT / "docs" / "validation.md").read_text().split("## Rules")[1],
        re.MULTILINE,
    )
    texts = ROOT / "triton_kit" / "repository" / "check" / "rule_texts.json"

    assert json.loads(texts.read_text()) == {
        ids: re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text) for ids, text in rows
    }
