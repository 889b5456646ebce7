"""Ten networks that packages ship, in every precision: what passes, how large and fast.

One conversion each, with the default gate and the network's task, on samples that
the calibration did not see. What passed runs beside its source, in turns, in this
process.
"""

import json
import statistics
import time

import numpy as np
import report
from networks import CACHE, NETWORKS

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8-dynamic", "fp8", "auto")
CALIBRATION, VERIFICATION = 12, 8  # samples
ROUNDS = 15
CUT = 90  # letters of a refusal


def main(say, out, names=(), *, only_time=False):
    """Convert, time, write the table after every network; return its rows.

    Rows of other networks stay in the table. With `only_time` the artifacts of an
    earlier run are timed again.
    """
    file = out / "networks.json"
    rows = json.loads(file.read_text()) if file.exists() else []
    by_network = {n.name: [r for r in rows if r["network"] == n.name] for n in NETWORKS}
    for network in NETWORKS:
        if names and network.name not in names:
            continue
        if not only_time:
            made = list(conversions(network, CACHE / "converted" / network.name))
            by_network[network.name] = made
        times = timed(network, by_network[network.name])
        for row in by_network[network.name]:
            row["times"] = times.get(row["precision"])
            say(" | ".join(line(row)))
        rows = [row for found in by_network.values() for row in found]
        file.write_text(json.dumps(rows, indent=1) + "\n")
        (out / "networks.md").write_text(markdown(rows))
    return rows


def conversions(network, folder):
    """Yield one row for every precision; the artifacts stay in the folder."""
    from triton_kit.conversion.pipeline import convert
    from triton_kit.conversion.spec import ConvertSpec
    from triton_kit.errors import TritonKitError
    from triton_kit.options.conversion import Calibration, Gate
    from triton_kit.options.shapes import parse_shapes

    folder.mkdir(parents=True, exist_ok=True)
    counts = {"calibration": CALIBRATION, "verification": VERIFICATION}
    for seed, (name, count) in enumerate(counts.items(), 1):
        np.savez(folder / f"{name}.npz", **network.samples(count, seed))
    yield {"network": network.name, "precision": "source", "path": str(network.path())}
    for precision in PRECISIONS:
        began_s = time.monotonic()
        row = {"network": network.name, "precision": precision, "path": None}
        row["path_of_source"] = str(network.path())
        spec = ConvertSpec(
            source=network.path(),
            output=folder / precision / "model.onnx",
            profiles=parse_shapes(network.shapes),
            precision=precision,
            calibration=Calibration(data=folder / "calibration.npz"),
            verify_data=folder / "verification.npz",
            gate=Gate(task=network.task),
        )
        try:
            result = convert(spec)
        except TritonKitError as error:
            yield row | {"refused": error.message, "s": time.monotonic() - began_s}
            continue
        yield row | facts(result) | {"s": time.monotonic() - began_s}


def facts(result):
    """Return what the table says of a conversion."""
    accuracy = result.accuracy
    return {
        "path": str(result.artifact) if accuracy.runtime_level else None,
        "level": accuracy.runtime_level,
        "became": result.precision,
        "snr_db": accuracy.min_snr_db,
        "slice_db": min(
            (out.worst_slice_snr_db for out in accuracy.outputs if out.worst_slice),
            default=None,
        ),
        "agreement": min(accuracy.agreements.values(), default=None),
        "size": result.after.bytes / result.before.bytes,
        "notes": result.notes,
    }


def timed(network, rows):
    """Return precision -> seconds of every round, of all files that run here."""
    from triton_kit.conversion.workers.onnx_worker import open_session
    from triton_kit.conversion.workers.samples import batches
    from triton_kit.options.shapes import parse_shapes

    shapes = {n: b.opt for n, b in parse_shapes(network.shapes)[0].items()}
    samples = network.samples(4, 3)
    scalars = {n: np.asarray(a[0]) for n, a in samples.items() if n not in shapes}
    feed = next(batches(samples, shapes)) | scalars
    sessions = {
        row["precision"]: open_session(str(row["path"]), row.get("level") or "all")
        for row in rows
        if row["path"]
    }
    rng = np.random.default_rng(0)
    seconds = {name: [] for name in sessions}
    for number in range(ROUNDS + 1):
        for name in rng.permutation(list(sessions)):
            began_s = time.perf_counter()
            sessions[name].run(None, feed)
            if number:  # the first one warms up
                seconds[name].append(time.perf_counter() - began_s)
    base = np.array(seconds["source"])
    return {
        name: {
            "median_ms": statistics.median(found) * 1e3,
            "speed": report.ratio(base, found),
        }
        for name, found in seconds.items()
    }


def line(row):
    """Return the cells of one row."""
    cells = [row["network"], row["precision"]]
    if row["precision"] == "source":
        return [*cells, "", "", "", "", f"{row['times']['median_ms']:.1f} ms"]
    if "refused" in row:
        why = row["refused"].removeprefix(f"{row['path_of_source']} as ")
        why = why.removeprefix(f"{row['precision']}: ")[:CUT]
        return [*cells, f"refused: {why}", "", "", "", ""]
    became = row["became"]
    is_chosen = became != row["precision"]
    snr, slices = (decibels(row[key]) for key in ("snr_db", "slice_db"))
    agreement = "" if row["agreement"] is None else f"{row['agreement']:.1%}"
    speed = "no CPU kernels"
    if row["times"]:
        middle, low, high = row["times"]["speed"]
        speed = f"{middle:.2f} ({low:.2f} to {high:.2f})"
    verdict = f"passes{f', as {became}' if is_chosen else ''}, {snr}"
    return [*cells, verdict, slices, agreement, f"{row['size']:.2f}", speed]


def decibels(found):
    """Return a figure in words; None is one that was not judged."""
    if found is None:
        return "none"
    return "equal" if found == float("inf") else f"{found:.1f} dB"


def markdown(rows):
    """Return the table."""
    head = ["network", "precision", "gate", "worst slice", "task", "size", "speed"]
    return report.table(head, [line(row) for row in rows]) + "\n"
