"""The simulation of a fleet against what queueing theory knows."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "scale"))
from fleet import Fleet, simulate

SERVICE_S = np.random.default_rng(7).exponential(1.0, 50_000)


def p99(policy, *, nodes=1, use=0.7, **changes):
    fleet = Fleet(nodes=nodes, instances=1, policy=policy, **changes)
    rate_hz = use * nodes / SERVICE_S.mean()
    return np.quantile(simulate(fleet, rate_hz, SERVICE_S, requests=30_000), 0.99)


def test_one_node_is_the_queue_with_one_server():
    # M/M/1: latencies are exponential with the mean 1 / (1 - use).
    assert p99("random") == pytest.approx(-np.log(0.01) / 0.3, rel=0.15)


def test_a_balancer_that_knows_the_queues_has_a_lower_p99():
    by_policy = {
        policy: p99(policy, nodes=8)
        for policy in ("random", "round-robin", "two-choices", "least-requests")
    }

    assert sorted(by_policy, key=by_policy.get) == [
        *("least-requests", "two-choices", "round-robin", "random")
    ]


def test_few_connections_load_nodes_unevenly():
    assert p99("connections", nodes=8, use=0.5, connections=16) > p99(
        "random", nodes=8, use=0.5
    )
