"""A server of the KServe v2 protocol in one bad situation.

Usage: server.py PORT SITUATION LOG. It writes what it did to LOG (JSON) when it ends:
how many requests it met, and how it answered them.
"""

import asyncio
import json
import math
import os
import signal
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path

MODEL_S = 0.002
OVERLOADED_S = 0.02  # one at a time: 50 requests per second
STALL_S = 0.5
ENDS_AFTER = {"server ends in the midst": 200, "one of two servers down": 100}
COLD_S = 0.7
SLOW_START_S = 2.0
TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
CONFIG_TENSOR = {"name": "x", "data_type": "TYPE_FP32", "dims": [4]}
OUTPUT = {"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [1, 3, 5, 7]}
DESCRIPTIONS = {
    "/v2": {
        "name": "situations",
        "version": "1",
        "extensions": ["model_configuration", "statistics", "binary_tensor_data"],
    },
    "/v2/health/live": {},
    "/v2/health/ready": {},
    "/v2/models/m": {
        "name": "m",
        "versions": ["1"],
        "platform": "p",
        "inputs": [TENSOR],
        "outputs": [TENSOR | {"name": "y"}],
    },
    "/v2/models/m/ready": {},
    "/v2/models/m/config": {
        "name": "m",
        "platform": "p",
        "max_batch_size": 8,
        "input": [CONFIG_TENSOR],
        "output": [CONFIG_TENSOR | {"name": "y"}],
    },
}


class Server:
    """Answers requests as its situation says, and counts them."""

    def __init__(self, situation):
        self.situation = situation
        self.began_s = 0.0  # of the first request
        self.met = 0
        self.ended = Counter()
        self.one_at_a_time = asyncio.Lock()

    async def infer(self):
        """Return status and text of a response; None resets the connection."""
        self.met += 1
        self.began_s = self.began_s or time.monotonic()
        number, situation = self.met, self.situation
        if situation == "stall" and number == 150:
            time.sleep(STALL_S)  # the whole server stands still
        if situation == "overload":
            async with self.one_at_a_time:
                await asyncio.sleep(OVERLOADED_S)
        elif situation == "cold start" and number <= 4:
            await asyncio.sleep(COLD_S)
        elif situation == "hung server" and number > 100:
            await asyncio.Event().wait()
        elif number > ENDS_AFTER.get(situation, math.inf):
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            await asyncio.sleep(MODEL_S)
        return self.response(number)

    def response(self, number):
        started_s = time.monotonic() - self.began_s
        wrong = {
            "504s": (number % 10 == 0, 504, "<html>504 Gateway Time-out</html>"),
            "429s": (number % 5 == 0, 429, '{"error": "too many requests"}'),
            "wrong input": (True, 400, '{"error": "unexpected shape for input x"}'),
            "slow start": (started_s < SLOW_START_S, 503, '{"error": "not ready"}'),
        }
        is_wrong, status, text = wrong.get(self.situation, (False, 200, ""))
        if is_wrong:
            return status, text
        if self.situation == "connection reset" and number % 20 == 0:
            return None
        return 200, ""

    async def handle(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *fields = head.decode("latin-1").split("\r\n")
                names = dict(f.lower().split(": ", 1) for f in fields if ": " in f)
                await reader.readexactly(int(names.get("content-length", 0)))
                await self.answer(line.split()[1], writer)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def answer(self, path, writer):
        if path.endswith("/infer"):
            response = await self.infer()
            if response is None:
                self.ended["reset"] += 1
                reset(writer)
                raise ConnectionResetError
            status, text = response
            text = text or json.dumps({"model_name": "m", "outputs": [OUTPUT]})
            self.ended[str(status)] += 1
        elif path in DESCRIPTIONS:
            status, text = 200, json.dumps(DESCRIPTIONS[path])
        elif path.endswith("/stats"):
            status, text = 200, json.dumps({"model_stats": [self.statistics()]})
        else:
            status, text = 404, "{}"
        body = text.encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    def statistics(self):
        count = self.ended["200"]
        stage = {"count": count, "ns": round(count * MODEL_S * 1e9)}
        stages = ("success", "queue", "compute_input", "compute_infer")
        return {
            "name": "m",
            "version": "1",
            "inference_count": count,
            "execution_count": count,
            "inference_stats": dict.fromkeys((*stages, "compute_output"), stage)
            | {"fail": {"count": 0, "ns": 0}},
        }


def reset(writer):
    """Close with a TCP reset."""
    connection = writer.get_extra_info("socket")
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def main(port, situation, log):
    server = Server(situation)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", port)
    await over.wait()
    listener.close()
    log.write_text(json.dumps({"met": server.met, "ended": server.ended}))
    os._exit(0)


asyncio.run(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
