"""The folder of backends that the embedded server is given, kept in a cache."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from triton_kit.errors import ServerError
from triton_kit.files import make_cache, refuse_shared_cache
from triton_kit.serving.tritonserver import Tritonserver

_OURS = Path(__file__).parent / "backends"


def compose_backend_directory(
    server: Tritonserver, *, cache: Path, native: Path | None = None
) -> Path:
    """Return a folder with the wheel's Python backend and ours, made when missing.

    Its name is the hash of its content, which is compared each time, and it appears
    whole by a rename. So any number of processes may call this at once, and an upgrade
    never changes the backends of a running server.

    Args:
        server: the installed server.
        cache: where the folder is kept.
        native: the compiled `onnxruntime` backend; None is the one in Python.

    Raises:
        ServerError: the cache folder cannot be written.
        SpecError: another user could change it.
    """
    parts = _parts(server, native)
    target = cache / f"backends-{_digest(parts)}"
    try:
        make_cache(cache)
        if _is_whole(target, parts):
            return target
        with tempfile.TemporaryDirectory(dir=cache, prefix=".stage-") as stage:
            fresh = Path(stage) / "fresh"
            for relative, source in parts.items():
                (fresh / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, fresh / relative)
            _put_in_place(fresh, target, stage=Path(stage), parts=parts)
    except OSError as error:
        raise ServerError(
            f"cannot write the cache folder {cache}: {error.strerror or error}",
            hint="set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return target


def _put_in_place(
    fresh: Path, target: Path, *, stage: Path, parts: dict[str, Path]
) -> None:
    if target.exists() and not _is_whole(target, parts):
        # A file of it was changed or removed: move it aside, in one rename.
        target.rename(stage / "damaged")
    try:
        fresh.rename(target)
    except OSError:
        # Another process was first; the name is a hash, so its folder is the same.
        if not _is_whole(target, parts):
            raise


def _parts(server: Tritonserver, native: Path | None) -> dict[str, Path]:
    """Return the place of each file in the backend directory, and where it is now."""
    parts = {
        f"python/{path.name}": path
        for path in sorted(server.python_backend.iterdir())
        if path.is_file()
    }
    parts[f"python/{server.stub.name}"] = server.stub
    if native is not None:
        parts["onnxruntime/libtriton_onnxruntime.so"] = native
        return parts
    for path in sorted(_OURS.glob("onnxruntime/*.py")):
        parts[f"onnxruntime/{path.name}"] = path
    return parts


def _digest(parts: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for relative, source in parts.items():
        content = source.read_bytes()
        digest.update(f"{relative}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _is_whole(folder: Path, parts: dict[str, Path]) -> bool:
    if not folder.is_dir():
        return False
    refuse_shared_cache(folder)
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_dir() and path.parent.name != "__pycache__"
    }
    return found == parts.keys() and all(
        (folder / relative).read_bytes() == source.read_bytes()
        for relative, source in parts.items()
    )
