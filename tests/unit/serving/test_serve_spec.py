"""A ServeSpec is valid or does not exist."""

from pathlib import Path

import pytest

from triton_kit.errors import SpecError
from triton_kit.serving.spec import ServeSpec

HERE = Path()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_out_of_range_is_refused(port):
    with pytest.raises(SpecError, match=f"--grpc-port {port} "):
        ServeSpec(repository=HERE, grpc_port=port)


def test_two_endpoints_cannot_share_a_port():
    with pytest.raises(SpecError, match="--http-port and --metrics-port are both 8000"):
        ServeSpec(repository=HERE, http_port=8000, metrics_port=8000)


def test_an_unknown_control_mode_gets_a_suggestion():
    with pytest.raises(SpecError, match="'explicit'"):
        ServeSpec(repository=HERE, model_control="explict")


def test_an_unknown_allocator_gets_a_suggestion():
    with pytest.raises(SpecError, match="'tcmalloc'"):
        ServeSpec(repository=HERE, allocator="tcmaloc")


def test_naming_models_needs_explicit_control():
    with pytest.raises(SpecError, match=r"digits.*'none'"):
        ServeSpec(repository=HERE, models=("digits",))


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a\\b", "-x", "a\nb"])
def test_a_model_name_that_is_a_path_is_refused(name):
    with pytest.raises(SpecError, match="no model name"):
        ServeSpec(repository=HERE, model_control="explicit", models=(name,))


def test_all_models_are_named_alone():
    with pytest.raises(SpecError, match="all of them"):
        ServeSpec(repository=HERE, model_control="explicit", models=("*", "digits"))


@pytest.mark.parametrize("name", ["ready_within_s", "stop_within_s"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_deadline_is_positive(name, seconds):
    with pytest.raises(SpecError, match=name):
        ServeSpec(repository=HERE, **{name: seconds})


def test_a_flag_that_a_field_sets_is_refused_with_the_field():
    with pytest.raises(SpecError, match="'http_port'"):
        ServeSpec(repository=HERE, flags=("--http-port=8000",))


@pytest.mark.parametrize("name", ["--http-address", "--http-addr", "--http-a"])
def test_the_addresses_cannot_be_opened_to_the_world(name):
    with pytest.raises(SpecError, match="--http-address"):
        ServeSpec(repository=HERE, flags=(f"{name}=0.0.0.0",))


def test_a_flag_is_written_with_dashes():
    with pytest.raises(SpecError, match="log-verbose"):
        ServeSpec(repository=HERE, flags=("log-verbose=1",))
