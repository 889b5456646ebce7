"""Keys and signatures in the format of minisign (Ed25519, BLAKE2b).

`minisign` reads what this writes, and the other way round.
Source: https://jedisct1.github.io/minisign/
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from triton_kit.errors import MissingExtraError, RepositoryError, SpecError
from triton_kit.files import read_text

_log = logging.getLogger(__name__)
_UNTRUSTED, _TRUSTED = "untrusted comment: ", "trusted comment: "
_PLAIN, _PREHASHED = b"Ed", b"ED"
_KEY_BYTES = 1 << 14  # the largest file that can be a key or a signature
# libsodium's limits "sensitive" of scrypt, which minisign writes.
_OPSLIMIT, _MEMLIMIT = 1 << 25, 1 << 30
_SECRET = 8 + 64 + 32  # key id, seed and public key, checksum


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures are verified with; `id` is the one that minisign shows."""

    id: bytes
    raw: bytes

    @property
    def name(self) -> str:
        """The id as minisign shows it."""
        return self.id[::-1].hex().upper()

    @property
    def text(self) -> str:
        """The key in one line: RW..."""
        return base64.b64encode(_PLAIN + self.id + self.raw).decode()


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key that signatures are made with; it is never shown."""

    public: PublicKey
    seed: bytes = field(repr=False)


def read_public_key(key: str) -> PublicKey:
    """Read a public key: a file of minisign, or its one line RW...

    Raises:
        SpecError: it is neither.
    """
    path = Path(key)
    is_line = key.startswith("RW") and len(key) == 56 and not path.exists()
    lines = [key] if is_line else read_text(path, limit=_KEY_BYTES).splitlines()
    data = _decoded(lines[-1] if lines else "")
    if len(data) != 42 or not data.startswith(_PLAIN):
        raise SpecError(
            f"{'the key' if is_line else key}: not a public key of minisign",
            hint="a file that `triton-kit sign --new-key` or `minisign -G` wrote, such "
            "as minisign.pub, or its last line",
        )
    return PublicKey(data[2:10], data[10:])


def read_secret_key(path: Path, password: Callable[[], str]) -> SecretKey:
    """Read a secret key of minisign.

    Args:
        path: its file.
        password: called if the key is encrypted.

    Raises:
        SpecError: it is none, or the password is wrong.
    """
    lines = read_text(path, limit=_KEY_BYTES).splitlines()
    data = _decoded(lines[1] if len(lines) > 1 else "")
    if len(data) != 54 + _SECRET or data[:2] != _PLAIN or data[4:6] != b"B2":
        raise SpecError(
            f"{path}: not a secret key of minisign",
            hint="`triton-kit sign --new-key` or `minisign -G` writes one",
        )
    _warn_if_others_can_read(path)
    secret = data[54:]
    if data[2:4] == b"Sc":
        limits = [int.from_bytes(data[n : n + 8], "little") for n in (38, 46)]
        stream = _key_stream(path, password(), data[6:38], *limits)
        secret = _xor(secret, stream)
    key_id, pair, checksum = secret[:8], secret[8:72], secret[72:]
    # minisign leaves the checksum of an unencrypted key empty.
    is_whole = checksum == _checksum(key_id + pair) or not any(checksum)
    if not is_whole or _public_of(pair[:32]) != pair[32:]:
        raise SpecError(f"{path}: wrong password, or the file is damaged")
    return SecretKey(PublicKey(key_id, pair[32:]), pair[:32])


def new_key(path: Path, password: str = "") -> SecretKey:
    """Write a new secret key, and beside it its public key as `.pub`.

    Raises:
        SpecError: one of the files is there already.
    """
    public_path = path.with_suffix(".pub")
    for each in (path, public_path):
        if each.exists() or each.is_symlink():
            raise SpecError(f"{each}: is there already; a key is never overwritten")
    seed, key_id = secrets.token_bytes(32), secrets.token_bytes(8)
    key = SecretKey(PublicKey(key_id, _public_of(seed)), seed)
    secret = key_id + seed + key.public.raw
    secret += _checksum(secret)
    head, salt = b"Ed\0\0B2" + bytes(32 + 16), secrets.token_bytes(32)
    if password:
        limits = _OPSLIMIT.to_bytes(8, "little") + _MEMLIMIT.to_bytes(8, "little")
        head = b"EdScB2" + salt + limits
        stream = _key_stream(path, password, salt, _OPSLIMIT, _MEMLIMIT)
        secret = _xor(secret, stream)
    kind = "encrypted" if password else "unencrypted"
    _write_new(path, f"minisign {kind} secret key", head + secret, 0o600)
    _write_new(
        public_path,
        f"minisign public key {key.public.name}",
        _PLAIN + key_id + key.public.raw,
        0o644,
    )
    return key


def _write_new(path: Path, comment: str, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "w", encoding="ascii") as file:
        file.write(f"{_UNTRUSTED}{comment}\n{base64.b64encode(data).decode()}\n")


def sign(key: SecretKey, content: bytes, comment: str) -> str:
    """Return the text of a signature file; `comment` is signed, too."""
    private = _ed25519().Ed25519PrivateKey.from_private_bytes(key.seed)
    signature: bytes = private.sign(_prehash(content))
    both: bytes = private.sign(signature + comment.encode())
    return (
        f"{_UNTRUSTED}signature from triton-kit\n"
        + base64.b64encode(_PREHASHED + key.public.id + signature).decode()
        + f"\n{_TRUSTED}{comment}\n{base64.b64encode(both).decode()}\n"
    )


def verify(key: PublicKey, content: bytes, text: str, source: str) -> None:
    """Verify a signature of a content.

    Raises:
        RepositoryError: it is none, is of another key, or the content is another.
    """
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    lines = text.splitlines()
    if len(lines) != 4 or not lines[2].startswith(_TRUSTED):
        raise RepositoryError(f"{source}: not a signature of minisign")
    data, both = _decoded(lines[1]), _decoded(lines[3])
    kind, key_id, signature = data[:2], data[2:10], data[10:]
    if kind not in (_PLAIN, _PREHASHED) or len(signature) != 64:
        raise RepositoryError(f"{source}: not a signature of minisign")
    if key_id != key.id:
        raise RepositoryError(
            f"{source}: is of key {key_id[::-1].hex().upper()}, expected one of "
            f"{key.name}"
        )
    public = ed25519.Ed25519PublicKey.from_public_bytes(key.raw)
    signed = _prehash(content) if kind == _PREHASHED else content
    comment = lines[2].removeprefix(_TRUSTED)
    try:
        public.verify(signature, signed)
        public.verify(both, signature + comment.encode())
    except InvalidSignature:
        raise RepositoryError(
            f"{source}: the signature does not fit: the list, its signature or the "
            "comment was changed"
        ) from None


def _ed25519() -> ModuleType:
    """Return the module of the library.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError:
        raise MissingExtraError(
            "cryptography, which signatures need,", extra="sign"
        ) from None
    return ed25519


