"""A ServeSpec into flags: equal for all launchers, and only those of the release."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triton_kit.errors import SpecError
from triton_kit.serving.access import Access
from triton_kit.serving.features import Features
from triton_kit.serving.flags import ENDPOINTS, Place, restricted_apis, server_flags
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.releases import all_releases, find_release
from triton_kit.triton.server_flags import all_flags, find_flag, require_flag

REPOSITORY = Path("/repository")
HERE = Place(ports={"http": 1, "grpc": 2, "metrics": 3}, key="k" * 16)
THERE = Place(
    ports={"http": 8000, "grpc": 8001, "metrics": 8002},
    key="$KEY",
    addresses=dict.fromkeys(ENDPOINTS, "0.0.0.0"),
    paths={REPOSITORY: "/models"},
)
_small = st.integers(1, 1000)
_maybe = st.one_of(st.none(), _small)
FEATURES = st.builds(
    Features,
    config_name=st.sampled_from(["", "h100"]),
    namespacing=st.booleans(),
    load_threads=_maybe,
    load_retries=_maybe,
    response_cache_bytes=_maybe,
    rate_resources=st.sampled_from([(), ("R1:4",), ("R1:4:0", "R2:1")]),
    trace_url=st.sampled_from(["", "http://127.0.0.1:4318/v1/traces"]),
    trace_rate=_small,
    trace_level=st.sampled_from(["TIMESTAMPS", "TENSORS"]),
    log_format=st.sampled_from(["default", "ISO8601"]),
    log_verbose=st.integers(0, 3),
    pinned_memory_bytes=_maybe,
    cuda_memory=st.sampled_from([(), ("0:1024",)]),
    min_compute_capability=st.sampled_from([None, 7.5]),
    backend_configs=st.sampled_from([(), ("tensorrt,version-compatible=true",)]),
)
ACCESS = st.builds(
    Access,
    open_control=st.booleans(),
    client_shared_memory=st.booleans(),
)
SPECS = st.builds(
    ServeSpec,
    repository=st.just(REPOSITORY),
    model_control=st.sampled_from(["none", "explicit", "poll"]),
    strict_model_config=st.booleans(),
    exit_on_error=st.booleans(),
    stop_within_s=st.floats(0.1, 100),
    access=ACCESS,
    features=FEATURES,
    flags=st.sampled_from([(), ("--grpc-keepalive-time=1000",)]),
)
RELEASES = st.sampled_from(all_releases())


def as_seen_there(flag):
    """Return a flag of HERE as THERE has it."""
    for kind in ENDPOINTS:
        flag = flag.replace(
            f"--{kind}-port={HERE.ports[kind]}", f"--{kind}-port={THERE.ports[kind]}"
        )
    flag = re.sub(r"(-address)=127.0.0.1", r"\1=0.0.0.0", flag)
    return flag.replace(str(REPOSITORY), "/models").replace(HERE.key, "$KEY")


@given(SPECS, st.sampled_from(["24.10", "26.07"]))
@settings(max_examples=200, deadline=None)
def test_a_container_gets_the_flags_of_a_process(spec, name):
    release = find_release(name)
    here, there = (server_flags(spec, release, place) for place in (HERE, THERE))

    assert tuple(map(as_seen_there, here)) == there


@given(SPECS.filter(lambda spec: not spec.features.config_name), RELEASES)
@settings(max_examples=100, deadline=None)
def test_every_flag_is_one_of_the_release(spec, release):
    for flag in server_flags(spec, release, HERE):
        assert find_flag(flag.partition("=")[0]).is_in(release)


def test_defaults_open_nothing():
    old, new = (
        server_flags(ServeSpec(repository=REPOSITORY), find_release(name), HERE)
        for name in ("24.10", "26.07")
    )

    for flags in (old, new):
        assert {"--allow-sagemaker=false", "--allow-vertex-ai=false"} <= {*flags}
        assert {f"--{kind}-address=127.0.0.1" for kind in ENDPOINTS} <= {*flags}
        assert "--model-control-mode=none" in flags
    header = f"x-triton-key={HERE.key}"
    assert f"--http-restricted-api=trace,logging,shared-memory:{header}" in old
    assert f"--http-restricted-api=trace,logging:{header}" in new
    assert "--allow-client-shm=false" in new


@pytest.mark.parametrize("control", ["explicit", "poll"])
def test_models_that_change_need_the_key(control):
    spec = ServeSpec(repository=REPOSITORY, model_control=control)

    assert "model-repository" in restricted_apis(spec, find_release("26.07"))


def test_an_api_that_is_restricted_by_hand_is_in_one_group():
    """Triton refuses an API in two groups of one protocol."""
    given = "--http-restricted-api=trace,statistics:admin=x"
    spec = ServeSpec(repository=REPOSITORY, flags=(given,))
    flags = server_flags(spec, find_release("26.07"), HERE)

    assert f"--http-restricted-api=logging:x-triton-key={HERE.key}" in flags
    assert any(f.startswith("--grpc-restricted-protocol=trace,logging:") for f in flags)


def test_a_flag_of_a_later_release_is_refused_with_that_release():
    access = Access(max_request_bytes=1000)
    spec = ServeSpec(repository=REPOSITORY, access=access)

    assert "--http-max-input-size=1000" in server_flags(
        spec, find_release("25.06"), HERE
    )
    with pytest.raises(SpecError, match=r"--http-max-input-size.*came in 25\.06"):
        server_flags(spec, find_release("24.10"), HERE)


def test_a_mistyped_flag_gets_the_nearest():
    with pytest.raises(SpecError, match=r"(?s)--log-verbos: no.*--log-verbose"):
        ServeSpec(repository=REPOSITORY, flags=("--log-verbos=1",))


def test_a_flag_that_a_setting_gives_too_is_refused():
    spec = ServeSpec(
        repository=REPOSITORY,
        features=Features(log_verbose=1),
        flags=("--log-verbose=2",),
    )

    with pytest.raises(SpecError, match="--log-verbose=2"):
        server_flags(spec, find_release("24.10"), HERE)


def test_every_flag_of_the_table_has_a_release_that_is_known():
    names = {release.release for release in all_releases()}

    assert len(all_flags()) == 90
    assert {flag.since for flag in all_flags().values()} <= names | {""}
    for flag in all_flags():
        require_flag(flag, all_releases()[-1])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rate_resources": ("R1",)}, "NAME:COUNT"),
        ({"trace_url": "collector:4318"}, "http://HOST"),
        ({"cuda_memory": ("64",)}, "GPU:BYTES"),
        ({"backend_configs": ("version=1",)}, "BACKEND,SETTING=VALUE"),
        ({"log_format": "iso"}, "log_format"),
        ({"config_name": "a b"}, "no name"),
        ({"trace_rate": 0}, "trace_rate"),
    ],
)
def test_a_setting_that_triton_would_refuse_is_refused(fields, words):
    with pytest.raises(SpecError, match=words):
        Features(**fields)


@pytest.mark.parametrize("address", ["localhost", "", "1.2.3", "0.0.0.0:80"])
def test_an_address_is_an_ip_address(address):
    with pytest.raises(SpecError, match="no IP address"):
        Access(address=address)


def test_an_interval_of_polls_needs_polls():
    with pytest.raises(SpecError, match="'none'"):
        ServeSpec(repository=REPOSITORY, features=Features(poll_interval_s=5))
