"""The batch axis of a model's profiles, compared with its max_batch_size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from triton_kit.errors import SpecError

# Input -> the least and the largest size of its first axis.
Bounds = Mapping[str, tuple[int, int]]


def check_batch_axis(
    name: str, max_batch_size: int, profiles: Sequence[Bounds]
) -> None:
    """Refuse profiles that leave out batches which Triton will send.

    Triton joins requests to any size from 1 to `max_batch_size`; each has to lie
    within a profile. Inputs share the batch, so they share its bounds.

    Raises:
        SpecError: a profile's inputs disagree, or no profile takes 1, or the largest.
    """
    given = [profile for profile in profiles if profile]
    if max_batch_size == 0 or not given:
        return
    for number, profile in enumerate(given):
        if len(set(profile.values())) > 1:
            bounds = ", ".join(
                f"{i}: {low} to {high}" for i, (low, high) in profile.items()
            )
            raise SpecError(
                f"model {name!r}: the inputs of profile {number} have different "
                f"batch axes: {bounds}",
                hint="the first size of min, opt and max is the batch: write the same",
            )
    least = min(low for profile in given for low, _ in profile.values())
    most = max(high for profile in given for _, high in profile.values())
    if least > 1:
        raise SpecError(
            f"model {name!r}: no profile takes a batch of 1: the least is {least}",
            hint="a single request is a batch of 1: begin min with 1",
        )
    if most < max_batch_size:
        raise SpecError(
            f"model {name!r}: max_batch_size is {max_batch_size}, but no profile "
            f"takes a batch beyond {most}",
            hint=f"begin max with {max_batch_size}, or set max_batch_size: {most}",
        )
