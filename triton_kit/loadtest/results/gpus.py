"""The server's metrics of its GPUs become figures per GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any  # JSON rows of metrics

_MIB = 2.0**20


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """What one GPU did during a run; None where the server does not tell.

    Attributes:
        gpu: its UUID.
        utilization: share of the time in which it worked, 0 to 1; the mean.
        memory_used_bytes: of all processes; the maximum.
        memory_total_bytes: what it has.
        power_w: the mean.
        energy_j: joules, as its own counter grew.
        energy_per_inference_j: `energy_j` by all inferences of the run.
    """

    gpu: str
    utilization: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    energy_per_inference_j: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as they stand in the JSON result."""
        return asdict(self)

    def __str__(self) -> str:
        """In words, for a person."""
        parts = [f"GPU {self.gpu}" if self.gpu else "GPU"]
        if self.utilization is not None:
            parts.append(f"{100 * self.utilization:.0f} % busy")
        if self.memory_used_bytes is not None:
            parts.append(f"{self.memory_used_bytes / _MIB:,.0f} MiB used")
        if self.power_w is not None:
            parts.append(f"{self.power_w:,.0f} W")
        if self.energy_per_inference_j is not None:
            parts.append(f"{1e3 * self.energy_per_inference_j:.3g} mJ per inference")
        return f"{parts[0]}: {', '.join(parts[1:])}"


# Metric -> the figure, and which level of it.
_FIGURES = {
    "nv_gpu_utilization": ("utilization", "mean"),
    "nv_gpu_memory_used_bytes": ("memory_used_bytes", "max"),
    "nv_gpu_memory_total_bytes": ("memory_total_bytes", "max"),
    "nv_gpu_power_usage": ("power_w", "mean"),
    "nv_energy_consumption": ("energy_j", "growth"),
}


def gpu_uses(
    metrics: Sequence[Mapping[str, Any]], inferences: float
) -> tuple[GpuUse, ...]:
    """Return the use of each GPU in the order of the metrics.

    Args:
        metrics: the Prometheus samples of a run.
        inferences: how many the server did while they were collected.
    """
    found: dict[str, dict[str, float]] = {}
    for row in metrics:
        figure, level = _FIGURES.get(row["name"], ("", ""))
        if level in row:
            gpu = row["labels"].get("gpu_uuid", "")
            found.setdefault(gpu, {})[figure] = row[level]
    for figures in found.values():
        if "energy_j" in figures and inferences:
            figures["energy_per_inference_j"] = figures["energy_j"] / inferences
    return tuple(GpuUse(gpu=gpu, **figures) for gpu, figures in found.items())
