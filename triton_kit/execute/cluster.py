"""A connection to a Ray cluster, and what its nodes have."""

from __future__ import annotations

import json
import signal
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType

from triton_kit.errors import (
    MissingExtraError,
    SpecError,
    TransportError,
    did_you_mean,
)

_CLIENT = "ray://"
_CLIENT_PORT = 10001
_PROBE_S = 10.0
# Resources that have an option of `ray start`.
_COUNTED = {"CPU": "--num-cpus", "GPU": "--num-gpus"}


@dataclass(frozen=True, slots=True)
class ExecutorChoice:
    """Where work runs: `local`, `ray` (the cluster of this machine) or `ray://HOST`."""

    text: str = "local"

    def __post_init__(self) -> None:
        if self.text in ("local", "ray"):
            return
        if not self.text.startswith(_CLIENT) or not self._host:
            raise SpecError(
                f"unknown executor {self.text!r}",
                hint=did_you_mean(self.text, ("local", "ray", "ray://HEAD:10001")),
            )
        if not 0 < self._port < 65536:
            raise SpecError(
                f"executor {self.text!r}: no such port",
                hint=f"ray://HEAD:{_CLIENT_PORT}",
            )

    @property
    def is_local(self) -> bool:
        """Whether work stays on this machine, in processes of the kit."""
        return self.text == "local"

    @property
    def _host(self) -> str:
        return self.text.removeprefix(_CLIENT).partition(":")[0]

    @property
    def _port(self) -> int:
        port = self.text.removeprefix(_CLIENT).partition(":")[2] or str(_CLIENT_PORT)
        return int(port) if port.isdecimal() else 0

    @property
    def address(self) -> str:
        """What Ray calls the cluster, which has been asked for a connection.

        Raises:
            SpecError: Ray finds no cluster.
            TransportError: nothing listens there.
        """
        if self.text == "ray":
            hint = "$RAY_ADDRESS, or the last `ray start` on this machine, names it"
            self._require_response(_found_address(), hint)
            return "auto"
        address = f"{_CLIENT}{self._host}:{self._port}"
        hint = (
            f"ray start --head opens port {_CLIENT_PORT} for clients; in Kubernetes, "
            "the head's service has it"
        )
        self._require_response(address, hint)
        return address

    def _require_response(self, address: str, hint: str) -> None:
        """Refuse an address where nothing listens: Ray itself tries it for minutes."""
        where = address.removeprefix(_CLIENT)
        host, _, port = where.rpartition(":")
        if not host or not port.isdecimal():
            return  # Ray knows other forms of addresses
        try:
            connect_to = (host.strip("[]"), int(port))
            socket.create_connection(connect_to, timeout=_PROBE_S).close()
        except OSError as error:
            raise TransportError(
                f"executor {self.text}: the cluster at {where} does not respond: "
                f"{error.strerror or error}",
                hint=hint,
            ) from error


def _found_address() -> str:
    """Return the address that $RAY_ADDRESS has, or of the cluster on this machine."""
    # Ray 2.60 has no public function for it.
    from ray._private.services import get_ray_address_from_environment

    try:
        return str(get_ray_address_from_environment("auto", None))
    except ConnectionError as error:
        raise SpecError(
            "executor ray: no Ray cluster found: none runs on this machine, and "
            "$RAY_ADDRESS names none",
            hint="ray start --head, or --executor ray://HEAD:10001",
        ) from error


def require_ray(choice: ExecutorChoice) -> None:
    """Check that Ray is installed, without its import, which takes a second.

    Raises:
        MissingExtraError: it is not.
    """
    if find_spec("ray") is None:
        raise MissingExtraError(f"executor {choice.text}: Ray", extra="ray")


def chosen_cluster(text: str) -> ExecutorChoice | None:
    """Return the cluster that `--executor` names; None for processes of this machine.

    Raises:
        SpecError: there is no such executor.
        MissingExtraError: it needs Ray, which is not installed.
    """
    choice = ExecutorChoice(text)
    if choice.is_local:
        return None
    require_ray(choice)
    return choice


