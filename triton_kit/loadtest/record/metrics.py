"""The server's Prometheus endpoint during a run: growth of counters, mean of gauges."""

from __future__ import annotations

import itertools
import math
import re
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from triton_kit.errors import SpecError, TransportError
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.triton.address import shown

_RESPONSE_WITHIN_S = 5.0
_TYPE = re.compile(r"# TYPE (?P<name>\S+) (?P<kind>\S+)")
_SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][\w:]*)(\{(?P<labels>.*)\})?\s+(?P<value>\S+)(\s+-?\d+)?"
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

GPU_UTILIZATION = "nv_gpu_utilization"
_HINT = (
    "Triton's metrics port is 8002 by default; set the address (perf: --metrics-url)"
)
# No proxy: a server on loopback is never behind one, whatever the environment says.
_opener = build_opener(ProxyHandler({}))

# Name and labels, in the order in which the server writes them.
Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class Scrape:
    """All samples of one moment (monotonic clock), and the kind of each family."""

    values: dict[Key, float] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    at_ns: int = field(default_factory=now_ns)

    def kind_of(self, name: str) -> str:
        """Return `counter`, `gauge` and so on; parts of a summary only ever grow.

        What has the summary's own name is one of its quantiles, which do not.
        """
        if name in self.kinds:
            return self.kinds[name]
        is_part = name.endswith(("_sum", "_count", "_bucket", "_total"))
        return "counter" if is_part else "untyped"


def parse_metrics(text: str) -> Scrape:
    """Read Prometheus' text form; lines that are not of it are left out.

    So are values that are none, as the quantiles of what was never observed.
    """
    scrape = Scrape()
    for line in text.splitlines():
        if kind := _TYPE.match(line):
            scrape.kinds[kind["name"]] = kind["kind"]
        elif sample := _SAMPLE.fullmatch(line.strip()):
            labels = tuple(_LABEL.findall(sample["labels"] or ""))
            with suppress(ValueError):
                value = float(sample["value"])
                if math.isfinite(value):
                    scrape.values[sample["name"], labels] = value
    return scrape


class MetricsWatch:
    """Asks the endpoint before, after and now and then during a run.

    A thread asks, so that a slow endpoint never holds up the load.
    """

    def __init__(self, url: str, *, interval_s: float = 1.0) -> None:
        if not interval_s > 0:
            raise SpecError(f"metrics interval {interval_s:g} s: need more than 0")
        self._url = url if "://" in url else f"http://{url}"
        self._interval_s = interval_s
        self._scrapes: list[Scrape] = []

    def scrape(self) -> Scrape:
        """Ask once.

        Raises:
            TransportError: no server responds there, or not with metrics.
        """
        try:
            with _opener.open(self._url, timeout=_RESPONSE_WITHIN_S) as response:
                scrape = parse_metrics(response.read().decode(errors="replace"))
        except HTTPError as error:
            error.close()
            raise TransportError(
                f"no metrics at {shown(self._url)}: HTTP {error.code}", hint=_HINT
            ) from error
        except (URLError, OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            text = getattr(reason, "strerror", None) or reason
            raise TransportError(
                f"no metrics at {shown(self._url)}: {text}",
                hint=_HINT,
            ) from error
        if not scrape.values:
            has_path = urlsplit(self._url).path.strip("/")
            raise TransportError(
                f"no metrics at {shown(self._url)}: the response has none",
                hint=_HINT if has_path else "Triton's have the path /metrics",
            )
        return scrape

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Scrape while the block runs; failed scrapes are left out."""
        self._scrapes = []
        self._try_to_scrape()
        is_over = threading.Event()
        thread = threading.Thread(target=self._keep_scraping, args=(is_over,))
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self._try_to_scrape()

    def _keep_scraping(self, is_over: threading.Event) -> None:
        while not is_over.wait(self._interval_s):
            self._try_to_scrape()

    def _try_to_scrape(self) -> None:
        with suppress(TransportError):
            self._scrapes.append(self.scrape())

    def latest(self, name: str) -> list[float]:
        """Return the values of a metric in the last scrape, by their labels."""
        if not self._scrapes:
            return []
        values = self._scrapes[-1].values
        return [value for (metric, _), value in values.items() if metric == name]

    def between(self, start_ns: int, end_ns: int) -> Sequence[Scrape]:
        """Return the scrapes of a stretch of time.

        If there are none, the last one before it, unless that is too old.
        """
        first, end = (
            bisect_right(self._scrapes, at_ns, key=lambda scrape: scrape.at_ns)
            for at_ns in (start_ns, end_ns)
        )
        if first < end:
            return self._scrapes[first:end]
        oldest_ns = end_ns - 2 * ns(self._interval_s)
        before = self._scrapes[:first][-1:]
        return [scrape for scrape in before if scrape.at_ns >= oldest_ns]

    def summary(self) -> list[dict[str, Any]]:
        """Return what changed: growth of counters, mean and maximum of the rest."""
        if not self._scrapes:
            return []
        last = self._scrapes[-1]
        rows = []
        for name, labels in last.values:
            row: dict[str, Any] = {"name": name, "labels": dict(labels)}
            if last.kind_of(name) == "counter":
                if growth := self._growth((name, labels)):
                    rows.append(row | {"kind": "counter", "growth": growth})
            else:
                rows.append(row | {"kind": "gauge"} | self._levels((name, labels)))
        return rows

    def _growth(self, key: Key) -> float:
        """Add up the steps of a counter; one that fell has begun anew, at 0."""
        values = [scrape.values.get(key, 0.0) for scrape in self._scrapes]
        return sum(
            late - early if late >= early else late
            for early, late in itertools.pairwise(values)
        )

    def _levels(self, key: Key) -> dict[str, Any]:
        values = [s.values[key] for s in self._scrapes if key in s.values]
        return {
            "mean": sum(values) / len(values),
            "min": min(values),
            "max": max(values),
        }


def metrics_watch(url: str | None, interval_s: float) -> MetricsWatch | None:
    """Return the reader of an endpoint, if there is one."""
    return None if url is None else MetricsWatch(url, interval_s=interval_s)
