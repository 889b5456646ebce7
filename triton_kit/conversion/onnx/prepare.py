"""The source's graph is read, checked, rewritten by passes and simplified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from onnx import ModelProto

from triton_kit.conversion.onnx.custom_types import add_custom_types
from triton_kit.conversion.onnx.onnx_file import (
    keep_words,
    measure,
    name_nodes,
    words_of,
)
from triton_kit.conversion.onnx.passes import (
    apply_user_passes,
    inline_functions,
    simplify,
    to_opset,
    weights_no_inputs,
)
from triton_kit.conversion.onnx.release_fit import fit_release
from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.onnx.sparsity import SparsityReport, prune_2_4
from triton_kit.conversion.onnx.weight_files import has_apart, write_in_place
from triton_kit.conversion.spec import ConvertSpec, GraphSize
from triton_kit.errors import ConvertError


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The float32 graph that every precision starts from; `before` is its source.

    `file` holds the graph as it is, where one does; `source_file` is the source, for
    processes that only read it.
    """

    model: ModelProto
    before: GraphSize
    source_file: Path
    file: Path | None = None
    notes: tuple[str, ...] = ()
    sparsity: SparsityReport | None = None


def prepare(spec: ConvertSpec, source: SourceModel, scratch: Path) -> Prepared:
    """Run every pass that is not about precision.

    Raises:
        ConvertError: unreadable, not valid ONNX, or a user's pass fails.
    """
    read = source.load()
    # Weights that stay in files are there now: the source is not read again.
    file_of_source = write_in_place(read) if has_apart(read) else source.path
    _check(source.path, file_of_source)
    # Weights may be apart, by any name.
    before = replace(measure(read, source.path), bytes=source.bytes)
    model = weights_no_inputs(inline_functions(read))
    if spec.opset is not None:
        model = to_opset(model, spec.opset)
    keep_words(model, words_of(read))
    model = apply_user_passes(
        model, spec.passes, root=spec.root, scratch=scratch, timeout_s=spec.timeout_s
    )
    notes: tuple[str, ...] = ()
    file: Path | None = None
    if spec.simplify:
        try:
            model, file = simplify(
                model,
                path=source.path if model is read else None,
                scratch=scratch,
                timeout_s=spec.timeout_s,
            )
        except ConvertError as error:
            notes = (f"kept the graph as it was: {error.message}",)
    add_custom_types(model, scratch=scratch, timeout_s=spec.timeout_s)
    fitted = fit_release(model, spec)
    if fitted is not model:
        model, file = fitted, None
    if file is None:
        name_nodes(model)
    report = prune_2_4(model) if spec.sparsity else None
    return Prepared(
        model=model,
        before=before,
        source_file=file_of_source,
        file=None if spec.sparsity else file,
        notes=(*source.notes, *notes),
        sparsity=report,
    )


def _check(source: Path, file: Path) -> None:
    try:
        # Large models are checked by path: their weights are not in the message.
        onnx.checker.check_model(str(file))
    except onnx.checker.ValidationError as error:
        if "No Op registered for" in str(error) or "No opset import" in str(error):
            return  # a custom operator: the runtime has the last word
        first = str(error).strip().splitlines()[0]
        is_double = "used as output names multiple times" in str(error)
        raise ConvertError(
            f"{source}: not a valid ONNX model: {first}",
            hint="two nodes write one value: rename one of them" if is_double else None,
        ) from error
