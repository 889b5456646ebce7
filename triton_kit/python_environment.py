"""A Python environment as Triton's Python backend unpacks it, and its interpreter.

The backend unpacks EXECUTION_ENV_PATH, sources its `bin/activate` in bash and starts
its stub, which takes its Python from PATH. So an environment is that script, and the
packages that it puts first on the path.
"""

from __future__ import annotations

import gzip
import io
import os
import shlex
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from triton_kit.errors import ServerError, SpecError
from triton_kit.files import json_from
from triton_kit.process import run_child
from triton_kit.serving.tritonserver import check_numpy, check_stub, find_tritonserver

ENVIRONMENT_FILE = "environment.tar.gz"
_STUB_FILE = "triton_python_backend_stub"
_PROBE_WITHIN_S = 30.0
_1980_S = 315532800  # the oldest time that every archive format can hold
# The stub reads no PYTHONPATH. It starts as the first python3 on PATH would: so this
# one becomes a venv of the server's Python, which keeps the packages of that.
_ACTIVATE_PACKAGES = """\
# Read by bash before a Python model starts.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [ ! -e "$here/pyvenv.cfg" ]; then
  python="$(readlink -f "$(command -v python3)")"
  packages="$here/lib/python%s/site-packages/of-the-server.pth"
  python3 -I -c 'import sys
for path in sys.path:
    if path.endswith("-packages"):
        print(f"import site; site.addsitedir({path!r})")' > "$packages.$$"
  ln -s "$python" "$here/bin/python3.$$"
  echo "home = $(dirname "$python")" > "$here/pyvenv.cfg.$$"
  mv "$packages.$$" "$packages"
  mv -T "$here/bin/python3.$$" "$here/bin/python3"
  mv "$here/pyvenv.cfg.$$" "$here/pyvenv.cfg"
fi
export PATH="$here/bin:$PATH"
"""
_ACTIVATE_INTERPRETER = """\
# Read by bash before a Python model starts.
export PATH=%s:"$PATH"
export LD_LIBRARY_PATH=%s"${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
"""
# Triton first starts a stub without arguments and without the environment. Unless that
# ends with 1 it takes all rights but execution from the file.
_START_STUB = """\
#!/bin/bash
[ $# -gt 0 ] || exit 1
exec %s "$@"
"""
_PROBE = """\
import json, sys, sysconfig
try:
    import numpy
except ImportError:
    sys.exit("it has no numpy")
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "numpy": numpy.__version__,
    "libraries": sysconfig.get_config_var("LIBDIR") or "",
}))
"""


def this_python() -> str:
    """Return the version of the Python that runs the kit: `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def pack_packages(
    output: Path, files: Mapping[str, bytes | Path], *, python: str
) -> None:
    """Pack files of `site-packages`, by their path in it, for a Python (`3.12`)."""
    inside = f"lib/python{python}/site-packages"
    packed = {f"{inside}/{name}": content for name, content in files.items()}
    activate = (_ACTIVATE_PACKAGES % python).encode()
    _write_tar(output, {**packed, "bin/activate": activate})


def pack_interpreter(python: Path, folder: Path) -> dict[str, Path]:
    """Make a model of the embedded server run with an interpreter of this machine.

    Returns:
        What goes beside the model's versions, by name: the environment that finds the
        interpreter and, where it is another Python than the kit's, what starts its
        stub.

    Raises:
        SpecError: it does not run, or the embedded server cannot use it.
        MissingExtraError: the embedded server is not installed.
    """
    facts = _probe(python)
    found, libraries = facts["version"], facts["libraries"]
    server = find_tritonserver()
    stub = server.stub.parent.parent / found / _STUB_FILE
    try:
        _require_stub(stub, found)
        check_numpy(facts["numpy"])
        check_stub(replace(server, stub=stub), found, libraries=libraries)
    except ServerError as error:
        raise SpecError(
            f"the interpreter {python}: {error.message}", hint=error.hint
        ) from error
    folders = (str(python.absolute().parent), libraries)
    text = _ACTIVATE_INTERPRETER % tuple(shlex.quote(folder) for folder in folders)
    output = folder / ENVIRONMENT_FILE
    _write_tar(output, {"bin/activate": text.encode()})
    if found == this_python():
        return {ENVIRONMENT_FILE: output}
    start = folder / _STUB_FILE
    start.write_text(_START_STUB % shlex.quote(str(stub)), encoding="utf-8")
    start.chmod(0o755)
    return {ENVIRONMENT_FILE: output, _STUB_FILE: start}


def _require_stub(stub: Path, python: str) -> None:
    if stub.is_file():
        return
    have = ", ".join(sorted(path.name for path in stub.parent.parent.iterdir()))
    raise ServerError(
        f"the embedded server has no stub for Python {python}",
        hint=f"use one of Python {have}",
    )


def _probe(python: Path) -> dict[str, str]:
    try:
        done = run_child([str(python), "-I", "-c", _PROBE], deadline_s=_PROBE_WITHIN_S)
    except OSError as error:
        raise SpecError(
            f"the interpreter {python} does not run: {error.strerror}",
            hint="a path to a Python, such as ~/venvs/mine/bin/python",
        ) from error
    if done.exit_code != 0:
        reason = done.stderr.strip().rpartition("\n")[2] or done.ending
        raise SpecError(f"the interpreter {python}: {reason}")
    facts: dict[str, str] = json_from(done.stdout, str(python))
    return facts


def _write_tar(output: Path, files: Mapping[str, bytes | Path]) -> None:
    """Pack files: the same content gives the same bytes, whenever and wherever."""
    with (
        output.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, content in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.mtime = _1980_S
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
                continue
            info.size = content.stat().st_size
            if os.access(content, os.X_OK):
                info.mode = 0o755
            with content.open("rb") as file:
                tar.addfile(info, file)
