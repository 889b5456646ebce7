"""Agreement on a task, and by the user's own comparison, is required of an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from triton_kit.conversion.onnx.passes import user_folder
from triton_kit.conversion.verify.compare import missed
from triton_kit.conversion.verify.tasks import agreement
from triton_kit.conversion.workers.child import call_worker, hint, reason
from triton_kit.conversion.workers.samples import Outputs, write_arrays
from triton_kit.errors import SpecError, VerifyError
from triton_kit.options.conversion import Gate

Json = Any


def required_agreements(
    gate: Gate,
    original: Sequence[Outputs],
    candidate: Sequence[Outputs],
    *,
    root: Path | None,
    scratch: Path,
    timeout_s: float,
) -> dict[str, float]:
    """Return the agreements that a gate asks for, by name.

    Raises:
        VerifyError: one is below the gate's, or cannot be computed.
    """
    found: dict[str, float] = {}
    if gate.task:
        found[gate.task] = agreement(gate.task, original, candidate)
    if gate.function:
        found[gate.function] = _by_function(
            gate.function, original, candidate, root, scratch, timeout_s
        )
    for name, share in found.items():
        if not share >= gate.min_agreement:
            raise VerifyError(
                f"{name}: agreement {missed(share, gate.min_agreement, 4)}, "
                f"needs {gate.min_agreement:g}",
                hint="set the agreement that you accept: --min-agreement",
            )
    return found


def refuse_unknown_function(gate: Gate, *, root: Path | None, timeout_s: float) -> None:
    """Find the user's comparison before any work.

    Raises:
        SpecError: there is no such module or function, or it does not import.
    """
    if gate.function:
        _call(gate.function, {"names": [], "count": 0}, root, timeout_s)


def refuse_unusable(
    gate: Gate,
    original: Sequence[Outputs],
    *,
    root: Path | None,
    scratch: Path,
    timeout_s: float,
) -> None:
    """Compare the original's outputs with themselves, before a candidate is made.

    Raises:
        SpecError: the task or the function is not for such outputs, or requires more
            than equal outputs give.
    """
    try:
        required_agreements(
            gate, original, original, root=root, scratch=scratch, timeout_s=timeout_s
        )
    except VerifyError as error:
        raise SpecError(
            f"the original's outputs, compared with themselves: {error.message}",
            hint=error.hint,
        ) from error


def _by_function(
    name: str,
    original: Sequence[Outputs],
    candidate: Sequence[Outputs],
    root: Path | None,
    scratch: Path,
    timeout_s: float,
) -> float:
    folders = {"original": scratch / "compared", "candidate": scratch / "comparison"}
    for folder, outputs in zip(folders.values(), (original, candidate), strict=True):
        folder.mkdir(exist_ok=True)
        for index, arrays in enumerate(outputs):
            write_arrays(folder / f"output_{index}.npz", list(arrays.values()))
    request = {side: str(folder) for side, folder in folders.items()} | {
        "names": list(original[0]),
        "count": len(original),
    }
    share = _call(name, request, root, timeout_s)
    return share if isfinite(share) else 0.0


def _call(name: str, request: Json, root: Path | None, timeout_s: float) -> float:
    response = call_worker(
        "verify.function_worker",
        request | {"function": name, "root": user_folder(root)},
        timeout_s=timeout_s,
        failed=lambda done: VerifyError(
            f"verify function {name!r} failed: {reason(done)}", hint=hint(done)
        ),
    )
    if refused := response["refused"]:
        raise SpecError(refused)
    return float(response["agreement"])
