"""The kit's HTTP closed loop on uvloop, as lean as it can be; for a comparison only.

Arguments: HOST:PORT, file with one whole request, concurrency, seconds, parser
(`httptools`, or `kit` for the kit's own reader), and a file for the results.
"""

import asyncio
import json
import sys
from pathlib import Path

import httptools
import uvloop

from triton_kit.loadtest.http.http1_response import HeadReader, ResponseReader
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.record.recorder import Recorder


class Client(asyncio.Protocol):
    """One connection that sends the same request again and again."""

    recorder = Recorder()
    payload = b""
    is_over = False

    def connection_made(self, transport):
        self.write = transport.write
        self.first_ns = 0
        self.restart()
        self.send(now_ns())

    def restart(self):
        """Expect the next answer."""
        self.is_complete = False
        self.parser = httptools.HttpResponseParser(self)

    def on_message_complete(self):
        self.is_complete = True

    def send(self, due_ns):
        self.due_ns = due_ns
        self.sent_ns = now_ns()
        self.write(self.payload)

    def data_received(self, data):
        at_ns = now_ns()
        if not self.first_ns:
            self.first_ns = at_ns
        self.parser.feed_data(data)
        if self.is_complete:
            self.is_complete = False
            self.ended(at_ns)

    def ended(self, at_ns):
        times = self.recorder.times
        times += (self.due_ns, self.sent_ns, self.first_ns, at_ns)
        if len(times) >= Recorder.BATCH:
            self.recorder.count()
        self.first_ns = 0
        if not Client.is_over:
            self.send(at_ns)


class KitClient(Client):
    """The same with the kit's reader, which parses each distinct head once."""

    heads = HeadReader()

    def restart(self):
        self.answer = ResponseReader(self.heads)

    def data_received(self, data):
        at_ns = now_ns()
        if not self.first_ns:
            self.first_ns = at_ns
        if self.answer.feed(data):
            self.answer.restart()
            self.ended(at_ns)


async def load(address, concurrency, seconds, client):
    host, port = address.rsplit(":", 1)
    loop = asyncio.get_running_loop()
    for _ in range(concurrency):
        await loop.create_connection(client, host, int(port))
    await asyncio.sleep(seconds)
    Client.is_over = True
    await asyncio.sleep(0.2)


def main(address, request, concurrency, seconds, parser, out):
    Client.payload = Path(request).read_bytes()
    client = KitClient if parser == "kit" else Client
    uvloop.run(load(address, int(concurrency), float(seconds), client))
    latency = Client.recorder.take().latency
    shown = [latency.quantile_ns(share) / 1e3 for share in (0.5, 0.99)]
    Path(out).write_text(json.dumps({"latency_us": shown}))


if __name__ == "__main__":
    main(*sys.argv[1:])
