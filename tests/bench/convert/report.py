"""The results as Markdown, with the goals beside them."""

import statistics

import numpy as np
from watch import MIB

QUIET_CORES = 0.25
TORCH, FP32, INT8 = "torch eager", "converted fp32", "converted int8"
LEAST_FP32, LEAST_INT8, MOST_OVERHEAD = 2.0, 3.0, 0.10


def markdown(results):
    """Return the whole report."""
    seen = results["environment"]
    vnni = "with VNNI" if seen["has_vnni"] else "without VNNI"
    parts = [
        "# `scripts/bench convert`",
        f"{seen['measured_at']}, {seen['cpus']} CPUs {vnni}, {seen['threads']} "
        f"threads, torch {seen['torch']}, onnxruntime {seen['onnxruntime']}, "
        f"{results['minutes']:.1f} minutes in all. `foreign` is how many cores other "
        f"processes used; rows with more than {QUIET_CORES} of it prove little.",
        _speed(results),
        _cost(results),
        _accuracy(results),
        "## Goals\n\n" + table(["goal", "measured", ""], list(goals(results))),
    ]
    return "\n\n".join(parts) + "\n"


def _seconds(rows, key="seconds"):
    return [row[key] for row in rows]


def _speed(results):
    head = ["batch", "variant", "median ms", "25 % to 75 %", "x torch eager (95 %)"]
    head += ["x original ONNX", "foreign", "rounds"]
    lines = []
    for batch, variants in results["speed"].items():
        for name, rows in variants.items():
            seconds = _seconds(rows)
            low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
            times, least, most = ratio(_seconds(variants[TORCH]), seconds)
            again = ratio(_seconds(variants["original ONNX"]), seconds)[0]
            lines.append(
                [
                    str(batch),
                    name,
                    f"{middle * 1e3:,.1f}",
                    f"{low * 1e3:,.1f} to {high * 1e3:,.1f}",
                    f"{times:.2f} ({least:.2f} to {most:.2f})",
                    f"{again:.2f}",
                    f"{foreign(rows):.2f}",
                    str(len(rows)),
                ]
            )
    served = [
        f"* {name}: {sum(ops.values())} nodes ({_most(ops)})"
        for name, ops in results["served"].items()
    ]
    return (
        "## Speed\n\n"
        + table(head, lines)
        + "\n\nWhat ONNX Runtime computes once it has optimised at load:\n\n"
        + "\n".join(served)
    )


def _most(ops):
    ranked = sorted(ops.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {op}" for op, count in ranked[:5])


def foreign(rows):
    """Return the mean number of cores that others used, over all rounds."""
    busy = sum(row["foreign_cores"] * row["seconds"] for row in rows)
    return busy / sum(_seconds(rows))


def _cost(results):
    head = ["conversion", "median s", "spread", "CPU s", "spread", "peak MiB"]
    head += ["artifact MiB", "foreign", "runs"]
    sizes = {"fp32": FP32, "int8": INT8, "bare libraries": "original ONNX"}
    lines = []
    for name, rows in by_name(results).items():
        cells = [name]
        for key in ("seconds", "cpu_seconds"):
            found = _seconds(rows, key)
            cells.append(f"{statistics.median(found):.1f}")
            cells.append(f"{min(found):.1f} to {max(found):.1f}")
        peak = max(_seconds(rows, "peak_bytes")) / MIB
        size = results["bytes"][sizes[name]] / MIB
        cells += [f"{peak:,.0f}", f"{size:.1f}", f"{foreign(rows):.2f}"]
        lines.append([*cells, str(len(rows))])
    return (
        "## What it costs\n\nPrograms from start to end, with their children; the peak "
        "is of the largest process. The bare libraries' size is the original's.\n\n"
        + table(head, lines)
    )


def _accuracy(results):
    lines = [
        [
            precision,
            _decibels(output["snr_db"]),
            _decibels(output["worst_row_snr_db"]),
            f"{output['top1_agreement']:.3f}",
            str(found["runtime_level"]),
        ]
        for precision, found in results["accuracy"].items()
        for output in found["outputs"]
    ]
    head = ["precision", "SNR dB", "worst row dB", "top-1 agreement", "level"]
    return "## Accuracy, at the gate's own floors\n\n" + table(head, lines)


def _decibels(found):
    return "no difference" if found is None else f"{found:.1f}"


def by_name(results):
    """Return name -> the runs of that conversion."""
    found = {}
    for row in results["conversions"]:
        found.setdefault(row["name"], []).append(row)
    return found


def goals(results):
    """Yield goal, figure and verdict."""
    for batch, variants in results["speed"].items():
        torch = _seconds(variants[TORCH])
        times = ratio(torch, _seconds(variants[FP32]))[0]
        name = f"batch {batch}: fp32 >= {LEAST_FP32:g} x torch eager"
        yield [name, f"{times:.2f} x", _met(times >= LEAST_FP32)]
        times = ratio(torch, _seconds(variants[INT8]))[0]
        name = f"batch {batch}: int8 >= {LEAST_INT8:g} x torch eager, with VNNI"
        has_vnni = results["environment"]["has_vnni"]
        verdict = _met(times >= LEAST_INT8) if has_vnni else "no VNNI here"
        yield [name, f"{times:.2f} x", verdict]
    runs = by_name(results)
    for key, what in (("cpu_seconds", "CPU"), ("seconds", "wall")):
        ours, bare = (
            statistics.median(_seconds(runs[name], key))
            for name in ("fp32", "bare libraries")
        )
        over = ours / bare - 1
        name = f"overhead over the bare libraries, {what}, < {MOST_OVERHEAD:.0%}"
        yield [name, f"{over:.1%}", _met(over < MOST_OVERHEAD)]


def _met(is_met):
    return "met" if is_met else "**missed**"


def ratio(slow, fast):
    """Return the ratio of medians, and its 95 % interval over rounds (bootstrap)."""
    slow, fast = np.array(slow), np.array(fast)
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(slow), (1000, len(slow)))
    found = np.median(slow[picks], axis=1) / np.median(fast[picks], axis=1)
    low, high = np.percentile(found, [2.5, 97.5])
    return float(np.median(slow) / np.median(fast)), float(low), float(high)


def table(head, lines):
    """Return a Markdown table."""
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])
