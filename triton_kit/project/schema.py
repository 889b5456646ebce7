"""The JSON Schema of triton-kit.yaml, for editors."""

from __future__ import annotations

from typing import Any  # JSON has no type of its own

from triton_kit.project.spec import OWN_KEYS, ProjectSpec


def project_schema() -> dict[str, Any]:
    """Return the schema; editors complete and check keys by it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ProjectSpec.model_json_schema(by_alias=True),
        "patternProperties": {f"^{OWN_KEYS}": {}},
        "title": "triton-kit.yaml",
    }
