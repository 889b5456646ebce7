"""What a function returns, a torch module or an estimator, becomes an ONNX file."""

from __future__ import annotations

from pathlib import Path

from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.sources.torch import export_request, finish_export
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.child import call_worker, hint, reason
from triton_kit.errors import ConvertError, MissingExtraError, SpecError

_EXTRAS = {
    **dict.fromkeys(("torch", "onnxscript"), ("torch, with onnxscript", "torch")),
    **dict.fromkeys(
        ("sklearn", "skl2onnx", "onnxmltools"),
        ("scikit-learn, with skl2onnx and onnxmltools", "tabular"),
    ),
}


def source_from_function(spec: ConvertSpec, scratch: Path) -> SourceModel:
    """Call `package.module:function` and export the model that it returns.

    Raises:
        ConvertError: it fails, or its model does not export.
        MissingExtraError: the model's framework is not installed.
        SpecError: there is no such function.
    """
    path, estimator = scratch / "exported.onnx", scratch / "estimator.pkl"
    samples = scratch / "example.npz"
    response = call_worker(
        "sources.function_worker",
        export_request(spec, path)
        | {"pickle": str(estimator), "samples": str(samples)},
        timeout_s=spec.timeout_s,
        failed=lambda done: ConvertError(
            f"{spec.source}: the model does not export: {reason(done)}",
            hint=hint(done)
            or "the function returns (module, inputs) of torch, or a fitted estimator "
            "of scikit-learn, LightGBM or XGBoost, or (estimator, example rows)",
        ),
    )
    if extra := _EXTRAS.get(response.get("missing")):
        raise MissingExtraError(extra[0], extra=extra[1])
    if "framework" not in response:
        raise SpecError(
            response.get("refused")
            or f"{spec.source}: needs the module {response['missing']!r}"
        )
    if response["framework"] == "torch":
        return finish_export(path)
    return SourceModel.read(
        path,
        framework=response["framework"],
        estimator=estimator,
        example=samples if samples.exists() else None,
    )
