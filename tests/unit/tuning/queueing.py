"""A simulated server: instances, batching and delay, with the noise of a real one.

A closed loop of clients, a queue, a dynamic batcher and instances that share cores, run
event by event. What a point truly does is computed once; a measurement adds noise.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field
from functools import cache

from triton_kit.tuning.search import Told
from triton_kit.tuning.space import Space, SpaceField

# Of measurements of three seconds on the real embedded server (digits, two cores that
# were not much used otherwise): the standard deviation of the logarithm.
THROUGHPUT_NOISE, TAIL_NOISE = 0.033, 0.2
INSTANCES = (1, 2, 3, 4, 6)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
DELAYS = (0, 100, 500, 2000, 8000)
LOADS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Server:
    """Times in seconds: an execution takes `fixed + each * batch`.

    `cores` are shared by the instances, each of which keeps `busy` of one core busy
    while it executes; `client` passes between a response and the next request.
    """

    fixed: float
    each: float
    cores: float = 4.0
    busy: float = 1.0
    client: float = 0.0002

    def simulate(self, instances, largest, delay_us, clients, *, requests=600):
        """Return inferences per second, and the p95 of the latency in seconds."""
        rng = random.Random(1)
        delay, counter = delay_us / 1e6, itertools.count()
        events = [(0.0, next(counter), "arrive", None) for _ in range(clients)]
        waiting, idle, latencies, ends = deque(), instances, [], []
        now = 0.0
        while len(ends) < requests:
            now, _, kind, batch = heapq.heappop(events)
            if kind == "arrive":
                waiting.append(now)
                if delay and largest > 1:
                    heapq.heappush(events, (now + delay, next(counter), "due", None))
            elif kind == "done":
                idle += 1
                for came in batch:
                    latencies.append(now - came)
                    ends.append(now)
                    at = now + self.client
                    heapq.heappush(events, (at, next(counter), "arrive", None))
            while idle and waiting:
                is_due = now >= waiting[0] + delay - 1e-9 or largest == 1
                if len(waiting) < largest and not is_due:
                    break
                size = min(largest, len(waiting))
                taken = [waiting.popleft() for _ in range(size)]
                idle -= 1
                slow = max(1.0, (instances - idle) * self.busy / self.cores)
                time = (self.fixed + self.each * size) * slow
                time *= rng.lognormvariate(0, 0.05)
                heapq.heappush(events, (now + time, next(counter), "done", taken))
        first = len(ends) // 4
        rate = (len(ends) - first) / max(ends[-1] - ends[first], 1e-9)
        tail = sorted(latencies[first:])[int(0.95 * (len(latencies) - first))]
        return rate, tail


@cache
def truth(server):
    """Return what every point of the grid does."""
    return {
        point: server.simulate(*point)
        for point in itertools.product(INSTANCES, BATCHES, DELAYS, LOADS)
        if not batch_fault(point)
    }


def batch_fault(point):
    """Say why a point is illegal: nothing waits for a batch of one."""
    _, largest, delay, _ = point
    return "a delay needs batches" if largest == 1 and delay else ""


def space():
    """Return the grid that is searched."""
    return Space(
        fields=(
            SpaceField(name="instances", values=INSTANCES, default=1),
            SpaceField(name="max_batch_size", values=BATCHES, default=8),
            SpaceField(name="queue_delay_us", values=DELAYS, default=0),
            SpaceField(name="concurrency", values=LOADS, default=8, is_load=True),
        ),
        why_illegal=lambda settings: batch_fault(tuple(settings.values())),
    )


@dataclass
class Simulation:
    """Answers what a search asks for; `within_s` is a bound of p95, if there is one.

    `server_noise` is that of a server against another one, by point. `groups` has the
    trials that were asked for together.
    """

    server: Server | None
    seed: int
    within_s: float | None = None
    server_noise: float = 0.0
    asked: list = field(default_factory=list)
    groups: list = field(default_factory=list)

    def __post_init__(self):
        self.rng = random.Random(self.seed)
        self.servers = random.Random(self.seed)
        self.speeds = {}

    def true_value(self, point):
        """Return the rate; 0 where the tail is too long."""
        rate, tail = truth(self.server)[point]
        return rate if self.within_s is None or tail <= self.within_s else 0.0

    def measure(self, ask):
        """Measure one point, as noisily as a real measurement of that length."""
        self.asked.append(ask)
        if ask.afresh:
            self.speeds = {}
        rate, tail = truth(self.server)[ask.point] if self.server else (1000.0, 0.01)
        scale = 1 / math.sqrt(ask.effort)
        if ask.point not in self.speeds:
            self.speeds[ask.point] = self.servers.lognormvariate(0, self.server_noise)
        rate *= self.speeds[ask.point]
        rate *= self.rng.lognormvariate(0, THROUGHPUT_NOISE * scale)
        tail *= self.rng.lognormvariate(0, TAIL_NOISE * scale)
        bound = self.within_s
        margins = () if bound is None else (math.log(tail / bound),)
        return Told(value=rate, margins=margins, cost_s=0.5 + ask.effort)


def run(search, simulation):
    """Answer a search until it ends, and return what it decided."""
    asks = next(search)
    while True:
        simulation.groups.append(asks)
        try:
            asks = search.send([simulation.measure(ask) for ask in asks])
        except StopIteration as end:
            return end.value
