"""The tests of a project are sent to a server, and the outputs compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # arrays of any type, and a client without types

import numpy as np
from numpy.typing import NDArray

from triton_kit.errors import SpecError, TransportError, did_you_mean
from triton_kit.project.load import REPOSITORY_NAME
from triton_kit.project.spec import Project, TestSpec
from triton_kit.samples import read_npz
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec
from triton_kit.tensors import data_type

_REQUEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOutcome:
    """One test: `reason` says what was wrong; empty if the outputs were right."""

    name: str
    model: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether every output was as expected."""
        return not self.reason


def run_tests(
    project: Project, *, url: str | None = None, repository: Path | None = None
) -> list[TestOutcome]:
    """Run the tests of a project on a server.

    Args:
        project: with `tests`.
        url: the gRPC address of a server, `host:port`; None: the embedded server, with
            the project's repository.
        repository: another repository for the embedded server.

    Raises:
        SpecError: there are no tests, or one names what is not there.
        ServerError: the embedded server does not start, or a model does not load.
        TransportError: no server responds there.
    """
    if not project.spec.tests:
        raise SpecError(
            f"{project.place('name')}: the project has no tests",
            hint="tests: {NAME: {model: M, inputs: {...}, outputs: {...}}}",
        )
    if url is not None:
        return list(_run(project, url))
    root = repository or project.path(REPOSITORY_NAME)
    with running(ServeSpec(repository=root)) as server:
        return list(_run(project, server.grpc_url))


def _run(project: Project, url: str) -> Iterator[TestOutcome]:
    import tritonclient.grpc as triton

    client = triton.InferenceServerClient(url)
    try:
        for name, test in project.spec.tests.items():
            try:
                metadata = client.get_model_metadata(test.model, as_json=True)
                reason = _run_one(project, name, test, client, metadata)
            except triton.InferenceServerException as error:
                if error.status() == "StatusCode.UNAVAILABLE":
                    raise TransportError(f"{url}: no server responds there") from error
                reason = str(error.message())
            yield TestOutcome(name=name, model=test.model, reason=reason)
    finally:
        client.close()


def _run_one(
    project: Project,
    name: str,
    test: TestSpec,
    client: Any,  # noqa: ANN401
    metadata: dict[str, Any],
) -> str:
    import tritonclient.grpc as triton

    kinds = {kind: {t["name"]: t for t in metadata[kind]} for kind in _KINDS}
    inputs = []
    for tensor, values in _values(project, name, test, "inputs", kinds).items():
        dtype = kinds["inputs"][tensor]["datatype"]
        request = triton.InferInput(tensor, values.shape, dtype)
        request.set_data_from_numpy(values)
        inputs.append(request)
    expected = _values(project, name, test, "outputs", kinds)
    wanted = [triton.InferRequestedOutput(tensor) for tensor in expected]
    response = client.infer(
        test.model, inputs, outputs=wanted, client_timeout=_REQUEST_S
    )
    for tensor, values in expected.items():
        reason = _difference(response.as_numpy(tensor), values, test.tolerance)
        if reason:
            return f"{tensor}{reason}"
    return ""


_KINDS = ("inputs", "outputs")


def _values(
    project: Project,
    name: str,
    test: TestSpec,
    kind: str,
    kinds: dict[str, dict[str, Any]],
) -> dict[str, NDArray[Any]]:
    """Return arrays of the model's own types and ranks."""
    given = getattr(test, kind)
    if isinstance(given, str):
        given = read_npz(project.path(given))
    found = {}
    for tensor, values in given.items():
        known = kinds[kind].get(tensor)
        if known is None:
            place = project.place("tests", name, kind, tensor)
            raise SpecError(
                f"{place}: model {test.model!r} has no {kind[:-1]} {tensor!r}",
                hint=did_you_mean(tensor, kinds[kind]),
            )
        try:
            found[tensor] = _array(values, known)
        except (TypeError, ValueError) as error:
            place = project.place("tests", name, kind, tensor)
            raise SpecError(f"{place}: {tensor!r}: {error}") from error
    return found


def _array(values: Any, tensor: dict[str, Any]) -> NDArray[Any]:  # noqa: ANN401
    dtype = data_type(tensor["datatype"])
    if dtype.item_bytes is None:
        array = np.array(values, dtype=object)
        encoded = [v.encode() if isinstance(v, str) else v for v in array.flat]
        array = np.array(encoded, dtype=object).reshape(array.shape)
    else:
        array = np.array(values, dtype=np.dtype(dtype.numpy))
    rank = len(tensor.get("shape", ()))
    # The batch axis may be left out of a single sample.
    return array[np.newaxis] if array.ndim == rank - 1 else array


def _difference(
    found: NDArray[Any] | None, expected: NDArray[Any], tolerance: float
) -> str:
    if found is None:
        return " is not in the response"
    if found.shape != expected.shape:
        return f" has shape {list(found.shape)}, expected {list(expected.shape)}"
    if found.dtype == object:
        wrong = np.argwhere(found != expected)
    else:
        close = np.isclose(
            found, expected, rtol=tolerance, atol=tolerance, equal_nan=True
        )
        wrong = np.argwhere(~close)
    if not len(wrong):
        return ""
    at = tuple(int(index) for index in wrong[0])
    more = f", and {len(wrong) - 1} more values differ" if len(wrong) > 1 else ""
    return (
        f"[{', '.join(map(str, at))}] is {found[at]!s}, expected {expected[at]!s} "
        f"(tolerance {tolerance:g}){more}"
    )
