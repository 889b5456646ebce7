"""What a server does beyond loading models: cache, traces, logs, limits of memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from triton_kit.errors import SpecError
from triton_kit.serving.spec_checks import check_choice

LogFormat = Literal["default", "ISO8601"]
TraceLevel = Literal["TIMESTAMPS", "TENSORS"]

# Each repeatable option's form, for a message before the server's own.
_FORMS = {
    "rate_resources": (r"[^:\s]+:\d+(:\d+)?", "NAME:COUNT or NAME:COUNT:GPU"),
    "cuda_memory": (r"\d+:\d+", "GPU:BYTES"),
    "backend_configs": (r"[^,\s]*,[^=\s]+=.+", "BACKEND,SETTING=VALUE"),
}

_TRACE_URL = (r"https?://[^\s/]\S*", "http://HOST:PORT/v1/traces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Settings of the whole server; None and () are Triton's defaults.

    Attributes:
        config_name: load `configs/NAME.pbtxt` of each model that has it.
        namespacing: let models of several repositories have the same name.
        poll_interval_s: seconds between two polls, with model control `poll`.
        load_threads: models that load at the same time.
        load_retries: how often a model that failed to load is tried again.
        response_cache_bytes: size of the cache for models that ask for it.
        rate_resources: turns the rate limiter on: NAME:COUNT[:GPU] each.
        trace_url: an OpenTelemetry collector, `http://host:4318/v1/traces`.
        trace_rate: trace one request of this many.
        trace_level: times only, or tensors as well.
        log_format: how the log writes times.
        log_verbose: 0 is off.
        pinned_memory_bytes: pool of pinned memory.
        cuda_memory: pools of CUDA memory: GPU:BYTES each.
        min_compute_capability: GPUs below it are not used.
        backend_configs: BACKEND,SETTING=VALUE each.
    """

    config_name: str = ""
    namespacing: bool = False
    poll_interval_s: int | None = None
    load_threads: int | None = None
    load_retries: int | None = None
    response_cache_bytes: int | None = None
    rate_resources: tuple[str, ...] = ()
    trace_url: str = ""
    trace_rate: int = 1000
    trace_level: TraceLevel = "TIMESTAMPS"
    log_format: LogFormat = "default"
    log_verbose: int = 0
    pinned_memory_bytes: int | None = None
    cuda_memory: tuple[str, ...] = ()
    min_compute_capability: float | None = None
    backend_configs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (form, words) in _FORMS.items():
            _check_forms(name, getattr(self, name), form, words)
        for name, kinds in (("log_format", LogFormat), ("trace_level", TraceLevel)):
            check_choice(name, getattr(self, name), get_args(kinds))
        if self.trace_url:
            form, words = _TRACE_URL
            _check_forms("trace_url", (self.trace_url,), form, words)
        if re.search(r"[\s/]", self.config_name):
            raise SpecError(f"{self.config_name!r} is no name of a configuration")
        for name in ("poll_interval_s", "load_threads", "trace_rate"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise SpecError(f"{name} must be at least 1: {number}")

    def flags(self) -> list[str]:
        """Return the flags of tritonserver for what differs from its defaults."""
        numbers = {
            "model-config-name": self.config_name or None,
            "repository-poll-secs": self.poll_interval_s,
            "model-load-thread-count": self.load_threads,
            "model-load-retry-count": self.load_retries,
            "log-verbose": self.log_verbose or None,
            "pinned-memory-pool-byte-size": self.pinned_memory_bytes,
            "min-supported-compute-capability": self.min_compute_capability,
        }
        flags = [f"--{name}={v}" for name, v in numbers.items() if v is not None]
        if self.namespacing:
            flags.append("--model-namespacing=true")
        if self.log_format != "default":
            flags.append(f"--log-format={self.log_format}")
        if self.response_cache_bytes is not None:
            flags.append(f"--cache-config=local,size={self.response_cache_bytes}")
        if self.rate_resources:
            flags.append("--rate-limit=execution_count")
        flags += [f"--rate-limit-resource={text}" for text in self.rate_resources]
        flags += [f"--cuda-memory-pool-byte-size={text}" for text in self.cuda_memory]
        flags += [f"--backend-config={text}" for text in self.backend_configs]
        return flags + self._trace_flags()

    def _trace_flags(self) -> list[str]:
        if not self.trace_url:
            return []
        return [
            "--trace-config=mode=opentelemetry",
            f"--trace-config=opentelemetry,url={self.trace_url}",
            f"--trace-config=rate={self.trace_rate}",
            f"--trace-config=level={self.trace_level}",
        ]


def _check_forms(name: str, texts: tuple[str, ...], form: str, words: str) -> None:
    for text in texts:
        if not re.fullmatch(form, text):
            raise SpecError(f"{name} {text!r}: expected {words}")
