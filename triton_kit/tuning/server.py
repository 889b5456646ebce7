"""The server that trials run on: it loads settings, and is left as it was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from triton_kit.errors import ServerError, TransportError
from triton_kit.serving.containers.engine import Engine, find_engine
from triton_kit.serving.containers.launcher import ContainerOptions, running_container
from triton_kit.serving.embedded import running
from triton_kit.serving.server import Server
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.control_http import HttpControl
from triton_kit.tuning.model_fields import Config, instance_total, with_threads
from triton_kit.tuning.space import Settings
from triton_kit.tuning.subject import Subject, fetch_subject, is_ensemble
from triton_kit.tuning.variants import Variant

# How long a server of the user may take to come back after it ended.
_BACK_WITHIN_S = 60.0
_POLL_S = 0.2
# A server in a container that does not respond for so long is taken for dead.
_SILENT_S = 10.0
_LOAD_WITHIN_S = 300.0


class TunedServer:
    """Loads configurations in place of those of the repository, and puts them back.

    Triton keeps such a configuration until it gets another one: a plain load would not
    bring the repository's back. The files of the repository are not touched.

    Attributes:
        url: where requests go.
        control: loads and describes models.
        subject: what is tuned, with its own configurations.
        met_batch_sizes: those that were run since the settings were last loaded.
        metrics_url: where to read metrics; None: they are not needed.
        cores: of the server, where it has not all of the machine's; ONNX Runtime, which
            counts the machine's, gets a thread for each.
    """

    def __init__(
        self, control: HttpControl, subject: Subject, *, url: str, pid: int | None
    ) -> None:
        self.url, self.control, self.pid = url, control, pid
        self.subject = subject
        self.met_batch_sizes: set[int] = set()
        self.metrics_url: str | None = None
        self.cores: int | None = None
        self._loaded: dict[str, Config] | None = dict(subject.configs)
        self._touched: set[str] = set()

    def require_control(self) -> None:
        """Load the model as it is.

        Raises:
            ServerError: the server does not load models when it is asked to.
        """
        name = self.subject.parts[0]
        try:
            self._load(name, self.subject.configs[name])
        except ServerError as error:
            self._touched.clear()
            raise ServerError(
                f"the server at {self.url} cannot be tuned: {error.message}",
                hint=error.hint or "start it with --model-control-mode explicit",
            ) from error

    def apply(
        self, settings: Settings, variants: Mapping[str, Variant] | None = None
    ) -> None:
        """Load the configurations of settings; those that are loaded stay.

        Args:
            settings: of all models.
            variants: by model, in place of its own version.

        Raises:
            ServerError: the server refuses one, or the model is not ready with it.
            TransportError: it does not respond.
        """
        wanted = self.subject.configured(settings)
        by_model = self.subject.by_model(settings)
        for name, variant in (variants or {}).items():
            keeps_graph = "graph_level" in by_model[name]
            wanted[name] = variant.configured(wanted[name], keeps_graph=keeps_graph)
        if self.cores:
            wanted = {n: with_threads(c, self.cores) for n, c in wanted.items()}
        before = self._loaded
        changed = [
            name
            for name, config in wanted.items()
            if before is None or before[name] != config
        ]
        if not changed:
            return
        self.forget_loaded()
        # The steps first: an ensemble is loaded against them.
        changed.sort(key=lambda name: is_ensemble(wanted[name]))
        for name in changed:
            self._load(name, wanted[name])
        if not self.control.is_model_ready(self.subject.model):
            self._load(self.subject.model, wanted[self.subject.model])
        self._loaded = wanted

    def _load(self, name: str, config: Config) -> None:
        self._touched.add(name)
        self.control.load(name, config=config, within_s=_LOAD_WITHIN_S)

    def forget_loaded(self) -> None:
        """Take it that what is loaded is not known: the next trial loads all."""
        self._loaded = None
        self.met_batch_sizes = set()

    def restore(self) -> None:
        """Load the configurations that were there before.

        Raises:
            ServerError: the server has another one now.
        """
        originals = self.subject.configs
        for name in sorted(self._touched, key=lambda n: is_ensemble(originals[n])):
            self.control.load(name, config=originals[name], within_s=_LOAD_WITHIN_S)
        self._touched.clear()
        self._loaded = dict(originals)
        for name, config in originals.items():
            if self.control.config(name).as_json != config:
                raise ServerError(
                    f"the configuration of {name!r} is not what it was",
                    hint=f"unload and load it: triton-kit load {name}",
                )

    def touch_all(self) -> None:
        """Have `restore` load everything: an earlier run may have left its settings."""
        self._touched = set(self.subject.parts)
        self.forget_loaded()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many instances each model has now, on all GPUs together."""
        configs = self._loaded or self.subject.configs
        return {name: instance_total(configs[name]) for name in self.subject.parts}

    @property
    def is_on_gpu(self) -> bool:
        """Whether an instance of any model is on a GPU."""
        configs = self._loaded or self.subject.configs
        return any(
            group.get("kind") == "KIND_GPU"
            for config in configs.values()
            for group in config.get("instance_group") or ()
        )

    def memory_bytes(self) -> int | None:
        """Return the memory of the server and its processes; None if unknown."""
        return None if self.pid is None else family_memory_bytes(self.pid)

    def start_anew(self) -> None:
        """Start another process of the server; a server of the user stays as it is."""

    def require_alive(self) -> None:
        """Wait for a server that ended and comes back.

        Raises:
            ServerError: it does not.
        """
        deadline_s = time.monotonic() + _BACK_WITHIN_S
        while True:
            try:
                self.control.server()
            except TransportError as error:
                if time.monotonic() > deadline_s:
                    raise ServerError(
                        f"the server at {self.url} has ended: {error.message}",
                        hint="start it again, then go on with --resume",
                    ) from error
                self.forget_loaded()
                time.sleep(_POLL_S)
            else:
                return


