"""Staged models are tried before a reader sees them, and on the server that serves."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: arrays

from triton_kit.errors import (
    MissingExtraError,
    RepositoryError,
    ServerError,
    SpecError,
    TransportError,
)
from triton_kit.publish_sources import SAMPLE_FILE
from triton_kit.repository.check.check import check_repository
from triton_kit.repository.check.embedded import EMBEDDED_BACKENDS
from triton_kit.repository.check.findings import ERROR, Finding
from triton_kit.repository.check.incomplete import WAITS
from triton_kit.repository.publish.layout import CONFIG_FILE, versions
from triton_kit.repository.publish.policy import config_message, selected_versions
from triton_kit.repository.publish.publish import Staged
from triton_kit.triton.schema import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from triton_kit.triton.control_http import HttpControl
    from triton_kit.triton.model import ModelInfo
    from triton_kit.triton.tls import Tls

_MANY_GPUS = 64
_NO_MODEL = ("K16", "M2")
_PERHAPS = ("K13", "K26")
_POLL_S = 0.1
_HTTP = re.compile(r" \(HTTP \d+\)$")
_SCRATCH_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveServer:
    """The server whose models are published.

    Attributes:
        url: `http://HOST:PORT`, or `https://HOST:PORT`.
        headers: of each request, such as the key of the control APIs.
        within_s: how long one model may take to load, and to be ready.
        tls: the certificates for `https`; None: those of the system.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    within_s: float = 600.0
    tls: Tls | None = None

    @property
    def control(self) -> HttpControl:
        """Its control API."""
        from triton_kit.triton.address import parse_address
        from triton_kit.triton.control_http import HttpControl

        address = parse_address(self.url, default_port=8000, tls=self.tls)
        return HttpControl(address, headers=self.headers)


def preview(root: Path, staged: Sequence[Staged], folder: Path) -> None:
    """Show a repository as it will be in `folder`, by links."""
    folder.mkdir(parents=True)
    own = {one.name: one for one in staged}
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.name not in own and path.is_dir():
            (folder / path.name).symlink_to(path.absolute())
    for one in staged:
        _show(root.absolute() / one.name, one, folder / one.name)


