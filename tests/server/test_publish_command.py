"""Publishing to a repository that a real server serves."""

import json
import re
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
from onnx import helper
from onnx_models import FLOAT, graph_bytes
from tls_fixtures import make_certificate, tls_proxy

from publish_builders import PLAIN, assert_sound
from triton_kit.errors import ServerError, TransportError
from triton_kit.publish_checks import LiveServer
from triton_kit.publish_delivery import PublishOptions
from triton_kit.publish_upkeep import end_canary
from triton_kit.publishing import publish, rollback
from triton_kit.repository.publish.layout import versions
from triton_kit.serving.embedded import running
from triton_kit.serving.keys import key_headers
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server


def times(folder, factor):
    """Write an ONNX file that multiplies float32 x, shape (batch, 4)."""
    constant = helper.make_tensor("c", FLOAT, [1], [factor])
    node = helper.make_node("Mul", ["x", "c"], ["y"])
    x, y = ("x", FLOAT, ("batch", 4)), ("y", FLOAT, ("batch", 4))
    path = folder / f"times-{factor}.onnx"
    path.write_bytes(graph_bytes([node], [x], [y], [constant]))
    return path


def answer(server, version=""):
    """Return y for x = 1, of a version; None if it is not served."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1] * 4}
    body = json.dumps({"inputs": [tensor]}).encode()
    place = f"/versions/{version}" if version else ""
    url = f"{server.http_url}/v2/models/m{place}/infer"
    try:
        with urllib.request.urlopen(url, body, timeout=60) as response:
            return json.load(response)["outputs"][0]["data"][0]
    except urllib.error.HTTPError:
        return None


def is_ready(server):
    url = f"{server.http_url}/v2/health/ready"
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return response.status == 200
    except urllib.error.HTTPError:
        return False


def live(server, **words):
    """Return the options that load on a server."""
    words = {"scratch_load": False} | words
    found = LiveServer(url=server.http_url, headers=key_headers(server.key))
    return PublishOptions(server=found, **words)


@pytest.fixture
def served(tmp_path):
    """A repository whose model `m` multiplies by 1, on a real server."""
    root = tmp_path / "models"
    publish(times(tmp_path, 1), root, names=["m"], options=PLAIN)
    spec = ServeSpec(
        repository=root, model_control="explicit", models=("*",), stop_within_s=5
    )
    with running(spec) as server:
        yield root, server


def test_versions_are_served_one_after_another(served, tmp_path):
    root, server = served

    publish(times(tmp_path, 2), root, names=["m"], options=live(server))
    assert (answer(server), answer(server, 2)) == (2, 2)

    with pytest.raises(ServerError, match="returns NaN or infinity in output 'y'"):
        publish(times(tmp_path, np.nan), root, names=["m"], options=live(server))
    assert (answer(server), versions(root / "m")) == (2, [1, 2])

    publish(times(tmp_path, 4), root, names=["m"], canary=True, options=live(server))
    assert versions(root / "m") == [1, 2, 4]
    # A client chooses by the version in its URL; without one it gets the new one.
    chosen = [answer(server, n) for n in (1, 2, 4, "")]
    assert chosen == [None, 2, 4, 4]
    config = (root / "m" / "config.pbtxt").read_text()
    assert re.search(r"specific\W+versions: \[ ?2, 4 ?\]", config), config
    assert_sound(root)
    end_canary(root, "m", how="abort", options=live(server))
    assert (answer(server), answer(server, 4)) == (2, None)

    publish(times(tmp_path, 5), root, names=["m"], canary=True, options=live(server))
    end_canary(root, "m", how="finish", options=live(server))
    assert (answer(server), answer(server, 2)) == (5, None)

    restored = rollback(root, "m", options=live(server))
    assert (restored.models[0].version, answer(server)) == (6, 2)
    assert versions(root / "m") == [1, 2, 5, 6]
    assert_sound(root)


def publish_to_a_server_that_dies(spec, root, source):
    with running(spec) as server:

        def kill(line):
            if "loading m on" in line:
                server.process.kill()
                server.process.wait()

        with pytest.raises(TransportError, match="is as it was, but"):
            publish(source, root, names=["m"], options=live(server, on_progress=kill))


def test_a_server_that_dies_in_the_midst_changes_nothing(tmp_path):
    root = tmp_path / "models"
    publish(times(tmp_path, 1), root, names=["m"], options=PLAIN)
    spec = ServeSpec(
        repository=root, model_control="explicit", models=("*",), stop_within_s=5
    )

    with pytest.raises(ServerError, match="while it was in use"):
        publish_to_a_server_that_dies(spec, root, times(tmp_path, 2))

    assert versions(root / "m") == [1]
    assert_sound(root)


def test_the_scratch_load_keeps_the_server_ready(served, tmp_path, write_model):
    root, server = served
    config = 'backend: "python"\nmax_batch_size: 8\n'
    for kind, name in (("input", "x"), ("output", "y")):
        config += f'{kind} {{ name: "{name}" data_type: TYPE_FP32 dims: [ 4 ] }}\n'
    code = "import a_package_that_is_nowhere\n\n\nclass TritonPythonModel:\n"
    code += "    def execute(self, requests):\n        return []\n"
    files = {"1/model.py": code}
    write_model(tmp_path / "bad", "broken", files, config=config)

    with pytest.raises(ServerError, match="a_package_that_is_nowhere"):
        publish(tmp_path / "bad", root, options=live(server, scratch_load=True))

    assert is_ready(server)
    assert not (root / "broken").exists()
    assert_sound(root)


def test_publish_over_tls_with_a_certificate_of_the_client(kit, served, tmp_path):
    root, server = served
    words = ["publish", times(tmp_path, 2), root, "-m", "m", "--no-scratch-load"]
    words += ["--key-file", server.key_file, "--server"]
    certificate, key = make_certificate(tmp_path)
    own, own_key = make_certificate(tmp_path, host="publisher")
    to_port = urlsplit(server.http_url).port
    authority = ["--ssl-https-ca-certificates-file", certificate]
    client = ["--ssl-https-client-certificate-file", own]
    client += ["--ssl-https-private-key-file", own_key]

    with tls_proxy(certificate, key, to_port=to_port, clients=own) as port:
        url = f"https://localhost:{port}"
        untrusted = kit(*words, url, *client)
        anonymous = kit(*words, url, *authority)
        after_those = versions(root / "m")
        done = kit(*words, url, *authority, *client)
        back = kit("rollback", "m", root, *words[5:], url, *authority, *client)

    assert (untrusted.exit_code, anonymous.exit_code, after_those) == (6, 6, [1])
    assert f"localhost:{port} is not trusted" in untrusted.stderr
    assert "--ssl-https-ca-certificates-file" in untrusted.stderr
    assert done.exit_code == 0, done.stderr
    assert back.exit_code == 0, back.stderr
    assert [answer(server, n) for n in (2, 3)] == [None, 1]
    assert_sound(root)


def test_certificates_for_a_server_in_the_clear_are_refused(kit, tmp_path):
    root = tmp_path / "models"
    publish(times(tmp_path, 1), root, names=["m"], options=PLAIN)
    words = ["--ssl-https-ca-certificates-file", tmp_path / "ca.pem"]

    clear = kit("rollback", "m", root, "--server", "http://127.0.0.1:9", *words)
    without = kit("rollback", "m", root, *words)

    assert (clear.exit_code, without.exit_code) == (2, 2)
    assert "write --server https://HOST:PORT" in clear.stderr
    assert "are for --server, which is not given" in without.stderr