class KitServer(TunedServer):
    """A server that the kit starts, and starts again if it ends.

    Args:
        start: starts it.
        model, composing: what it has loaded.
        protocol: of the requests.
        has_ended: whether it runs no more.
        is_process: whether it is a process of this machine, which can be measured.
    """

    def __init__(
        self,
        start: Callable[[], AbstractContextManager[Server]],
        model: str,
        composing: tuple[str, ...],
        protocol: str,
        *,
        has_ended: Callable[[Server], bool],
        is_process: bool,
    ) -> None:
        self._start, self._protocol = start, protocol
        self._has_ended, self._is_process = has_ended, is_process
        self._stack = ExitStack()
        self._server = self._stack.enter_context(start())
        control = self._server.control
        subject = fetch_subject(control, model, composing)
        super().__init__(control, subject, url=self._url, pid=self._pid)

    @property
    def _pid(self) -> int | None:
        return self._server.pid if self._is_process else None

    @property
    def _url(self) -> str:
        is_grpc = self._protocol == "grpc"
        return self._server.grpc_url if is_grpc else self._server.http_url

    @property
    def metrics_address(self) -> str:
        """Where its metrics are."""
        return self._server.metrics_url

    def require_alive(self) -> None:
        """Start the server again if it ended; raises ServerError if that fails."""
        if self._has_ended(self._server):
            self.start_anew()

    def start_anew(self) -> None:
        """End the server and start another; raises ServerError if that fails."""
        self.close()
        self._server = self._stack.enter_context(self._start())
        self.control, self.pid, self.url = (
            self._server.control,
            self._pid,
            self._url,
        )
        self.metrics_url = self.metrics_url and self.metrics_address
        self._loaded = dict(self.subject.configs)
        self.met_batch_sizes = set()

    def close(self) -> None:
        """End the server; that it has died is no error here."""
        with suppress(ServerError):
            self._stack.close()


@contextmanager
def kit_server(
    repository: Path,
    model: str,
    *,
    composing: tuple[str, ...] = (),
    protocol: str = "http",
    container: ContainerOptions | None = None,
) -> Iterator[KitServer]:
    """Serve a model of a repository for as long as the block runs.

    Args:
        repository: where its files are.
        model: what is served.
        composing: models that it calls.
        protocol: of the requests.
        container: to serve in; None: the embedded server.

    Raises:
        RepositoryError: there is no such model.
        ServerError: the server or the model does not start.
    """
    spec = ServeSpec(
        repository=repository,
        model_control="explicit",
        models=(model, *composing),
        stop_within_s=5.0,
    )

    def start() -> AbstractContextManager[Server]:
        if container is None:
            return running(spec)
        return running_container(spec, container)

    def has_ended(server: Server) -> bool:
        if container is None:
            return server.process.poll() is not None
        return _container_has_ended(server, find_engine(container.engine))

    server = KitServer(
        start,
        model,
        composing,
        protocol,
        has_ended=has_ended,
        is_process=container is None,
    )
    try:
        yield server
    finally:
        server.close()


def _container_has_ended(server: Server, engine: Engine) -> bool:
    """Whether a container ended, or its server does not respond: that one is removed.

    The engine's program may outlive the container that it runs, and the container a
    server that is on its way out.
    """
    deadline_s = time.monotonic() + _SILENT_S
    while time.monotonic() < deadline_s:
        found = engine.inspect(server.container)
        if found is None or not found["State"]["Running"]:
            return True
        with suppress(TransportError, ServerError):
            server.control.server()
            return False
        time.sleep(_POLL_S)
    engine.remove(server.container)
    return True


@contextmanager
def user_server(
    control: HttpControl,
    model: str,
    *,
    url: str,
    composing: tuple[str, ...] = (),
    originals: Mapping[str, Config] | None = None,
) -> Iterator[TunedServer]:
    """Use a server that runs; put its configurations back in the end.

    Args:
        control: its control API.
        model: a model that it has loaded.
        url: where requests go.
        composing: models that the model calls.
        originals: the configurations that an interrupted run found.

    Raises:
        SpecError: it has no such model.
        ServerError: the model is not ready.
    """
    control.model(model)
    subject = fetch_subject(control, model, composing)
    if originals is not None:
        subject = Subject(model=model, configs=originals)
    server = TunedServer(control, subject, url=url, pid=None)
    if originals is not None:
        server.touch_all()
    server.require_control()
    try:
        yield server
    except BaseException:
        with suppress(TransportError):  # of a server that is gone: the error says so
            server.restore()
        raise
    server.restore()


def family_memory_bytes(pid: int) -> int | None:
    """Return the resident memory of a process and its children."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += each.memory_info().rss
    return total or None
