"""The options of a server become one ServeSpec."""

from pathlib import Path

from triton_kit.cli import main
from triton_kit.cli.container_options import OWN_FIELDS
from triton_kit.cli.server_options import server_spec
from triton_kit.serving.access import Access
from triton_kit.serving.features import Features
from triton_kit.serving.spec import ServeSpec

OF_SERVE = ("as_json", "launcher", "detach", "only_print", "watches", "verify_key")
WORDS = (
    *("--http-port", "8000", "--metrics-port", "8002", "--metrics-address", "0.0.0.0"),
    *("--model-control-mode", "poll", "--repository-poll-secs", "5"),
    *("--key-file", "the.key", "--client-shared-memory"),
    *("--http-max-input-size", "1000", "--model-config-name", "h100"),
    *("--response-cache-bytes", "1024", "--rate-limit-resource", "R1:4"),
    *("--trace-url", "http://localhost:4318", "--trace-rate", "10"),
    *("--log-verbose", "1", "--min-supported-compute-capability", "7.5"),
    *("--cuda-memory-pool-byte-size", "0:1", "--backend-config", "python,a=b"),
    *("--stop-timeout", "5", "--flag", "--grpc-keepalive-time=1"),
)


def spec_of(*words):
    command = main.get_command(None, "serve")
    fields = command.make_context("serve", list(words)).params
    repositories = fields.pop("repositories")
    for name in (*OWN_FIELDS, *OF_SERVE):
        del fields[name]
    return server_spec(repositories, fields)


def test_each_option_sets_its_field(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    assert spec_of(str(tmp_path / "one"), str(tmp_path / "two"), *WORDS) == ServeSpec(
        repository=tmp_path / "one",
        more_repositories=(tmp_path / "two",),
        http_port=8000,
        metrics_port=8002,
        model_control="poll",
        stop_within_s=5.0,
        flags=("--grpc-keepalive-time=1",),
        access=Access(
            metrics_address="0.0.0.0",
            key_file=Path("the.key"),
            client_shared_memory=True,
            max_request_bytes=1000,
        ),
        features=Features(
            config_name="h100",
            poll_interval_s=5,
            response_cache_bytes=1024,
            rate_resources=("R1:4",),
            trace_url="http://localhost:4318",
            trace_rate=10,
            log_verbose=1,
            min_compute_capability=7.5,
            cuda_memory=("0:1",),
            backend_configs=("python,a=b",),
        ),
    )


def test_without_options_it_is_the_default(tmp_path):
    assert spec_of(str(tmp_path)) == ServeSpec(repository=tmp_path)
