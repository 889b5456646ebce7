"""How much shared memory the Python models of a repository need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from google.protobuf import text_format

from triton_kit.triton.schema import ModelConfig

_PER_INSTANCE = 64 << 20
_LEAST = 256 << 20


def shared_memory_bytes(repositories: Iterable[Path], *, gpus: int = 1) -> int:
    """Return the size of /dev/shm for a container that serves them.

    Each instance of a Python model makes a region, which grows in steps of 64 MB;
    instances on GPUs exist once for each.
    """
    folders = (f for root in repositories for f in root.iterdir() if f.is_dir())
    instances = sum(_python_instances(folder, max(1, gpus)) for folder in folders)
    return max(_LEAST, _PER_INSTANCE * (instances + 1))


def _python_instances(folder: Path, gpus: int) -> int:
    config = _config(folder)
    if config.backend != "python" and not any(folder.glob("*/model.py")):
        return 0
    counts = (
        max(1, group.count) * (1 if group.kind == _KIND_CPU else gpus)
        for group in config.instance_group
    )
    return sum(counts) or gpus


_KIND_CPU = 2  # ModelInstanceGroup.KIND_CPU


def _config(folder: Path) -> ModelConfig:
    """Return a model's config; an empty one where it has none that can be read."""
    config = ModelConfig()
    path = folder / "config.pbtxt"
    try:
        text_format.Parse(path.read_text("utf-8"), config, allow_unknown_field=True)
    except (OSError, UnicodeDecodeError, text_format.ParseError):
        return ModelConfig()
    return config
