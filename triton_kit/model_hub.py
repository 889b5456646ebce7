"""`hf:ORG/NAME` and `mlflow:models:/NAME/1` into an ONNX file on this machine.

Only ONNX files are fetched and opened: nothing of a hub is ever unpickled or run.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from triton_kit.errors import MissingExtraError, SpecError, TransportError
from triton_kit.files import read_text

_HUGGING_FACE = re.compile(
    r"hf:(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+?))?(:(?P<file>[\w ./+-]+))?"
)
_MLFLOW = re.compile(r"mlflow:(?P<address>(models|runs):/[^@\s]+(@[\w-]+)?)")
# Beside an ONNX file: weights that are too large for it.
_WANTED = ("*.onnx", "*.onnx_data*", "*.onnx.data*")
_FORMS = "hf:ORG/NAME, hf:ORG/NAME@REVISION:FILE.onnx, mlflow:models:/NAME/VERSION"


def is_hub_source(source: object) -> bool:
    """Whether a source is of a hub, and no file of this name is here."""
    return isinstance(source, str) and source.startswith(("hf:", "mlflow:"))


@cache
def model_of_hub(source: str) -> Path:
    """Return the ONNX file of a source; it is fetched if it is not here yet.

    Raises:
        MissingExtraError: the hub's package is not installed.
        SpecError: it is no such source, or has no ONNX file, or several.
        TransportError: the hub refuses it, or cannot be reached.
    """
    if match := _HUGGING_FACE.fullmatch(source):
        return _from_hugging_face(source, match)
    if match := _MLFLOW.fullmatch(source):
        return _from_mlflow(source, match["address"])
    raise SpecError(f"{source}: no source of a hub", hint=f"known: {_FORMS}")


def _from_hugging_face(source: str, match: re.Match[str]) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ModuleNotFoundError:
        raise MissingExtraError(
            "huggingface_hub, which hf: needs,", extra="hub"
        ) from None
    wanted = [f"{match['file']}*"] if match["file"] else [*_WANTED]
    try:
        folder = Path(
            snapshot_download(
                match["name"], revision=match["revision"], allow_patterns=wanted
            )
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TransportError(
            f"{source}: cannot be fetched: {_without_token(reason)}",
            hint="check the name and the revision; HF_TOKEN is for private models, "
            "HF_HUB_OFFLINE=1 for those that are here",
        ) from None
    if match["file"]:
        found = folder / match["file"]
        if found.is_file() and found.suffix == ".onnx":
            return found
        raise SpecError(f"{source}: has no ONNX file {match['file']}")
    return _only_one(source, folder, "hf:ORG/NAME:FILE.onnx takes one of them")


def _without_token(text: str) -> str:
    token = os.environ.get("HF_TOKEN")
    return text.replace(token, "$HF_TOKEN") if token else text


def _only_one(source: str, folder: Path, hint: str) -> Path:
    found = sorted(folder.rglob("*.onnx"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise SpecError(
            f"{source}: has no ONNX file",
            hint="export it to ONNX first; other formats are not opened",
        )
    names = ", ".join(str(path.relative_to(folder)) for path in found[:5])
    raise SpecError(f"{source}: has {len(found)} ONNX files: {names}", hint=hint)


def _from_mlflow(source: str, address: str) -> Path:
    try:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError:
        raise MissingExtraError("mlflow, which mlflow: needs,", extra="hub") from None
    try:
        folder = Path(download_artifacts(artifact_uri=address))
    except (MlflowException, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TransportError(
            f"{source}: cannot be fetched: {reason}",
            hint="MLFLOW_TRACKING_URI is the address of the registry",
        ) from None
    _require_onnx_flavour(source, folder)
    return _only_one(source, folder, "log the model with mlflow.onnx.log_model")


def _require_onnx_flavour(source: str, folder: Path) -> None:
    """Refuse a model of another flavour: those are pickled, mostly."""
    import yaml

    path = folder / "MLmodel"
    try:
        document = yaml.safe_load(read_text(path)) if path.is_file() else None
    except yaml.YAMLError:
        document = None
    flavours = document.get("flavors") if isinstance(document, dict) else None
    if not isinstance(flavours, dict) or "onnx" not in flavours:
        known = ", ".join(map(str, flavours or ())) or "none"
        raise SpecError(
            f"{source}: has no flavour onnx; it has {known}",
            hint="log the model with mlflow.onnx.log_model",
        )
