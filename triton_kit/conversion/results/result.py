"""A result becomes a manifest, and a manifest a result again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from triton_kit.conversion.onnx.sparsity import SparsityReport
from triton_kit.conversion.results.manifest import (
    SCHEMA,
    accuracy_facts,
    as_text,
    finite_facts,
    sha256,
    size_facts,
    spec_facts,
    tool_versions,
)
from triton_kit.conversion.spec import (
    Accuracy,
    ConvertResult,
    ConvertSpec,
    GraphSize,
    OutputAccuracy,
    TriedPrecision,
)
from triton_kit.tensors import Tensor, data_type

Json = Any
_INFINITE_IF_NULL = ("snr_db", "worst_row_snr_db", "worst_slice_snr_db")


def manifest_facts(
    result: ConvertResult,
    spec: ConvertSpec,
    files: Sequence[Path],
    *,
    source: Mapping[str, str],
    engine: Mapping[str, Json] | None,
    sparsity: SparsityReport | None,
) -> dict[str, Json]:
    """Return what the manifest says: no clock, no place of this machine.

    Args:
        result: its `artifact` names the files.
        files: as they will lie beside the manifest.
        source: digests of the source's files.
        engine: what an engine says of itself.
        sparsity: what pruning did.
    """
    facts = {
        "schema": SCHEMA,
        "artifact": result.artifact.name,
        "format": result.format,
        "precision": result.precision,
        "files": {
            file.name: {"sha256": sha256(file), "bytes": file.stat().st_size}
            for file in files
        },
        "source": {"name": _name(spec.source), "files": dict(source)},
        "spec": spec_facts(spec),
        "tools": tool_versions(),
        "engine": dict(engine) if engine else None,
        "inputs": [_tensor(t) for t in result.inputs],
        "outputs": [_tensor(t) for t in result.outputs],
        "before": size_facts(result.before),
        "after": size_facts(result.after),
        "accuracy": accuracy_facts(result.accuracy),
        "kept_fp32": dict(result.kept_fp32),
        "sparsity": asdict(sparsity) if sparsity else None,
        "tried": [finite_facts(asdict(row)) for row in result.tried],
        "notes": list(result.notes),
    }
    plain: dict[str, Json] = json.loads(as_text(facts))  # as a reader will find it
    return plain


def _name(source: Path | str) -> str:
    return source.name if isinstance(source, Path) else source


def _tensor(tensor: Tensor) -> dict[str, Json]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
    }


def result_from_manifest(
    facts: Mapping[str, Json], spec: ConvertSpec, *, seconds: float
) -> ConvertResult:
    """Return the result that a manifest was made from, as taken from the cache."""
    return ConvertResult(
        artifact=spec.output,
        format=facts["format"],
        precision=facts["precision"],
        inputs=tuple(map(_read_tensor, facts["inputs"])),
        outputs=tuple(map(_read_tensor, facts["outputs"])),
        before=GraphSize(**facts["before"]),
        after=GraphSize(**facts["after"]),
        accuracy=_read_accuracy(facts["accuracy"]),
        kept_fp32=facts["kept_fp32"],
        notes=tuple(facts["notes"]),
        tried=tuple(map(_read_tried, facts.get("tried", ()))),
        from_cache=True,
        seconds=seconds,
        manifest=facts,
    )


def _read_tensor(facts: Mapping[str, Json]) -> Tensor:
    return Tensor(
        name=facts["name"],
        dtype=data_type(facts["dtype"]),
        shape=tuple(facts["shape"]),
    )


def _read_tried(facts: Mapping[str, Json]) -> TriedPrecision:
    spread = facts["spread_s"]
    return TriedPrecision(**{**facts, "spread_s": tuple(spread) if spread else None})


def _read_accuracy(facts: Mapping[str, Json]) -> Accuracy:
    return Accuracy(
        outputs=tuple(_read_output(output) for output in facts["outputs"]),
        points=tuple(facts["points"]),
        method=facts["method"],
        runtime_level=facts["runtime_level"],
        notes=tuple(facts["notes"]),
        agreements=facts.get("agreements", {}),
        data=facts.get("data", ""),
    )


def _read_output(facts: Mapping[str, Json]) -> OutputAccuracy:
    infinite = {
        name: float("inf") for name in _INFINITE_IF_NULL if facts.get(name) is None
    }
    return OutputAccuracy(**{**facts, **infinite})
