"""The shape of each input of a request, from `--shape` and the model."""

from __future__ import annotations

from collections.abc import Mapping

from triton_kit.errors import SpecError
from triton_kit.tensors import DYNAMIC, Shape, Tensor
from triton_kit.triton.model import ModelInfo


def input_shapes(
    model: ModelInfo,
    wanted: Mapping[str, Shape],
    *,
    batch_size: int,
    may_vary: bool = False,
) -> dict[str, Shape]:
    """Return the shape of each input, without the batch axis.

    `wanted` may give an input's shape with or without the batch axis. With `may_vary`
    the data has shapes of its own, and inputs that are not in `wanted` may vary.

    Raises:
        SpecError: an input is unknown, its shape contradicts the model, or it varies
            and no shape was given.
    """
    known = {tensor.name for tensor in model.inputs}
    for name in wanted:
        if name not in known:
            raise SpecError(
                f"--shape names {name!r}; the inputs of {model.name!r} are "
                f"{', '.join(sorted(known))}"
            )
    return {
        tensor.name: tensor.shape
        if may_vary and tensor.name not in wanted
        else _settle(model, tensor, wanted.get(tensor.name), batch_size)
        for tensor in model.inputs
    }


def _settle(
    model: ModelInfo, tensor: Tensor, wanted: Shape | None, batch_size: int
) -> Shape:
    said = "x".join(str(size) for size in tensor.shape)
    if wanted is None:
        if DYNAMIC in tensor.shape:
            example = ",".join("1" if s == DYNAMIC else str(s) for s in tensor.shape)
            raise SpecError(
                f"input {tensor.name!r} of {model.name!r} varies in shape ({said})",
                hint=f"set the shape: --shape {tensor.name}:{example}",
            )
        return tensor.shape
    rank = len(tensor.shape)
    if model.has_batch_axis and wanted[:1] == (batch_size,) and len(wanted) == rank + 1:
        wanted = wanted[1:]
    fits = len(wanted) == rank and all(
        given >= 0 and expected in (DYNAMIC, given)
        for given, expected in zip(wanted, tensor.shape, strict=True)
    )
    if not fits:
        given = ",".join(str(size) for size in wanted)
        raise SpecError(
            f"--shape {tensor.name}:{given} does not fit: model {model.name!r} says "
            f"{said}" + (" (batch axis left out)" if model.has_batch_axis else "")
        )
    return wanted
