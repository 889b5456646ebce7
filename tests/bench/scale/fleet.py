"""A discrete-event simulation of a fleet: predicts latencies from measured parts.

Requests arrive at random and each goes to a node by the balancer's policy. A node
serves as many at once as it has instances, the others wait in its queue, first come
first served. Service times are drawn from a sample, such as the latencies of a server
with one request at a time.
"""

import heapq
from dataclasses import dataclass

import numpy as np

POLICIES = ("random", "round-robin", "least-requests", "two-choices", "connections")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Nodes behind a balancer; times in seconds.

    `connections` is how many the clients hold. With the policy `connections`, as of a
    balancer of TCP, each belongs to one node, and requests use them in turn.
    """

    nodes: int
    instances: int
    policy: str
    connections: int = 64
    network_s: float = 0.0


def simulate(fleet, rate_hz, service_s, *, requests=100_000, seed=0):
    """Return the latencies of requests in seconds, without those of the first tenth."""
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / rate_hz, requests))
    services = random.choice(np.asarray(service_s), requests)
    free_at = [[0.0] * fleet.instances for _ in range(fleet.nodes)]
    ends = [[] for _ in range(fleet.nodes)]  # of requests at a node: a heap
    choose = chooser(fleet, ends, random)
    latencies = np.empty(requests)
    for number, (at, service) in enumerate(zip(arrivals, services, strict=True)):
        node = choose(number, at)
        start = max(at, free_at[node][0])
        end = start + service
        heapq.heapreplace(free_at[node], end)
        heapq.heappush(ends[node], end)
        latencies[number] = end - at
    return latencies[requests // 10 :] + fleet.network_s


def chooser(fleet, ends, random):
    """Return what chooses a node: `choose(number, at)`."""

    def waiting(node, at):
        while ends[node] and ends[node][0] <= at:
            heapq.heappop(ends[node])
        return len(ends[node])

    def least(nodes, at):
        return min(nodes, key=lambda node: waiting(node, at))

    nodes = range(fleet.nodes)
    of_connection = random.integers(fleet.nodes, size=fleet.connections)
    return {
        "random": lambda _, __: int(random.integers(fleet.nodes)),
        "round-robin": lambda number, _: number % fleet.nodes,
        "least-requests": lambda _, at: least(nodes, at),
        "two-choices": lambda _, at: least(random.integers(fleet.nodes, size=2), at),
        "connections": lambda number, _: int(of_connection[number % fleet.connections]),
    }[fleet.policy]
