"""Which branches of a graph the verification inputs never took."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto, ValueInfoProto

from triton_kit.conversion.onnx.onnx_file import save_for_worker
from triton_kit.conversion.workers.models import FeedFiles, run_onnx
from triton_kit.errors import VerifyError


def one_sided_branches(
    model: ModelProto, feeds: FeedFiles, *, folder: Path, timeout_s: float
) -> tuple[str, ...]:
    """Return a note for every If whose condition was the same for all inputs.

    Conditions inside of other bodies are not seen.
    """
    conditions = {n.input[0]: n.name for n in model.graph.node if n.op_type == "If"}
    if not conditions:
        return ()
    copy = ModelProto()
    copy.CopyFrom(model)
    there = {output.name for output in copy.graph.output}
    copy.graph.output.extend(
        ValueInfoProto(name=name) for name in conditions if name not in there
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "conditions.onnx"
    save_for_worker(copy, path)
    try:
        runs = run_onnx(path, feeds, level="off", folder=folder, timeout_s=timeout_s)
    except VerifyError:  # such as a condition that is an input
        return ()
    notes = []
    for name, node in conditions.items():
        taken = {bool(run[name].any()) for run in runs}
        if len(taken) == 1:
            branch = "then" if taken.pop() else "else"
            notes.append(
                f"only the {branch} branch of {node!r} ran: the other one is not "
                "verified; give samples that take it (--verify-data)"
            )
    return tuple(notes)
