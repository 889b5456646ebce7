"""Object stores (S3, GCS, Azure) behind one small interface.

Credentials come from the usual places of each library: variables, files, the machine's
role. They are never part of an address, an error or a log.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # Any: fsspec has no types
from urllib.parse import urlsplit

from triton_kit.errors import MissingExtraError, RepositoryError, SpecError
from triton_kit.transfer.store_errors import explain, full_disk, is_conflict

SCHEMES = ("s3", "gs", "az")
_CONNECT_S, _READ_S, _ATTEMPTS = 10, 60, 3
_LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
FileSystem = Any


class ConflictError(RepositoryError):
    """Another process wrote an object since it was read."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a repository is in a store: s3://BUCKET/PATH, gs://..., az://..."""

    scheme: str
    bucket: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.root}"

    @property
    def root(self) -> str:
        """The bucket and the path."""
        return f"{self.bucket}/{self.path}" if self.path else self.bucket


def is_address(text: str) -> bool:
    """Whether a text is an address of a store, or tries to be one."""
    return "://" in text


def read_address(text: str) -> Address:
    """Read s3://BUCKET/PATH.

    Raises:
        SpecError: it is none, or there are credentials in it; they are not repeated.
    """
    url = urlsplit(text)
    known = ", ".join(f"{scheme}://BUCKET/PATH" for scheme in SCHEMES)
    if "@" in url.netloc or ":" in url.netloc:
        raise SpecError(
            f"{url.scheme}://...: an address with credentials or a port in it",
            hint="credentials and endpoints come from the variables or files of the "
            "store's own tools: docs/transfer.md",
        )
    if url.scheme not in SCHEMES or not url.netloc:
        raise SpecError(
            f"{text}: no address of an object store", hint=f"known: {known}"
        )
    if url.query or url.fragment:
        raise SpecError(f"{url.scheme}://{url.netloc}...: a query or fragment in it")
    parts = [part for part in url.path.split("/") if part]
    if {".", ".."} & {*parts}:
        raise SpecError(f"{text}: '.' or '..' in the path", hint=f"known: {known}")
    return Address(url.scheme, url.netloc, "/".join(parts))