@contextmanager
def connected(choice: ExecutorChoice) -> Iterator[ModuleType]:
    """Connect to a cluster, and yield the module `ray`.

    Everything that this process starts there ends with it. Where it is connected
    already, that connection serves and stays.

    Raises:
        MissingExtraError: Ray is not installed.
        SpecError: no cluster runs, or one of another Python or Ray version.
        TransportError: the cluster does not respond.
    """
    require_ray(choice)
    import ray

    if ray.is_initialized():
        yield ray
        return
    with _own_output():
        try:
            with _own_signal_handlers():
                _connect(ray, choice)
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: ModuleType, choice: ExecutorChoice) -> None:
    address = choice.address
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says the same
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        raise TransportError(
            f"executor {choice.text}: no Ray responds: {_first_line(error)}",
            hint=f"{_CLIENT_PORT} is the port of Ray clients; 6379 is the cluster's "
            "own, which --executor ray uses on a node",
        ) from error
    except RuntimeError as error:
        words = " ".join(str(error).split())
        if "ersion mismatch" not in words:
            raise TransportError(f"executor {choice.text}: {words}") from error
        raise SpecError(
            f"executor {choice.text}: {words}",
            hint="use the cluster's versions of Python and Ray: they pickle for each "
            "other",
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Keep our handlers: Ray sets one of its own, which exits."""
    before = {}
    with suppress(ValueError):  # not the main thread, where Ray sets none either
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.getsignal(number)
    try:
        yield
    finally:
        with suppress(ValueError):
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _own_output() -> Iterator[None]:
    """Keep stdout for results: Ray prints there when a node is lost, among others.

    `log_to_driver` does not concern these messages, and Ray 2.60 has no public setting.
    """
    from ray._private import worker

    before = getattr(worker, "_worker_logs_enabled", True)
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


def room_in(ray: ModuleType, wanted: Mapping[str, float]) -> int:
    """Return how many tasks the nodes have resources for, were nothing else there."""
    return _room(_resources(ray), wanted)


def _resources(ray: ModuleType) -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _room(nodes: Iterable[Mapping[str, float]], wanted: Mapping[str, float]) -> int:
    return sum(
        min(int(node.get(name, 0) // each) for name, each in wanted.items())
        for node in nodes
    )


def node_name() -> str:
    """Return the name of the node that this process of Ray is on."""
    import ray

    # Several nodes may have one address.
    number = ray.get_runtime_context().get_node_id()[:6]
    return f"{ray.util.get_node_ip_address()} ({number})"


def require_resources(
    ray: ModuleType,
    what: str,
    wanted: Mapping[str, float],
    *,
    count: int = 1,
) -> None:
    """Check that the cluster could run `count` tasks at once.

    Raises:
        SpecError: no node has the resources, or too few have.
    """
    nodes = _resources(ray)
    room = _room(nodes, wanted)
    if room >= count:
        return
    nodes_have = "node has" if len(nodes) == 1 else "nodes have"
    raise SpecError(
        f"{what}: {count} asked for, with {_in_words(wanted)} each; the cluster's "
        f"{len(nodes)} {nodes_have} room for {room}",
        hint=_how_to_add(nodes, wanted),
    )


def _in_words(resources: Mapping[str, float]) -> str:
    return " and ".join(
        f"{amount:g} {name}" if name in _COUNTED else f"the resource {name}"
        for name, amount in resources.items()
    )


def _how_to_add(
    nodes: Sequence[Mapping[str, float]], wanted: Mapping[str, float]
) -> str:
    """Return which resources no node has enough of, and how a node gets them."""
    lacking = {
        name: each
        for name, each in wanted.items()
        if all(node.get(name, 0) < each for node in nodes)
    }
    if not lacking and not _room(nodes, wanted):
        lacking = dict(wanted)  # each is somewhere, but not all on one node
    if not lacking:
        return "ask for fewer at once, or add nodes: ray start --address HEAD:6379"
    options = [f"{_COUNTED[n]} {lacking[n]:g}" for n in lacking if n in _COUNTED]
    if named := {name: 1 for name in lacking if name not in _COUNTED}:
        options.append(f"--resources '{json.dumps(named)}'")
    return f"no node has {_in_words(lacking)}: ray start {' '.join(options)}"


def reason(error: BaseException) -> str:
    """Return in one line why Ray lost a process."""
    text = " ".join(str(error).split())
    for known, said in (
        ("node died", "its node died"),
        ("node was terminated", "its node died"),
        ("raylet died", "its node died"),
        ("lost due to node failure", "its node died"),
        ("object cannot be reconstructed", "its node died"),
        ("temporarily unavailable", "its process or its node died"),
        ("connection error code 2", "its process was killed or crashed"),
        ("worker died", "its process was killed or crashed"),
        ("worker process has died", "its process was killed or crashed"),
        ("ModuleNotFoundError", f"its node cannot import the kit: {text[-200:]}"),
    ):
        if known in text:
            return said
    return text[:300] or type(error).__name__
