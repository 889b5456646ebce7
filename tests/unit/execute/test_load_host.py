"""The actor of a load process, on event loops of both kinds that Ray uses."""

import asyncio
import os
import selectors

import pytest

from triton_kit.execute.load_host import LoadHost
from triton_kit.loadtest.loops.loop_setup import WorkerShare


class LikeUvloop(asyncio.SelectorEventLoop):
    """Makes what it watches non-blocking, as libuv's `uv_poll_init` does."""

    def add_reader(self, fd, callback, *args):
        os.set_blocking(fd, False)
        return super().add_reader(fd, callback, *args)


@pytest.mark.parametrize("kind", [asyncio.SelectorEventLoop, LikeUvloop])
def test_the_connection_stays_blocking_on_both_event_loops(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    events = []

    async def scenario():
        host = LoadHost(WorkerShare(0, 1))
        with host._stack:
            await host.start()
            connection = host._worker.connection
            assert os.get_blocking(connection.fileno())
            # The process waits for a job: it ends once the connection does.
            await host.send(b"no job")
            events.append(await asyncio.wait_for(host.receive(), 60))

    with asyncio.Runner(loop_factory=lambda: kind(selectors.EpollSelector())) as runner:
        runner.run(scenario())

    assert "exit code 1" in events[0]
    assert "UnpicklingError" in events[0]