class Store:
    """The objects below an address. Each method raises a TransportError if it fails."""

    def __init__(self, address: Address, fs: FileSystem) -> None:
        self.address, self._fs = address, fs

    def find(self, folder: str) -> dict[str, int]:
        """Return the size of each object below a folder, by its name in it."""
        top = self._key(folder) + "/"
        with self._explained():
            try:
                found = self._fs.find(top, detail=True)
            except FileNotFoundError:
                return {}
        return {
            key.removeprefix(top): int(facts["size"])
            for key, facts in found.items()
            if key.startswith(top) and facts["type"] == "file"
        }

    def read(self, name: str) -> bytes | None:
        """Return a small object; None where there is none."""
        with self._explained():
            try:
                data: bytes = self._fs.cat_file(self._key(name))
            except FileNotFoundError:
                return None
        return data

    def version(self, name: str) -> str | None:
        """Return what changes with each write of an object; None: there is none."""
        with self._explained():
            try:
                facts: Mapping[str, Any] = self._fs.info(self._key(name))
            except FileNotFoundError:
                return None
        return str(facts[_VERSION_KEYS[self.address.scheme]])

    def write(self, name: str, data: bytes) -> None:
        """Write a small object."""
        with self._explained():
            self._fs.pipe_file(self._key(name), data)

    def write_if(self, name: str, data: bytes, version: str | None) -> None:
        """Write a small object if it still has the version; None: if there is none.

        Raises:
            ConflictError: it has another one.
        """
        try:
            with self._explained(is_conditional=True):
                write = _CONDITIONAL[self.address.scheme]
                write(self._fs, self._key(name), data, version)
        except _StoreConflictError as error:
            # It may have been ours: the response was lost, and it was sent again.
            if self.read(name) != data:
                raise ConflictError(
                    f"{self.address}/{name}: another process wrote it meanwhile",
                    hint="look at what it wrote, then try again",
                ) from error

    def put(self, path: Path, name: str) -> None:
        """Send a file."""
        with self._explained():
            self._fs.put_file(str(path), self._key(name))

    def get(self, name: str, path: Path) -> None:
        """Fetch an object into a file.

        Raises:
            OSError: the disk is full.
        """
        full: OSError | None = None
        with self._explained():
            try:
                self._fs.get_file(self._key(name), str(path))
            except Exception as error:
                full = full_disk(error)
                if full is None:
                    raise
        if full is not None:
            raise OSError(full.errno, full.strerror, str(path))

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside of the store."""
        with self._explained():
            self._fs.cp_file(self._key(source), self._key(target))

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._explained():
            self._fs.rm_file(self._key(name))

    def _key(self, name: str) -> str:
        return f"{self.address.root}/{name}"

    @contextmanager
    def _explained(self, *, is_conditional: bool = False) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            # `find`, `read` and `version` have taken care of a missing object.
            raise explain(self.address.scheme, str(self.address), error) from None
        except Exception as error:
            if is_conditional and is_conflict(error):
                raise _StoreConflictError from None
            # The library's own text and traceback may hold credentials.
            raise explain(self.address.scheme, str(self.address), error) from None


class _StoreConflictError(Exception):
    """The condition of a write did not hold."""


def open_store(address: Address) -> Store:
    """Return the store of an address; nothing is sent yet.

    Raises:
        MissingExtraError: its library is not installed.
        TransportError: the library finds no credentials, or cannot use them.
    """
    # Of a lost connection, tasks that nothing waits for would print tracebacks.
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    try:
        opened = _OPENERS[address.scheme]
        return Store(address, opened())
    except ModuleNotFoundError as error:
        if error.name not in {"fsspec", *_LIBRARIES.values()}:
            raise
        raise MissingExtraError(
            f"{_LIBRARIES[address.scheme]}, which {address.scheme}:// needs,",
            extra="cloud",
        ) from None
    except (OSError, ValueError, LookupError) as error:
        raise explain(address.scheme, str(address), error) from None


def _open_s3() -> FileSystem:
    from s3fs import S3FileSystem

    config: dict[str, Any] = {"connect_timeout": _CONNECT_S, "read_timeout": _READ_S}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        config["retries"] = {"mode": "standard", "max_attempts": _ATTEMPTS}
    fs = S3FileSystem(
        skip_instance_cache=True, use_listings_cache=False, config_kwargs=config
    )
    fs.retries = 2  # of what botocore has tried already
    return fs


def _open_gs() -> FileSystem:
    # It logs tracebacks of lost connections, which would go to the terminal.
    logging.getLogger("gcsfs").addHandler(logging.NullHandler())
    from gcsfs import GCSFileSystem

    fs = GCSFileSystem(skip_instance_cache=True, use_listings_cache=False)
    fs.retries = _ATTEMPTS
    return fs


def _open_az() -> FileSystem:
    from adlfs import AzureBlobFileSystem

    return AzureBlobFileSystem(
        skip_instance_cache=True,
        use_listings_cache=False,
        anon=False,
        connection_timeout=_CONNECT_S,
        read_timeout=_READ_S,
    )


def _write_s3(fs: FileSystem, key: str, data: bytes, version: str | None) -> None:
    bucket, _, name = key.partition("/")
    condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
    fs.call_s3("put_object", Bucket=bucket, Key=name, Body=data, **condition)


def _write_gs(fs: FileSystem, key: str, data: bytes, version: str | None) -> None:
    bucket, _, name = key.partition("/")
    fs.call(
        "POST",
        f"{fs._location}/upload/storage/v1/b/{bucket}/o",
        uploadType="media",
        name=name,
        ifGenerationMatch=version or "0",
        headers={"Content-Type": "application/octet-stream"},
        data=data,
        json_out=True,
    )


def _write_az(fs: FileSystem, key: str, data: bytes, version: str | None) -> None:
    from azure.core import MatchConditions

    if version is None:
        fs.pipe_file(key, data, overwrite=False)
        return
    condition = {"etag": version, "match_condition": MatchConditions.IfNotModified}
    fs.pipe_file(key, data, **condition)


_OPENERS: dict[str, Callable[[], FileSystem]] = {
    "s3": _open_s3,
    "gs": _open_gs,
    "az": _open_az,
}
_CONDITIONAL = {"s3": _write_s3, "gs": _write_gs, "az": _write_az}
_VERSION_KEYS = {"s3": "ETag", "gs": "generation", "az": "etag"}
