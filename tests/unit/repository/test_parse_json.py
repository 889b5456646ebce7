"""Configs as JSON: the same messages, and places."""

import json
from contextlib import suppress

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from test_render import model_configs

from triton_kit.repository.config.parse import ConfigSyntaxError
from triton_kit.repository.config.parse_json import parse_json

CONFIG = """{
  "name": "m", "maxBatchSize": 8,
  "input": [ {"name": "a", "data_type": "TYPE_FP32", "dims": ["4", -1]} ],
  "parameters": {"é": {"string_value": "x"}},
  "dynamic_batching": {}
}"""


def test_json_reads_as_a_model_config():
    parsed = parse_json(CONFIG)

    assert parsed.config.max_batch_size == 8
    assert list(parsed.config.input[0].dims) == [4, -1]
    assert parsed.config.HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        (("name",), 2, 3),
        (("max_batch_size",), 2, 16),
        (("input", 0), 3, 14),
        (("input", 0, "dims", 1), 3, 68),
        (("parameters", "é", "string_value"), 4, 24),
        (("input", 0, "reshape"), 3, 14),
    ],
)
def test_each_member_has_its_place(path, line, column):
    place = parse_json(CONFIG).place(*path)

    assert (place.line, place.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "place", "said", "hint"),
    [
        ('{"nme": 1}', (1, 2), "no field 'nme'", "did you mean 'name'?"),
        ('{\n "input": [{"dim": []}]}', (2, 12), "no field 'dim'", "'dims'"),
        ('{"max_batch_size": "x"}', (1, 2), "max_batch_size: ", None),
        ('{"input": [{"data_type": "fp32"}]}', (1, 13), "data_type: ", None),
        ('{"input": {"name": "a"}}', (1, 11), "input: ", None),
        ('{"parameters": {"k": 1}}', (1, 17), "expected an object", None),
        ('{"metric_tags": {"k": 1}}', (1, 18), "expected a text", None),
        ('{"name": }', (1, 10), "no JSON", None),
        ("[1]", (1, 1), "expected an object", None),
        (b"\xff", (1, 1), "no UTF-8", "UTF-8"),
        ("[" * 100_000, (1, 1), "nested too deep", None),
    ],
)
def test_a_fault_has_its_place(text, place, said, hint):
    with pytest.raises(ConfigSyntaxError, match=said) as caught:
        parse_json(text)

    assert (caught.value.place.line, caught.value.place.column) == place
    assert hint is None or hint in caught.value.hint


@settings(max_examples=50, deadline=None)
@given(model_configs())
def test_any_config_survives_as_json(config):
    text = json_format.MessageToJson(config, preserving_proto_field_name=True)

    assert parse_json(text).config.SerializeToString(
        deterministic=True
    ) == config.SerializeToString(deterministic=True)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "input", "dims", "x"]), inner),
    ),
    max_leaves=8,
)


@given(VALUES)
def test_any_json_is_a_config_or_a_fault(value):
    with suppress(ConfigSyntaxError):
        parse_json(json.dumps(value))
