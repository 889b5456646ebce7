"""From a trained model to a served, measured and tuned Triton model repository."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_kit.errors import TritonKitError as TritonKitError

# Name -> module. Resolved on first use, so that `import triton_kit` costs nothing.
_PUBLIC = {
    "TritonKitError": "triton_kit.errors",
}

__all__ = ["TritonKitError"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'triton_kit' has no attribute {name!r}")
    public: object = getattr(import_module(_PUBLIC[name]), name)
    return public
