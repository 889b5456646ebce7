"""Any ModelConfig becomes text that reads back as the same ModelConfig."""

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_kit.errors import SpecError
from triton_kit.repository.config import values
from triton_kit.repository.config.render import render


def parsed(text):
    return text_format.Parse(text, ModelConfig())


def is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def every_message(descriptor, seen):
    """The descriptors of all message types within one, map entries aside."""
    if descriptor.full_name in seen:
        return
    seen[descriptor.full_name] = descriptor
    for field in descriptor.fields:
        inner = field.message_type
        if inner is not None:
            if is_map(field):
                inner = inner.fields_by_name["value"].message_type
            if inner is not None:
                every_message(inner, seen)


def paths_to_messages(descriptor, path=()):
    """Yield (message type, field path) for each way to reach a type."""
    yield descriptor, path
    for field in descriptor.fields:
        inner = field.message_type
        if inner is not None and is_map(field):
            inner = inner.fields_by_name["value"].message_type
        if inner is not None:
            yield from paths_to_messages(inner, (*path, field))


def step_into(message, field):
    if is_map(field):
        key = field.message_type.fields_by_name["key"]
        return getattr(message, field.name)["k" if key.type == key.TYPE_STRING else 1]
    if field.is_repeated:
        return getattr(message, field.name).add()
    inner = getattr(message, field.name)
    inner.SetInParent()
    return inner


def scalars(field):
    """A strategy for the values of one scalar field."""
    kinds = {
        field.TYPE_STRING: st.text(max_size=12),
        field.TYPE_BOOL: st.booleans(),
        field.TYPE_FLOAT: st.floats(width=32),
        field.TYPE_DOUBLE: st.floats(),
        field.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        field.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        field.TYPE_UINT32: st.integers(0, 2**32 - 1),
        field.TYPE_UINT64: st.integers(0, 2**64 - 1),
    }
    if field.type == field.TYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return kinds[field.type]


def fill(draw, message, depth=0):
    """Set a random choice of fields of `message`, and of the messages in it."""
    for field in message.DESCRIPTOR.fields:
        if draw(st.integers(0, 3 + depth)) == 0:
            set_field(draw, message, field, depth)


def set_field(draw, message, field, depth):
    if is_map(field):
        set_map(draw, message, field, depth)
    elif field.message_type is not None:
        for _ in range(draw(st.integers(1, 2)) if field.is_repeated else 1):
            fill(draw, step_into(message, field), depth + 1)
    elif field.is_repeated:
        values = draw(st.lists(scalars(field), max_size=3))
        getattr(message, field.name).extend(values)
    else:
        setattr(message, field.name, draw(scalars(field)))


def set_map(draw, message, field, depth):
    key_field, value_field = field.message_type.fields
    for key in draw(st.lists(scalars(key_field), max_size=2)):
        if value_field.message_type is not None:
            fill(draw, getattr(message, field.name)[key], depth + 1)
        else:
            getattr(message, field.name)[key] = draw(scalars(value_field))


@st.composite
def model_configs(draw):
    config = ModelConfig()
    fill(draw, config)
    return config


def same(one, other):
    return one.SerializeToString(deterministic=True) == other.SerializeToString(
        deterministic=True
    )


def one_value(field):
    """A value other than the default, for a field that is no message."""
    if field.type == field.TYPE_STRING:
        return 'a "b" \\ é\n\u2028\x85'
    if field.type == field.TYPE_ENUM:
        return field.enum_type.values[-1].number
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return 0.1
    return True if field.type == field.TYPE_BOOL else 7


def one_value_only(field):
    return field.enum_type is not None and len(field.enum_type.values) == 1


FIELDS = [
    (path, field)
    for descriptor, path in paths_to_messages(ModelConfig.DESCRIPTOR)
    for field in descriptor.fields
]


def test_the_schema_has_the_fields_that_this_file_tests():
    messages = {}
    every_message(ModelConfig.DESCRIPTOR, messages)

    assert sum(len(m.fields) for m in messages.values()) == 164
    assert {(f.containing_type.full_name, f.name) for _, f in FIELDS} == {
        (m.full_name, f.name) for m in messages.values() for f in m.fields
    }