def _public_of(seed: bytes) -> bytes:
    private = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
    raw: bytes = private.public_key().public_bytes_raw()
    return raw


def _decoded(line: str) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except ValueError:
        return b""


def _prehash(content: bytes) -> bytes:
    return hashlib.blake2b(content).digest()


def _checksum(secret: bytes) -> bytes:
    return hashlib.blake2b(_PLAIN + secret, digest_size=32).digest()


def _xor(secret: bytes, stream: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(secret, stream, strict=True))


def _key_stream(
    path: Path, password: str, salt: bytes, opslimit: int, memlimit: int
) -> bytes:
    """Return what a secret is encrypted with: scrypt by libsodium's two limits."""
    if not 1 << 15 <= opslimit <= _OPSLIMIT or not 1 << 20 <= memlimit <= _MEMLIMIT:
        raise SpecError(f"{path}: needs more memory or time than minisign's keys")
    log2_n = 1
    if opslimit < memlimit // 32:
        most, parallel = opslimit // (8 * 4), 1
    else:
        most, parallel = memlimit // (8 * 128), 0
    while log2_n < 63 and 1 << log2_n <= most // 2:
        log2_n += 1
    if not parallel:
        parallel = min(opslimit // 4 // (1 << log2_n), 0x3FFFFFFF) // 8
    try:
        return hashlib.scrypt(
            password.encode(),
            salt=salt,
            n=1 << log2_n,
            r=8,
            p=parallel,
            maxmem=memlimit + (64 << 20),
            dklen=_SECRET,
        )
    except (ValueError, MemoryError) as error:
        raise SpecError(
            f"{path}: the password cannot be tried: {memlimit >> 20} MiB of memory "
            "are needed"
        ) from error


def _warn_if_others_can_read(path: Path) -> None:
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("%s: other users can read this secret key: chmod 600 it", path)