def _show(model: Path, one: Staged, folder: Path) -> None:
    folder.mkdir()
    for path in model.iterdir() if model.is_dir() else ():
        if path.name not in one.files and path.name != str(one.version):
            (folder / path.name).symlink_to(path)
    for name in one.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _link(one.folder / name, folder / name)
    version = one.new_folder if one.is_new_version else model / str(one.version)
    # The server may write its bytecode beside the links, not beside the files.
    for parent, _, names in os.walk(version):
        here = folder / str(one.version) / Path(parent).relative_to(version)
        here.mkdir(parents=True)
        for name in names:
            _link(Path(parent) / name, here / name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_preview(folder: Path, root: Path, names: Sequence[str], release: str) -> None:
    """Refuse what the server would not load; what was broken before is left alone.

    Raises:
        RepositoryError: a model would not load.
        SpecError: there is no such release.
    """
    report = check_repository(folder, server=release, gpus=_MANY_GPUS)
    refused = [f for f in report.findings if _is_refused(f)]
    if others := [f for f in refused if f.model not in names]:
        before = check_repository(root, server=release, gpus=_MANY_GPUS)
        known = {(f.model, f.rule) for f in before.findings}
        refused = [f for f in refused if f not in others or _key(f) not in known]
    if not refused:
        return
    lines = [f"model {f.model!r}: {f.message} ({f.rule})" for f in refused]
    raise RepositoryError(
        f"Triton {release} would refuse it:\n" + "\n".join(lines), hint=refused[0].hint
    )


def _is_refused(finding: Finding) -> bool:
    is_error = finding.severity == ERROR and finding.rule not in (*_PERHAPS, WAITS)
    return is_error or finding.rule in _NO_MODEL


def _key(finding: Finding) -> tuple[str, str]:
    return finding.model, finding.rule


def in_load_order(configs: Mapping[str, Message]) -> list[str]:
    """Return models in an order in which the steps of an ensemble come before it."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in order or name in above or name not in configs:
            return
        for step in configs[name].ensemble_scheduling.step:
            visit(step.model_name, (*above, name))
        order.append(name)

    for name in configs:
        visit(name, ())
    return order


def scratch_load(
    folder: Path, staged: Sequence[Staged], *, with_smoke: bool
) -> Iterator[str]:
    """Load staged models in an embedded server, and infer; yield what was not tried.

    A model that cannot load leaves a 24.10 server not-ready for good, so another one
    has to find out.

    Raises:
        ServerError: a model does not load, or its outputs are no numbers.
    """
    from triton_kit.serving.embedded import running
    from triton_kit.serving.spec import ServeSpec

    configs = {one.name: _config(one.folder / CONFIG_FILE) for one in staged}
    untried = {one.name: _untried(configs[one.name], folder) for one in staged}
    yield from (f"{n}: no scratch load: {why}" for n, why in untried.items() if why)
    wanted = [name for name in in_load_order(configs) if not untried[name]]
    if not wanted:
        return
    numbers = {one.name: one.version for one in staged}
    spec = ServeSpec(
        repository=folder,
        model_control="explicit",
        stop_within_s=5.0,
        variables=("PYTHONDONTWRITEBYTECODE=1",),
    )
    try:
        with running(spec) as server:
            live = LiveServer(url=server.http_url, within_s=_SCRATCH_WITHIN_S)
            for name in wanted:
                version = numbers[name]
                _load_scratch(server.control, name, server.log)
                there = versions(folder / name)
                text = (folder / name / CONFIG_FILE).read_bytes()
                if with_smoke and version in selected_versions(text, there):
                    sample = folder / name / str(version) / SAMPLE_FILE
                    if note := smoke(live, name, version, sample):
                        yield note
    except MissingExtraError as error:
        yield f"no scratch load: {error.message}"


def _load_scratch(control: HttpControl, name: str, log: Path) -> None:
    from triton_kit.serving.readiness import reasons_in_log, tidy

    try:
        control.load(name, within_s=_SCRATCH_WITHIN_S)
    except ServerError as error:
        reason = tidy(_HTTP.sub("", error.message))
        if "failed to poll from model repository" in reason:
            reason = reasons_in_log(log).get(name, reason)
        raise ServerError(
            f"model {name!r} does not load in a scratch server: {reason}",
            hint="nothing was published; --no-scratch-load leaves this test out",
        ) from error


def _config(path: Path) -> Message:
    return config_message(path.read_bytes())


def _untried(config: Message, folder: Path) -> str:
    """Return why the embedded server cannot judge a model; "" if it can."""
    steps = [step.model_name for step in config.ensemble_scheduling.step]
    for name in steps:
        path = folder / name / CONFIG_FILE
        if path.is_file() and (why := _untried(_config(path), folder)):
            return f"its step {name}: {why}"
    if steps or config.platform == "ensemble":
        return ""
    backend = config.backend or config.platform.partition("_")[0]
    if backend and backend not in EMBEDDED_BACKENDS:
        return f"the embedded server has no backend {backend!r}"
    if any(group.kind == group.KIND_GPU for group in config.instance_group):
        from triton_kit.gpu import compute_capabilities

        if not compute_capabilities():
            return "it runs on a GPU, and this machine has none"
    return ""


def smoke(live: LiveServer, name: str, version: int, sample: Path) -> str:
    """Send one request to a version; return why it was not sent, or "".

    Raises:
        ServerError: it failed, or an output holds NaN or an infinity.
        TransportError: the server does not respond.
    """
    import numpy as np

    from triton_kit.loadtest.run.served_models import fetch_served_models
    from triton_kit.loadtest.run.single_request import send_one
    from triton_kit.loadtest.spec import PerfSpec
    from triton_kit.loadtest.transport_spec import TransportSpec

    config = live.control.config(name, str(version)).as_json
    if (config.get("model_transaction_policy") or {}).get("decoupled"):
        return f"{name}: no smoke test: it streams its responses"
    kinds = {str(tensor.get("data_type")) for tensor in config.get("input") or ()}
    has_sample = sample.is_file()
    if "TYPE_STRING" in kinds and not has_sample:
        return f"{name}: no smoke test: it takes strings, and has no sample (--sample)"
    if varying := [] if has_sample else _varying(config):
        return (
            f"{name}: no smoke test: input {varying[0]} varies in shape, and there is "
            "no sample (--sample)"
        )
    floats = {"TYPE_FP16", "TYPE_FP32", "TYPE_FP64", "TYPE_BF16"}
    spec = PerfSpec(
        url=live.url,
        model=name,
        version=str(version),
        headers=live.headers,
        transport=TransportSpec(tls=live.tls),
        input_data="random" if kinds <= floats else "zero",
    )
    with fetch_served_models(spec) as served:
        inputs = _inputs(sample, served.each[0].model) if has_sample else None
        response = send_one(served, inputs, within_s=live.within_s)
    for tensor, output in response.outputs.items():
        if output.values.dtype.kind == "f" and not np.isfinite(output.values).all():
            raise ServerError(
                f"model {name!r} version {version} returns NaN or infinity in output "
                f"{tensor!r}",
                hint="for a real sample: --sample FILE.npz; or leave the smoke test "
                "out: --no-smoke",
            )
    return ""


def _varying(config: Mapping[str, Any]) -> list[str]:
    return [
        str(tensor.get("name"))
        for tensor in config.get("input") or ()
        if any(int(size) < 0 for size in tensor.get("dims") or ())
    ]


def _inputs(sample: Path, model: ModelInfo) -> dict[str, NDArray[Any]]:
    """Return the inputs of a sample, with the batch axis, and strings as bytes."""
    import numpy as np

    from triton_kit.samples import read_npz

    arrays, inputs = read_npz(sample), {}
    for tensor in model.inputs:
        if tensor.name not in arrays:
            continue
        array = arrays[tensor.name]
        if array.ndim == len(tensor.shape) + model.has_batch_axis - 1:
            array = array[np.newaxis]
        if tensor.dtype.item_bytes is None:
            text = np.empty(array.shape, object)
            for at, value in np.ndenumerate(array):
                text[at] = value.encode() if isinstance(value, str) else bytes(value)
            array = text
        inputs[tensor.name] = array
    return inputs


def serve_live(
    live: LiveServer,
    root: Path,
    names: Sequence[str],
    *,
    with_smoke: bool,
    on_note: Callable[[str], None],
) -> None:
    """Load models as they are now, and wait until each of their versions is ready.

    Args:
        live: the server; the readiness of the server itself is not asked, as it says
            nothing of one model.
        root: the repository.
        names: the models.
        with_smoke: whether each newest version gets a request.
        on_note: called with what was left out.

    Raises:
        ServerError: a model does not load, is not ready in time, or fails the test.
        TransportError: the server does not respond.
    """
    configs = {name: _config(root / name / CONFIG_FILE) for name in names}
    for name in in_load_order(configs):
        live.control.load(name, within_s=live.within_s)
        text = (root / name / CONFIG_FILE).read_bytes()
        wanted = selected_versions(text, versions(root / name))
        for version in wanted:
            _await_ready(live, root, name, version)
        if with_smoke and wanted:
            sample = root / name / str(wanted[-1]) / SAMPLE_FILE
            if note := smoke(live, name, wanted[-1], sample):
                on_note(note)


def _await_ready(live: LiveServer, root: Path, name: str, version: int) -> None:
    deadline_s = time.monotonic() + live.within_s
    while not live.control.is_model_ready(name, str(version)):
        states = [e for e in live.control.index() if e.name == name]
        # It was loaded: a version that the server does not list will not come.
        if not any(e.version == str(version) for e in states):
            raise ServerError(
                f"{live.url}: model {name!r} has no version {version} there",
                hint=f"does that server read {root}?",
            )
        if time.monotonic() > deadline_s:
            raise ServerError(
                f"{live.url}: model {name!r} version {version} was not ready within "
                f"{live.within_s:g} s"
            )
        time.sleep(_POLL_S)


def restore_live(live: LiveServer, root: Path, names: Sequence[str]) -> list[str]:
    """Load the old state again; return what did not work."""
    failed = []
    for name in names:
        try:
            if (root / name / CONFIG_FILE).is_file():
                live.control.load(name, within_s=live.within_s)
            else:
                with suppress(ServerError):
                    live.control.unload(name)
        except (ServerError, TransportError) as error:
            failed.append(f"{name}: {error.message}")
    return failed


def server_release(live: LiveServer) -> str:
    """Return the release of a server, for the check; that of the kit's if unknown."""
    from triton_kit.triton.releases import known_release

    found = live.control.server().version
    with suppress(SpecError):
        return known_release(found).release
    return found
