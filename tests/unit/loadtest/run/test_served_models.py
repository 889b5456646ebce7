"""Which model is meant where the user names none; asked of a scripted server."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.run.served_models import find_only_model
from triton_kit.loadtest.spec import PerfSpec


@pytest.fixture
def server():
    """A server whose models a test lists."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.respond({"name": "triton", "version": "2.51.0"})

        def do_POST(self):
            self.respond(self.server.models)

        def respond(self, document):
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words):
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        yield http
        http.shutdown()
        thread.join()


def only_model(server, *models):
    server.models = [{"name": name, "state": state} for name, state in models]
    return find_only_model(PerfSpec(url=f"127.0.0.1:{server.server_port}", model="any"))


def test_the_only_ready_model_is_meant(server):
    assert only_model(server, ("digits", "READY"), ("old", "UNAVAILABLE")) == "digits"


def test_several_models_are_listed(server):
    with pytest.raises(SpecError, match="has 2 models: a, b") as caught:
        only_model(server, ("b", "READY"), ("a", "READY"))

    assert caught.value.hint == "choose one: -m a"


def test_a_server_without_a_ready_model_is_an_error(server):
    with pytest.raises(SpecError, match="has no model ready"):
        only_model(server, ("a", "UNAVAILABLE"))
