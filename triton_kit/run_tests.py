"""The tests of a project are sent to a server, and the outputs compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any  # values of any type

import numpy as np
from numpy.typing import NDArray

from triton_kit.errors import ServerError, SpecError, TransportError, did_you_mean
from triton_kit.loadtest.inputs.documents import exact_array
from triton_kit.loadtest.run.served_models import ServedModels, fetch_served_models
from triton_kit.loadtest.run.single_request import send_one, widened
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.project.load import REPOSITORY_NAME
from triton_kit.project.spec import Project
from triton_kit.samples import read_npz
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec
from triton_kit.tensors import Tensor
from triton_kit.triton.model import ModelInfo

Array = NDArray[Any]
# `inputs` and `outputs` -> tensor -> values, as they are written.
_Given = Mapping[str, Mapping[str, Any]]

_KINDS = ("inputs", "outputs")


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
    project: Project,
    *,
    url: str | None = None,
    repository: Path | None = None,
    within_s: float = 60.0,
) -> list[TestOutcome]:
    """Run the tests of a project on a server; one that cannot be sent has failed.

    Files of tensors are read before a server is started.

    Args:
        project: with `tests`.
        url: a server's address: `HOST:PORT` or `grpc://...` for gRPC, `http://...` for
            HTTP; None: the embedded server, with the project's repository.
        repository: another repository for the embedded server.
        within_s: time for each response, in seconds.

    Raises:
        SpecError: there are no tests, or the URL is none.
        ServerError: the embedded server does not start, or a model does not load.
        TransportError: no server responds there.
    """
    tests = project.spec.tests
    if not tests:
        raise SpecError(
            f"{project.place('name')}: the project has no tests",
            hint="tests: {NAME: {model: M, inputs: {...}, outputs: {...}}}",
        )
    given: dict[str, _Given] = {}
    reasons: dict[str, str] = {}
    with project.hiding_variables():
        for name in tests:
            try:
                given[name] = {kind: _read(project, name, kind) for kind in _KINDS}
            except SpecError as error:
                reasons[name] = _in_one_line(error)
        if given:
            with _server(project, url, repository) as spec:
                for name, tensors in given.items():
                    model = replace(spec, model=tests[name].model)
                    reasons[name] = _run(project, name, tensors, model, within_s)
    return [
        TestOutcome(
            name=name, model=test.model, reason=project.without_values(reasons[name])
        )
        for name, test in tests.items()
    ]


@contextmanager
def _server(
    project: Project, url: str | None, repository: Path | None
) -> Iterator[PerfSpec]:
    if url is not None:
        is_http = url.startswith(("http://", "https://"))
        yield PerfSpec(url=url, model="any", protocol="http" if is_http else "grpc")
        return
    root = repository or project.path(REPOSITORY_NAME)
    with running(ServeSpec(repository=root)) as server:
        yield PerfSpec(url=server.grpc_url, model="any", protocol="grpc")


def _read(project: Project, name: str, kind: str) -> Mapping[str, Any]:
    given = getattr(project.spec.tests[name], kind)
    if not isinstance(given, str):
        return dict(given)
    try:
        return read_npz(project.path(given))
    except SpecError as error:
        message = f"{project.place('tests', name, kind)}: {error.message}"
        raise SpecError(message, hint=error.hint) from error


def _run(
    project: Project, name: str, given: _Given, spec: PerfSpec, within_s: float
) -> str:
    """Return what is wrong with the response to a test, or with the test itself."""
    try:
        with fetch_served_models(spec) as served:
            return _compare(project, name, given, served, within_s)
    except (SpecError, ServerError) as error:
        return _in_one_line(error)


def _in_one_line(error: SpecError | ServerError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _compare(
    project: Project, name: str, given: _Given, served: ServedModels, within_s: float
) -> str:
    [one] = served.each
    inputs = _arrays(project, name, "inputs", given, one.model)
    expected = _arrays(project, name, "outputs", given, one.model)
    try:
        response = send_one(served, inputs, within_s=within_s)
    except TransportError as error:
        return error.message  # the server described the model: it is there
    for tensor, values in expected.items():
        if tensor not in response.outputs:
            return f"{tensor} is not in the response"
        output = response.outputs[tensor]
        wanted = widened(values) if output.datatype == "BF16" else values
        tolerance = project.spec.tests[name].tolerance
        if reason := _difference(output.values, wanted, tolerance):
            return f"{tensor}{reason}"
    return ""


def _arrays(
    project: Project, name: str, kind: str, given: _Given, model: ModelInfo
) -> dict[str, Array]:
    """Return arrays of the model's own types and ranks."""
    known = {tensor.name: tensor for tensor in getattr(model, kind)}
    found = {}
    for tensor, values in given[kind].items():
        place = project.place("tests", name, kind, tensor)
        if tensor not in known:
            raise SpecError(
                f"{place}: model {model.name!r} has no {kind[:-1]} {tensor!r}",
                hint=did_you_mean(tensor, known),
            )
        array = _array(values, known[tensor], f"{place}: {tensor!r}")
        # The batch axis may be left out of a single sample.
        rank = len(known[tensor].shape) + model.has_batch_axis
        found[tensor] = array[np.newaxis] if array.ndim == rank - 1 else array
    return found


def _array(values: Any, tensor: Tensor, where: str) -> Array:  # noqa: ANN401
    plain = np.array(values, object)
    for value in plain.flat:
        if isinstance(value, list):
            raise SpecError(f"{where}: its lists differ in length")
        if value is None or isinstance(value, dict):
            raise SpecError(f"{where}: {value!r} is no {tensor.dtype.name}")
    if tensor.dtype.item_bytes is not None:
        return exact_array(values, tensor.dtype, where)
    for at, value in np.ndenumerate(plain):
        plain[at] = value if isinstance(value, bytes) else str(value).encode()
    return plain


def _difference(found: Array, expected: Array, tolerance: float) -> str:
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
