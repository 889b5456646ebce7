"""status, load, unload, infer and metrics against the real server."""

import json

import numpy as np
import pytest

from triton_kit.serving.embedded import running
from triton_kit.serving.keys import GRPC_KEY_HEADER, KEY_HEADER
from triton_kit.serving.spec import ServeSpec


@pytest.fixture(scope="module")
def explicit(small_repository):
    """The real server with `affine` loaded, and `identity` not yet."""
    spec = ServeSpec(
        repository=small_repository, model_control="explicit", models=("affine",)
    )
    with running(spec) as started:
        yield started


def asking(server):
    return ["-u", server.http_url, "--key-file", str(server.key_file)]


def test_status_shows_every_model_and_its_state(kit, explicit):
    result = kit("status", *asking(explicit))

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"triton {explicit.version}",
        "  affine      1  READY",
        "  identity    -  not loaded",
    ]


def test_status_of_a_named_model_that_is_not_ready_is_negative(kit, explicit):
    ready = kit("status", "affine", *asking(explicit))
    unloaded = kit("status", "identity", *asking(explicit))
    missing = kit("status", "nope", *asking(explicit), "--json")

    assert (ready.exit_code, unloaded.exit_code, missing.exit_code) == (0, 1, 1)
    assert json.loads(missing.stdout)["missing"] == ["nope"]


def test_status_explains_a_model_that_failed(kit, loaded):
    result = kit("status", "broken", "-u", loaded.http_url)

    assert result.exit_code == 1
    assert "UNAVAILABLE" in result.stdout


def test_a_model_is_loaded_and_unloaded(kit, explicit):
    words = asking(explicit)

    assert kit("load", "identity", *words).exit_code == 0
    assert kit("status", "identity", *words).exit_code == 0
    assert kit("unload", "identity", *words).exit_code == 0
    assert kit("status", "identity", *words).exit_code == 1


def test_a_server_whose_models_change_demands_the_key(kit, explicit):
    result = kit("load", "identity", "-u", explicit.http_url)

    assert result.exit_code == 5
    assert "restricted" in result.stderr
    assert "hint: give the server's key: --key-file FILE" in result.stderr


def test_a_mistyped_model_gets_a_suggestion(kit, explicit):
    result = kit("load", "identty", *asking(explicit))

    assert result.exit_code == 2
    assert "did you mean 'identity'?" in result.stderr


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_infer_shows_what_the_model_returns(kit, explicit, tmp_path, protocol):
    np.savez(tmp_path / "x.npz", x=np.array([[0, 1, 2, 3]], np.float32))
    url = explicit.http_url if protocol == "http" else explicit.grpc_url
    words = ["infer", "-u", url, "-i", protocol, "--input-data", tmp_path / "x.npz"]
    # Which models there are is known with the key only.
    header = KEY_HEADER if protocol == "http" else GRPC_KEY_HEADER
    words += ["-H", f"{header}: {explicit.key}"]

    text = kit(*words)
    document = json.loads(kit(*words, "--json").stdout)
    stored = kit(*words, "-o", tmp_path / "y.npz")

    assert text.exit_code == stored.exit_code == 0
    assert text.stdout.splitlines()[-1] == "  y  FP32 [1,4]  [1.0, 3.0, 5.0, 7.0]"
    assert "affine, the only one" in text.stderr
    assert document["outputs"]["y"]["values"] == [[1.0, 3.0, 5.0, 7.0]]
    with np.load(tmp_path / "y.npz") as written:
        assert written.files == ["y"]
        assert written["y"].tolist() == [[1, 3, 5, 7]]


def test_infer_joins_the_responses_of_a_stream(kit, loaded):
    words = ["-m", "repeat", "-i", "grpc", "-u", loaded.grpc_url, "--json"]

    result = kit("infer", *words, "--input-data", "count:value:3")

    document = json.loads(result.stdout)
    assert document["responses"] == 3
    assert document["outputs"]["index"]["values"] == [0, 1, 2]


def test_infer_sends_a_whole_sequence_to_a_stateful_model(kit, loaded):
    result = kit("infer", "-m", "counter", "-u", loaded.http_url)

    assert result.exit_code == 0
    assert "place  INT32" in result.stdout


def test_infer_keeps_strings_in_json_and_in_npz(kit, loaded, tmp_path):
    out, text = tmp_path / "out.npz", "ü" * 64  # the model requires 128 bytes
    words = ["-m", "every_dtype", "-u", loaded.http_url, "--string-data", text]

    result = kit("infer", *words, "--json", "-o", out)

    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)["outputs"]["strings"]["values"]
    assert np.array(values).shape == (1, 3, 2)
    assert values[0][0][0] == text
    with np.load(out) as written:
        assert written["strings"][0, 0, 0].decode() == text


def test_a_request_that_fails_says_why(kit, loaded):
    words = ["-m", "repeat", "-i", "grpc", "-u", loaded.grpc_url]

    result = kit("infer", *words, "--input-data", "count:value:101")

    assert result.exit_code == 5
    assert "101 replies are too many" in result.stderr


def test_outputs_that_cannot_be_written_are_refused_before_the_request(kit, tmp_path):
    result = kit("infer", "-u", "localhost:1", "-o", tmp_path / "no" / "y.npz")

    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


def test_metrics_are_filtered_by_word(kit, explicit):
    shown = kit("metrics", "nv_inference_count", "-u", explicit.metrics_url)
    rows = json.loads(kit("metrics", "-u", explicit.metrics_url, "--json").stdout)

    assert shown.exit_code == 0
    assert all(
        line.startswith("nv_inference_count  ") for line in shown.stdout.splitlines()
    )
    assert {"name", "labels", "value"} == rows[0].keys()


@pytest.mark.parametrize("command", [["status"], ["load", "m"], ["infer"], ["metrics"]])
def test_no_server_is_a_transport_error(kit, command):
    result = kit(*command, "-u", "localhost:1")

    assert result.exit_code == 6
    assert result.stderr.startswith("Error: ")
    assert "Connection refused" in result.stderr
    assert "urlopen" not in result.stderr
