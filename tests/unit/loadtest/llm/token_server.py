"""A small server of the OpenAI API that sends each token at its time.

What it does depends on the model that a request names, such as
`ttft_ms=50,itl_ms=10,usage=0`; a test reads what it was asked in `asked`, when
in `asked_s`, and how often it listed its models in `listings`.
"""

import json
import time
from contextlib import contextmanager, suppress

from scripted_server import serving

DEFAULT_TOKENS = 8
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return chunk(b"data: " + text.encode() + b"\n\n")


def plain(status, value):
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def send_error(peer):
    peer.send(event({"error": {"message": "out of memory"}}))
    peer.send(b"0\r\n\r\n")


# What may happen in place of a token, by the setting that says of which.
MISHAPS = {
    "malformed_after": lambda peer: peer.send(
        event('{"choices": [{"te') + event("[DONE]") + b"0\r\n\r\n"
    ),
    "error_after": send_error,
    "hang_up_after": lambda peer: peer.reset(),
}


def settings_of(model):
    pairs = (word.partition("=") for word in model.split(",") if "=" in word)
    return {name: int(value) for name, _, value in pairs}


class TokenServer:
    """Answers each request as the settings in its model's name say."""

    def __init__(self, *, key=None, models=None):
        self.asked = []
        self.asked_s = []
        self.listings = 0
        self._key = key
        self._models = models

    def __call__(self, peer, _index):
        while got := peer.read_http():
            head, body = got
            if self._key and f"Bearer {self._key}".encode() not in head:
                error = {"message": "Incorrect API key provided"}
                peer.send(plain("401 Unauthorized", {"error": error}))
            elif head.startswith(b"GET /v1/models"):
                self.listings += 1
                data = [{"id": name} for name in self._models or ()]
                found = self._models is not None
                status = "200 OK" if found else "404 Not Found"
                peer.send(plain(status, {"data": data}))
            else:
                self._generate(peer, head, json.loads(body))

    def _generate(self, peer, head, asked):
        path = head.split(b" ")[1].decode()
        self.asked.append((path, asked))
        self.asked_s.append(time.monotonic())
        known = settings_of(asked["model"])
        if known.get("status"):
            error = {"message": f"no such thing as {asked['model']}"}
            peer.send(plain(f"{known['status']} Oh", {"error": error}))
            return
        if known.get("silent"):
            time.sleep(known["silent"])
            return
        tokens = asked.get("max_tokens", DEFAULT_TOKENS)
        start = time.monotonic()
        peer.send(CHUNKED)
        if path.endswith("chat/completions"):
            peer.send(event({"choices": [{"delta": {"role": "assistant"}}]}))
        for number in range(tokens):
            at_s = (known.get("ttft_ms", 0) + number * known.get("itl_ms", 0)) / 1000
            time.sleep(max(start + at_s - time.monotonic(), 0))
            mishap = next((name for name in MISHAPS if known.get(name) == number), None)
            if mishap:
                MISHAPS[mishap](peer)
                return
            peer.send(event({"choices": [self._choice(path, f"t{number} ")]}))
        self._end(peer, asked, tokens, known)

    def _choice(self, path, text):
        is_chat = path.endswith("chat/completions")
        return {"delta": {"content": text}} if is_chat else {"text": text}

    def _end(self, peer, asked, tokens, known):
        if known.get("usage", 1):
            prompt = len(json.dumps(asked.get("messages", asked.get("prompt"))).split())
            usage = {"prompt_tokens": prompt, "completion_tokens": 2 * tokens}
            peer.send(event({"choices": [], "usage": usage}))
        if known.get("done", 1):
            peer.send(event("[DONE]"))
        peer.send(b"0\r\n\r\n")


@contextmanager
def token_server(**settings):
    """Run the server; yield it and its URL."""
    server = TokenServer(**settings)
    with serving(server) as (host, port), suppress(OSError):
        yield server, f"{host}:{port}"
