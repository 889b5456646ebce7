"""From a trained model to a served, measured and tuned Triton model repository."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_kit.errors import TritonKitError as TritonKitError
    from triton_kit.repository.check.check import check_repository as check_repository
    from triton_kit.repository.check.findings import CheckReport as CheckReport
    from triton_kit.repository.check.findings import Finding as Finding

# Name -> module. Resolved on first use, so that `import triton_kit` costs nothing.
_PUBLIC = {
    "CheckReport": "triton_kit.repository.check.findings",
    "Finding": "triton_kit.repository.check.findings",
    "TritonKitError": "triton_kit.errors",
    "check_repository": "triton_kit.repository.check.check",
}

__all__ = ["CheckReport", "Finding", "TritonKitError", "check_repository"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'triton_kit' has no attribute {name!r}")
    public: object = getattr(import_module(_PUBLIC[name]), name)
    return public
