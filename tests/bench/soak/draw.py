"""A load drawn at random; the same seed draws the same one."""

import random
from dataclasses import dataclass, replace

import numpy as np

from triton_kit.loadtest.loops.load import (
    ClosedLoad,
    PeriodicLoad,
    RateLoad,
    ScheduleLoad,
)
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec

# Of tests/server/perf_models. The stateful one is where most can go wrong.
MODELS = ("counter", "counter", "mlp", "chain", "moody", "repeat", "slow", "varying")
PATIENT_S = 20.0
# Sequences that a run may have; each run has ids of its own.
_IDS_EACH = 100


@dataclass(frozen=True)
class Drawn:
    """What to do, and when Ctrl-C comes, if it does."""

    spec: PerfSpec
    interrupt_s: float | None

    @property
    def is_patient(self) -> bool:
        """Whether every request may take as long as it likes."""
        spec = self.spec
        limits_s = (spec.request_timeout_s, spec.drain_within_s)
        return self.interrupt_s is None and min(limits_s) >= PATIENT_S


def drawn(seed, grpc_url, http_url):
    """Return the load of a seed."""
    rng = random.Random(seed)
    model = rng.choice(MODELS)
    protocol = "grpc" if model == "repeat" else rng.choice(["grpc", "http"])
    spec = PerfSpec(
        url=grpc_url if protocol == "grpc" else http_url,
        protocol=protocol,
        model=model,
        loads=(_load(rng, seed, model),) * rng.choice([1, 1, 2]),
        warm_up_s=rng.choice([0, 0, 0.2]),
        measurement_interval_s=rng.choice([0.2, 0.6]),
        request_timeout_s=_timeout_s(rng, protocol),
        drain_within_s=rng.choice([PATIENT_S, PATIENT_S, 0.05]),
        streaming=model == "repeat" or (protocol == "grpc" and rng.random() < 0.2),
        keep_times=rng.random() < 0.3,
        precise=rng.random() < 0.2,
        most_in_flight=rng.choice([1024, 2]),
        transport=_transport(rng, protocol),
        seed=seed,
    )
    spec = replace(spec, **_shares(rng, spec.loads[0]), **_data(rng, seed, model))
    return Drawn(spec, rng.uniform(0.05, 1.5) if rng.random() < 0.15 else None)


def _timeout_s(rng, protocol):
    """Draw a timeout: over gRPC a long one, as 24.10 may crash when one is over."""
    drawn_s = rng.choice([PATIENT_S, PATIENT_S, PATIENT_S, 0.3, 0.03])
    return PATIENT_S if protocol == "grpc" else drawn_s


def _load(rng, seed, model):
    kind = rng.choice(["closed", "closed", "rate", "rate", "periodic", "trace"])
    if kind == "closed":
        return ClosedLoad(rng.randint(1, 16))
    if kind == "rate":
        rate_hz = rng.choice([30, 300, 3000])
        if model == "slow":  # answers what is due in 0.6 s within PATIENT_S
            rate_hz = min(rate_hz, 300)
        shape = rng.choice(["constant", "poisson"])
        return RateLoad(rate_hz=rate_hz, distribution=shape, seed=seed)
    if kind == "periodic":
        step, period = rng.randint(1, 3), rng.randint(1, 12)
        return PeriodicLoad(start=1, end=rng.randint(2, 9), step=step, period=period)
    times_ns = sorted(rng.randrange(500_000_000) for _ in range(rng.randint(1, 200)))
    return ScheduleLoad(times_ns=tuple(times_ns), is_repeated=False, name="trace")


def _transport(rng, protocol):
    return TransportSpec(
        connections=rng.choice([None, 1, 2, 4]) if protocol == "grpc" else None,
        shared_memory="system" if rng.random() < 0.1 else "none",
        compression="gzip" if rng.random() < 0.1 else "none",
    )


def _shares(rng, load):
    """Draw among how many processes a load is shared, and whether it is counted."""
    count, processes = rng.choice([None, rng.randint(1, 200)]), rng.choice([1, 1, 2, 3])
    if isinstance(load, PeriodicLoad):
        return {}
    if isinstance(load, ClosedLoad):
        processes = min(processes, load.concurrency)
    return {"request_count": count, "processes": processes}


def _data(rng, seed, model):
    """Draw what a model needs to be sent anything."""
    if model == "counter":
        sequences = Sequences(
            length=rng.randint(1, 40),
            first_id=1 + seed * _IDS_EACH,
            at_a_time=rng.randint(1, 12),
        )
        return {"sequences": sequences}
    if model == "repeat":
        counts = [[rng.randint(0, 4)] for _ in range(5)]
        return {"samples": {"count": np.array(counts, np.int32)}}
    if model == "varying":
        return {"shapes": {"x": (rng.randint(1, 9),)}}
    return {}
