"""One load from its first request to its last, and what Ctrl-C makes of it."""

import itertools

from triton_kit.errors import TransportError
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.sequences import Sequences, Turns
from triton_kit.loadtest.net.clock import ns
from triton_kit.loadtest.net.memory_transport import MemoryTransport
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.record.cpu import CpuWatch
from triton_kit.loadtest.record.stats import StatsWatch
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.run.trial import Trial
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec


class NoStatistics:
    """A server that tells none."""

    def statistics(self, _model):
        raise TransportError("none here")


class InterruptedWhileSequencesEnd(ClosedLoop):
    begun = 0

    def begin(self, *, count=None):
        self.begun += 1
        return super().begin(count=count)

    def end_sequences(self):
        super().end_sequences()
        if self.begun == 1:
            raise KeyboardInterrupt


def test_ctrl_c_at_the_end_of_the_warm_up_is_the_end_of_the_run():
    good = Request(b"x")
    spec = PerfSpec(
        url="127.0.0.1:1",
        model="m",
        loads=(ClosedLoad(2),),
        warm_up_s=0.02,
        measurement_interval_s=60,
        sequences=Sequences(),
    )
    with Reactor() as reactor:
        engine = InterruptedWhileSequencesEnd(
            reactor,
            MemoryTransport(reactor, service_ns=ns(0.001)),
            [],
            concurrency=2,
            source=lambda _slot: Turns(itertools.repeat(good), ending=good),
        )
        stats = StatsWatch(NoStatistics(), ["m"])
        watch = CpuWatch(spec.address)
        trial = Trial(spec, spec.loads[0], reactor, engine, watch, stats, _unseen)
        run = trial.run()

    assert trial.was_interrupted
    assert engine.begun == 1
    assert engine.is_done
    assert run.recording.total == 0


def _unseen(_done):
    """Nobody looks at the progress."""
