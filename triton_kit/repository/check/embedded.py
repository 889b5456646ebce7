"""What the embedded server cannot serve with its onnxruntime backend in Python."""

from __future__ import annotations

from collections.abc import Iterator

from triton_kit.triton.schema import Message

EMBEDDED_RELEASE = "24.10"
EMBEDDED_BACKENDS = ("onnxruntime", "python")


def unsupported_features(config: Message) -> Iterator[tuple[str, str]]:
    """Yield the field and the name of each feature that only the native one has.

    Args:
        config: a model's config, with its backend filled in.
    """
    if config.backend != "onnxruntime":
        return
    if config.sequence_batching.state:
        yield "sequence_batching", "implicit state (the states of sequence batching)"
    if any(tensor.allow_ragged_batch for tensor in config.input):
        yield "input", "ragged batches (allow_ragged_batch)"
    for field in ("batch_input", "batch_output"):
        if getattr(config, field):
            yield field, field
