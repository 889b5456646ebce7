"""A result in words, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf

from triton_kit.conversion.spec import ConvertResult, OutputAccuracy, TriedPrecision

KEPT_SHOWN = 8


def result_lines(result: ConvertResult) -> list[str]:
    """Return the summary of a result for people, line by line."""
    accuracy = result.accuracy
    before, after = result.before, result.after
    source = "from the cache" if result.from_cache else f"{result.seconds:.1f} s"
    if result.precision is None:
        imported = f"{result.artifact}  prebuilt {result.format}, imported unchanged"
        return [imported, *(f"  note: {note}" for note in result.notes)]
    lines = [
        f"{result.artifact}  {result.precision} {result.format}, {source}",
        f"  size     {_bytes(before.bytes)} -> {_bytes(after.bytes)}"
        f"  ({after.bytes / before.bytes:.2f} x)",
        f"  nodes    {before.nodes} -> {after.nodes}",
    ]
    for output in accuracy.outputs:
        top1 = output.top1_agreement
        lines.append(
            f"  {output.name}: SNR {output.snr_db:.1f} dB, "
            f"largest error {output.max_abs_error:.3g}, cosine {output.cosine:.6f}"
            + ("" if top1 is None else f", top-1 {top1:.2%}")
            + _slice(output)
        )
    for name, share in accuracy.agreements.items():
        lines.append(f"  {name}: agreement {share:.2%}")
    if accuracy.data:
        lines.append(f"  verified on {accuracy.data}")
    if result.format == "onnx":
        level = accuracy.runtime_level or "none on this CPU"
        lines.append(f"  ONNX Runtime may optimise up to level: {level}")
    lines += map(_tried, result.tried)
    if result.kept_fp32:
        lines += _kept(result.kept_fp32)
    return [*lines, *(f"  note: {note}" for note in result.notes)]


def _slice(output: OutputAccuracy) -> str:
    if output.worst_slice is None or isinf(output.worst_slice_snr_db):
        return ""
    return f"; {output.worst_slice} is worst: {output.worst_slice_snr_db:.1f} dB"


def _tried(row: TriedPrecision) -> str:
    figures = []
    if row.seconds is not None and row.spread_s is not None:
        low, high = row.spread_s
        figures.append(
            f"{row.seconds * 1e3:.3g} ms ({low * 1e3:.3g} to {high * 1e3:.3g})"
        )
    if row.bytes is not None:
        figures.append(_bytes(row.bytes))
    if row.snr_db is not None:
        figures.append(f"{row.snr_db:.1f} dB")
    return f"  {row.precision}: {', '.join([*figures, row.why_not or 'chosen'])}"


def _kept(kept: Mapping[str, str]) -> list[str]:
    shown = list(kept.items())[:KEPT_SHOWN]
    lines = [f"  {len(kept)} nodes stay in higher precision:"]
    lines += [f"    {name}: {reason}" for name, reason in shown]
    more = len(kept) - len(shown)
    return [*lines, *([f"    and {more} more (--json)"] if more else [])]


def _bytes(count: int) -> str:
    if count < 1 << 20:
        return f"{count / (1 << 10):.1f} KiB"
    return f"{count / (1 << 20):.1f} MiB"
