"""Puts torch into the clone's own cache folder, where the clone has none."""

import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

CACHE = Path(__file__).parents[3] / ".cache" / "bench-convert"

# What torch and its exporter need beyond what the kit itself has installed. By name, as
# with its dependencies pip would put a second numpy before the kit's.
_PACKAGES = {
    "torch": "torch==2.13.0",
    "onnxscript": "onnxscript==0.7.2",
    "onnx_ir": "onnx_ir==1.1.0",
    "networkx": "networkx>=3",
    "fsspec": "fsspec",
    "sympy": "sympy",
    "mpmath": "mpmath",
}


def provide_torch(say):
    """Make torch importable, here and in children; return what they need of PATHs."""
    site = CACHE / "site"
    if site.exists():
        sys.path.append(str(site))
    missing = [want for name, want in _PACKAGES.items() if not find_spec(name)]
    if missing:
        say(f"installing {', '.join(missing)} into {site} ...")
        site.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*argv, "--target", str(site), *missing], check=True)
        if str(site) not in sys.path:
            sys.path.append(str(site))
        importlib.invalidate_caches()
    return {"PYTHONPATH": str(site)} if site.exists() else {}
