"""A release, a folder or a running server into what an attacker could use."""

from __future__ import annotations

import re
import shlex
import socket
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import psutil

from triton_kit.errors import SpecError
from triton_kit.triton.address import Address, parse_address
from triton_kit.triton.control_http import HttpControl
from triton_kit.triton.http_client import ask, request_bytes
from triton_kit.triton.releases import Release, all_releases, known_release, open_cves

_WITHIN_S = 10.0
_HTTP_PORT = 8000
_PRIVATE_KEY = b"PRIVATE KEY-----"
_LARGEST_KEY_FILE = 64 << 10
_KEY_NAME = re.compile(r".*(?<![a-z])key(?![a-z]).*", re.IGNORECASE)
# Of others, and large.
_SKIPPED = {".git", ".venv", ".cache", "__pycache__", "node_modules"}
_NO_NAME = "triton-kit-no-such-name"
# What a client without a key may ask; the words of a response that mean it may.
_CONTROL = (
    ("load and unload models", "POST", f"/v2/repository/models/{_NO_NAME}/unload"),
    ("change the settings of traces", "GET", "/v2/trace/setting"),
    ("change the settings of the log", "GET", "/v2/logging"),
    (
        "have the server map shared memory",
        "POST",
        f"/v2/systemsharedmemory/region/{_NO_NAME}/register",
    ),
)
_REGION = f'{{"key": "/{_NO_NAME}", "offset": 0, "byte_size": 1}}'
_FIXED_MODELS = "load / unload is not allowed"
_MAPS_MEMORY = "Unable to open shared memory region"


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """One thing that an attacker could use.

    Attributes:
        subject: a release, a file or an address.
        message: what is wrong with it.
        hint: what to do.
    """

    subject: str
    message: str
    hint: str


def risks_of_release(release: Release) -> Iterator[Risk]:
    """Yield its published vulnerabilities that a later release fixes."""
    if cves := open_cves(release):
        newest = next(r for r in all_releases() if not open_cves(r))
        yield Risk(
            subject=f"Triton {release.release}",
            message=f"{len(cves)} published vulnerabilities that later releases fix: "
            + ", ".join(cves),
            hint=f"use {newest.release} or newer; see 'triton-kit releases "
            f"{release.release}'",
        )


def risks_of_folder(folder: Path) -> Iterator[Risk]:
    """Yield what others could change, and keys that they could read.

    Raises:
        SpecError: there is no such folder, or a part of it cannot be read.
    """
    if not folder.is_dir():
        raise SpecError(f"{folder}: no such folder")
    try:
        yield from _risks_of_files((folder, *_below(folder)))
    except OSError as error:
        raise SpecError(f"{error.filename}: {error.strerror}") from error


def _risks_of_files(paths: Iterable[Path]) -> Iterator[Risk]:
    for path in paths:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            continue
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            yield Risk(
                subject=str(path),
                message="every user can change it, and with it what the server runs",
                hint=f"chmod o-w {shlex.quote(str(path))}",
            )
        if stat.S_ISREG(mode) and mode & 0o077 and _holds_key(path):
            yield Risk(
                subject=str(path),
                message=f"other users can read this key (mode {mode & 0o777:04o})",
                hint=f"chmod 600 {shlex.quote(str(path))}",
            )


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name not in _SKIPPED:
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from _below(path)


def _holds_key(path: Path) -> bool:
    """Whether a file is a private key, a key of the control APIs, or has variables."""
    if path.stat().st_size > _LARGEST_KEY_FILE:
        return False
    content = path.read_bytes()
    is_named_so = _KEY_NAME.fullmatch(path.name) and b"\n" not in content.strip()
    return _PRIVATE_KEY in content or path.name == ".env" or bool(is_named_so)


def risks_of_server(url: str) -> Iterator[Risk]:
    """Yield what a client without any key may do with a server, and from where.

    Nothing on the server changes.

    Raises:
        TransportError: no server responds there.
        SpecError: it is no address.
    """
    address = parse_address(url, default_port=_HTTP_PORT)
    version = HttpControl(address).server().version
    try:
        yield from risks_of_release(known_release(version))
    except SpecError:
        yield Risk(
            subject=f"{address}",
            message=f"the server is {version or 'of an unknown version'}: its "
            "vulnerabilities are not known here",
            hint="see the security bulletins of NVIDIA",
        )
    for what, method, path in _CONTROL:
        if _is_open(address, method, path):
            yield Risk(
                subject=f"{address}",
                message=f"every client may {what}, without a key",
                hint="serve with --key-file, or restrict the API "
                "(--http-restricted-api, --grpc-restricted-protocol)",
            )
    yield from _exposed(address)


def _is_open(address: Address, method: str, path: str) -> bool:
    """Whether a request without a key is refused; it names what does not exist."""
    body = _REGION if path.endswith("/register") else ""
    request = request_bytes(method, address, path, body.encode(), fields={}, headers={})
    response = ask(address, request, within_s=_WITHIN_S)
    text = response.body.decode(errors="replace")
    if path.endswith("/register"):
        return _MAPS_MEMORY in text
    if path.endswith("/unload"):
        return response.status in (200, 400) and _FIXED_MODELS not in text
    return response.status == 200


def _exposed(address: Address) -> Iterator[Risk]:
    """Yield the addresses that other machines reach."""
    if not address.tls and not _is_loopback(address.host):
        yield Risk(
            subject=f"{address}",
            message="HTTP without TLS: requests and keys can be read on their way",
            hint="put a proxy with TLS before the server",
        )
    listening = [
        (c.laddr.ip, c.laddr.port, c.pid)
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr
    ]
    pids = {pid for _, port, pid in listening if port == address.port and pid}
    for ip, port, pid in listening:
        if (port == address.port or pid in pids) and not _is_loopback(ip):
            yield Risk(
                subject=f"{ip}:{port}",
                message="other machines reach this port of the server",
                hint="--address 127.0.0.1, or a firewall and TLS before it",
            )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(socket.gethostbyname(host)).is_loopback
    except (OSError, ValueError):
        return ip_address(host).is_loopback if ":" in host else False