@pytest.mark.parametrize(
    ("path", "field"), FIELDS, ids=lambda x: getattr(x, "full_name", "")
)
def test_each_field_survives(path, field):
    config = ModelConfig(name="m")
    message = config
    for step in path:
        message = step_into(message, step)
    if (
        is_map(field)
        and field.message_type.fields_by_name["value"].message_type is None
    ):
        getattr(message, field.name)["k"] = one_value(
            field.message_type.fields_by_name["value"]
        )
    elif field.message_type is not None:
        step_into(message, field)
    elif field.is_repeated:
        getattr(message, field.name).extend([one_value(field)] * 2)
    else:
        setattr(message, field.name, one_value(field))

    text = render(config)

    # An enum of one value can say nothing that its absence does not.
    assert field.name in text or one_value_only(field)
    assert same(parsed(text), config)


def enum_fields():
    seen = set()
    for path, field in FIELDS:
        if field.enum_type is not None:
            for value in field.enum_type.values:
                if (field.enum_type.full_name, value.number) not in seen:
                    seen.add((field.enum_type.full_name, value.number))
                    yield path, field, value


def test_each_enum_value_survives():
    cases = list(enum_fields())
    assert len(cases) == 39

    for path, field, value in cases:
        config = ModelConfig()
        message = config
        for step in path:
            message = step_into(message, step)
        setattr(message, field.name, value.number)
        assert same(parsed(render(config)), config)
        assert value.number == 0 or value.name in render(config)


@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
@given(config=model_configs())
def test_any_config_survives(config):
    assert same(parsed(render(config)), config)


PEOPLES_STYLE = """\
name: "digits"
backend: "onnxruntime"
max_batch_size: 0
version_policy { latest { num_versions: 2 } }
input [
  {
    name: "image"
    data_type: TYPE_FP32
    dims: [ 1, -1, 8 ]
    reshape { shape: [ -1, 8 ] }
  },
  {
    name: "mask"
    data_type: TYPE_BOOL
    dims: [ 8 ]
    optional: true
  }
]
output [
  {
    name: "scores"
    data_type: TYPE_FP32
    dims: [ 10 ]
  }
]
dynamic_batching { }
instance_group [
  {
    count: 2
    kind: KIND_CPU
  }
]
parameters {
  key: "intra_op_thread_count"
  value { string_value: "1" }
}
parameters {
  key: "model_path"
  value { }
}
"""


def test_the_layout_is_the_one_that_people_write():
    assert render(parsed(PEOPLES_STYLE)) == PEOPLES_STYLE


def test_an_ensemble_does_not_get_a_batch_size_it_did_not_ask_for():
    config = ModelConfig(name="e", platform="ensemble")
    config.ensemble_scheduling.step.add(model_name="a").input_map["x"] = "y"

    text = render(config)

    assert "max_batch_size" not in text
    assert 'input_map {\n        key: "x"\n        value: "y"\n' in text


def test_empty_messages_are_kept():
    config = ModelConfig()
    config.optimization.SetInParent()
    config.response_cache.SetInParent()

    text = render(config)

    assert parsed(text).HasField("optimization")
    assert parsed(text).HasField("response_cache")


def test_a_template_of_ones_own_extends_a_block(tmp_path):
    template = tmp_path / "mine.j2"
    template.write_text(
        '{% extends "config/config.pbtxt.j2" %}{% block parameters %}{{ super() }}'
        'parameters { key: "who" value { string_value: {{ config.name | pbtxt }} } }\n'
        "{% endblock %}"
    )

    text = render(ModelConfig(name='a"b'), template=template)

    assert parsed(text).parameters["who"].string_value == 'a"b'
    assert parsed(text).name == 'a"b'


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("name: {{ config.name }}", "mine.j2: the text it writes is no ModelConfig"),
        ("{% if %}", r"mine.j2:1: "),
        ("name: {{ absent | pbtxt }}", "'absent' is undefined"),
        ('{% include "no.j2" %}', "no.j2"),
    ],
)
def test_a_broken_template_is_an_error_with_its_place(tmp_path, template, said):
    path = tmp_path / "mine.j2"
    path.write_text(template)

    with pytest.raises(SpecError, match=said):
        render(ModelConfig(name="a"), template=path)


def test_a_missing_template_is_an_error(tmp_path):
    with pytest.raises(SpecError, match="no such template"):
        render(ModelConfig(), template=tmp_path / "none.j2")


def test_maps_are_those_that_the_schema_calls_maps():
    messages = {}
    every_message(ModelConfig.DESCRIPTOR, messages)
    fields = [field for message in messages.values() for field in message.fields]

    assert {f.full_name for f in fields if values.is_map(f)} == {
        f.full_name for f in fields if is_map(f)
    }
