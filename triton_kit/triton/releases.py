"""Triton releases as data: server, TensorRT and ONNX Runtime versions, fixed CVEs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from triton_kit.errors import SpecError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What one monthly container (`nvcr.io/nvidia/tritonserver:RELEASE-py3`) carries.

    Attributes:
        release: year and month: `24.10`.
        server: the version of tritonserver in it: `2.51.0`.
        tensorrt: the version that plans for it are built with; None if not known.
        tensorrt_evidence: `documented` by NVIDIA, `reported` by others, or `unknown`.
        onnxruntime: the version of the onnxruntime backend.
        python: the version of the Python that runs Python models: 3.12 by the release
            notes of 24.12 and the Python backend's README of 26.07.
        fixes: the CVEs that were first fixed in it.
    """

    release: str
    server: str
    tensorrt: str | None
    tensorrt_evidence: Literal["documented", "reported", "unknown"]
    onnxruntime: str
    python: str
    fixes: tuple[str, ...]

    @property
    def image(self) -> str:
        """The container image's name."""
        return f"nvcr.io/nvidia/tritonserver:{self.release}-py3"


@cache
def all_releases() -> tuple[Release, ...]:
    """Return the known releases, oldest first."""
    text = (
        files("triton_kit.triton").joinpath("releases.json").read_text(encoding="utf-8")
    )
    rows = json.loads(text)["releases"]
    return tuple(Release(**row | {"fixes": tuple(row["fixes"])}) for row in rows)


def find_release(name: str) -> Release:
    """Find a release by its name (`24.10`) or its server's version (`2.51`, `2.51.0`).

    Raises:
        SpecError: it is none of the known ones.
    """
    for release in all_releases():
        if name in (release.release, release.server, release.server.removesuffix(".0")):
            return release
    known = [release.release for release in all_releases()]
    raise SpecError(f"unknown Triton release {name!r}", hint=did_you_mean(name, known))


def open_cves(release: Release) -> list[str]:
    """Return the CVEs that were fixed only after `release`."""
    later = all_releases()[all_releases().index(release) + 1 :]
    return [cve for newer in later for cve in newer.fixes]
