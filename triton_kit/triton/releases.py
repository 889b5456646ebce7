"""Triton releases as data: server, TensorRT and ONNX Runtime versions, fixed CVEs."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Literal

from triton_kit.errors import SpecError, did_you_mean

_log = logging.getLogger(__name__)

_TAG = re.compile(r"\d\d\.(0[1-9]|1[0-2])")
_SERVER = re.compile(r"[2-9]\.\d{1,3}(\.\d{1,3})?")


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
        cuda: the version in it, by its release notes; None if not known.
        driver: the least branch of NVIDIA's driver that its release notes name for it;
            data center GPUs may have some older ones. None if not known.
        compute_capability: the least of a GPU that it supports; None if not known.
    """

    release: str
    server: str
    tensorrt: str | None
    tensorrt_evidence: Literal["documented", "reported", "unknown"]
    onnxruntime: str
    python: str
    fixes: tuple[str, ...]
    cuda: str | None = None
    driver: int | None = None
    compute_capability: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether the table has it; if not, its content is that of the newest one."""
        return any(known.release == self.release for known in all_releases())

    @property
    def tag(self) -> str:
        """The tag of NVIDIA's containers of the release, such as `24.10-py3`.

        Raises:
            SpecError: only the version of its server is known.
        """
        if not _TAG.fullmatch(self.release):
            raise SpecError(
                f"which container has Triton {self.release} is not known here",
                hint="give the release of a container (--release YY.MM), or an image",
            )
        return f"{self.release}-py3"

    @property
    def image(self) -> str:
        """The container image's name; raises SpecError as `tag` does."""
        return f"nvcr.io/nvidia/tritonserver:{self.tag}"


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

    One that is newer than the table has the rules of the newest known one, with a
    warning.

    Raises:
        SpecError: it is none, or older than the table.
    """
    return _newer_release(name) or known_release(name)


def known_release(name: str) -> Release:
    """Find a release that the table has.

    Raises:
        SpecError: it is none of them.
    """
    for release in all_releases():
        if name in (release.release, release.server, release.server.removesuffix(".0")):
            return release
    known = [release.release for release in all_releases()]
    raise SpecError(f"unknown Triton release {name!r}", hint=did_you_mean(name, known))


@cache
def _newer_release(name: str) -> Release | None:
    """Return a release that is newer than the table, and warn once; None if not."""
    newest = all_releases()[-1]
    if _TAG.fullmatch(name):
        if _numbers(name) <= _numbers(newest.release):
            return None
    elif not _SERVER.fullmatch(name) or _numbers(name) <= _numbers(newest.server):
        return None
    _log.warning(
        "Triton %s is newer than this kit knows: it is taken for %s (%s)",
        *(name, newest.release, newest.server),
    )
    return replace(
        newest,
        release=name,
        tensorrt=None,
        tensorrt_evidence="unknown",
        fixes=(),
        cuda=None,
        driver=None,
        compute_capability=None,
    )


def _numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a release or version; a missing third one is 0."""
    numbers = tuple(map(int, text.split(".")))
    return (*numbers, 0) if len(numbers) < 3 else numbers


def open_cves(release: Release) -> list[str]:
    """Return the CVEs that were fixed only after `release`."""
    if not release.is_known:
        return []
    later = all_releases()[all_releases().index(release) + 1 :]
    return [cve for newer in later for cve in newer.fixes]
