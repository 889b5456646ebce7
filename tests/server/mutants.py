"""Random changes to valid repositories: to their configs, as messages and as text, and
to their files. The same seed gives the same mutants."""

import random

from google.protobuf import text_format
from rule_cases import (
    BASE,
    BATCHED,
    IN,
    IO,
    OUT,
    PLAN,
    TWO_IN,
    TWO_OUT,
    control,
    ensemble,
    initial,
    one,
    state,
    step,
    warmup,
    wired,
)
from tritonclient.grpc.model_config_pb2 import ModelConfig

_CONTROLS = "".join(
    control(f"kind: CONTROL_SEQUENCE_{kind} int32_false_true: [ 0, 1 ]", kind)
    for kind in ("START", "END", "READY")
) + control("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64", "CORRID")
_PLAIN_INPUT = "dims: [ 4 ] } ]\noutput"
_PLAIN_INPUT = "dims: [ 4 ] } ]\noutput"
_RESHAPED = BASE.replace(
    _PLAIN_INPUT, "dims: [ 2, -1, 2 ] reshape { shape: [ 2, -1, 1, 2 ] } } ]\noutput"
)
_PRIORITIES = (
    "dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 9 "
    "priority_levels: 2 default_priority_level: 1 default_queue_policy { "
    "timeout_action: DELAY default_timeout_microseconds: 5 "
    "allow_timeout_override: true max_queue_size: 7 } "
    "priority_queue_policy { key: 2 value { max_queue_size: 3 } } }"
)
_FULL = (
    BATCHED
    + _PRIORITIES
    + "version_policy { specific { versions: [ 1 ] } } optimization { priority: "
    "PRIORITY_MAX input_pinned_memory { enable: false } } instance_group [ { name: 'g' "
    "count: 2 kind: KIND_CPU }, { kind: KIND_MODEL } ] parameters { key: 'k' value { "
    "string_value: 'v' } } metric_tags { key: 'k' value: 'v' } "
    "response_cache { enable: true } "
)
_BATCH_IO = (
    BASE + "batch_input [ { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: [ 'n' ] "
    "data_type: TYPE_FP32 source_input: [ 'a' ] } ] batch_output [ { target_name: "
    "[ 'b' ] source_input: [ 'a' ] } ]"
)
_TWO_STEPS = ensemble(
    step(outs=(("b", "t"),)), step("u", ins=(("a", "t"),)), more="max_batch_size: 4"
)
_JOINED = ensemble(
    step(outs=(("b", "t"), ("c", "v"))),
    step("u", ins=(("a", "t"), ("c", "v"))),
    io=IO,
)

_LLM = """
backend: "tensorrtllm" max_batch_size: 16
model_transaction_policy { decoupled: True }
dynamic_batching { preferred_batch_size: [ 16 ] max_queue_delay_microseconds: 0 }
input [
  { name: "ids" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true },
  { name: "length" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } },
  { name: "stop" data_type: TYPE_BOOL dims: [ 1 ] reshape: { shape: [ ] } optional: 1 },
  { name: "words" data_type: TYPE_INT32 dims: [ 2, -1 ] optional: true }
]
output [
  { name: "out" data_type: TYPE_INT32 dims: [ -1, -1 ] },
  { name: "logits" data_type: TYPE_FP16 dims: [ -1, -1, -1 ] }
]
instance_group [ { count: 1 kind : KIND_CPU } ]
parameters: { key: "path" value: { string_value: "/engines" } }
model_warmup [ { name: "w" batch_size: 2 count: 1
  inputs { key: "ids" value { data_type: TYPE_INT32 dims: [ 3 ] random_data: true } }
  inputs { key: "length" value { data_type: TYPE_INT32 dims: [ 1 ] zero_data: true } }
} ]
"""
_ITERATIVE = """
backend: "python" max_batch_size: 8
input [{ name: "text_input", data_type: TYPE_STRING, dims: [1] }]
output [{ name: "text_output", data_type: TYPE_STRING, dims: [1] }]
model_transaction_policy { decoupled: true }
sequence_batching {
    max_sequence_idle_microseconds: 5000000 iterative_sequence: true
    control_input [{ name: "id", control [{
      kind: CONTROL_SEQUENCE_CORRID, data_type: TYPE_UINT64 }], },
    { name: "start", control [{ kind: CONTROL_SEQUENCE_START,
      fp32_false_true: [0, 1] }], }]
    oldest {}
}
"""
_FRONT = """
platform: "ensemble" max_batch_size: 8
input [ { name: "q" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "n" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "answer" data_type: TYPE_INT32 dims: [ -1, -1 ] } ]
ensemble_scheduling { step [
  { model_name: "pre" model_version: -1 input_map { key: "a" value: "q" }
    output_map { key: "b" value: "ids" } },
  { model_name: "llm" model_version: -1 input_map { key: "ids" value: "ids" }
    input_map { key: "length" value: "n" } output_map { key: "out" value: "raw" } },
  { model_name: "post" model_version: -1 input_map { key: "a" value: "raw" }
    output_map { key: "b" value: "answer" } }
] }
"""


def _small(dims):
    return (
        'backend: "identity" max_batch_size: 16 '
        f'input {{ name: "a" data_type: TYPE_INT32 dims: [ {dims} ] }} '
        f'output {{ name: "b" data_type: TYPE_INT32 dims: [ {dims} ] }}'
    )


def originals():
    """Repositories that the server accepts, each with the model `m`."""
    return {
        "plain": one(BASE),
        "named": one(BASE + 'name: "m"'),
        "full": one(_FULL),
        "dynamic": one(BATCHED + "dynamic_batching { }"),
        "platform": one(
            'platform: "onnxruntime_onnx"\n' + BASE.replace("identity", "onnxruntime")
        ),
        "plan": one(
            PLAN + IO + 'instance_group [ { kind: KIND_CPU profile: [ "0" ] } ]'
        ),
        "inferred": {"m/config.pbtxt": IO, "m/1/model.onnx": "", "m/2/model.onnx": ""},
        "torch": {"m/config.pbtxt": IO, "m/1/model.pt": ""},
        "savedmodel": {"m/config.pbtxt": IO, "m/1/model.savedmodel": None},
        "python": {"m/config.pbtxt": 'backend: "python"\n' + IO, "m/1/model.py": ""},
        "custom": {"m/config.pbtxt": BASE, "m/1": None, "m/2": None, "m/3": None},
        "reshaped": one(_RESHAPED),
        "image": one(
            BASE.replace(
                "dims: [ 4 ] } ]\noutput",
                "format: FORMAT_NHWC dims: [ 4, 4, 3 ] } ]\noutput",
            )
        ),
        "labels": {
            **one(BASE.replace('name: "b"', 'name: "b" label_filename: "l.txt"')),
            "m/l.txt": "x\ny\n",
        },
        "batch io": one(_BATCH_IO),
        "sequence": one(BATCHED + f"sequence_batching {{ direct {{ }} {_CONTROLS} }}"),
        "oldest": one(
            BATCHED
            + "sequence_batching { oldest { max_candidate_sequences: 4 "
            + f"preferred_batch_size: [ 2, 4 ] }} {_CONTROLS} }}"
        ),
        "state": one(state(initial())),
        "warm": one(warmup("zero_data: true")),
        "warm file": one(warmup('input_data_file: "f"'), warmup__f="x" * 16),
        "warm batch": one(warmup("random_data: true", head=BATCHED)),
        "decoupled": one(BASE + "model_transaction_policy { decoupled: true }"),
        "optional": one(TWO_IN.replace('name: "c"', 'name: "c" optional: true')),
        "steps": wired(_TWO_STEPS, BATCHED, u=BATCHED),
        "joined": wired(_JOINED, TWO_OUT, u=TWO_IN),
        "one step": wired(ensemble(step(version=1))),
        "llm": one(_LLM),
        "iterative": one(_ITERATIVE),
        "front": wired(_FRONT, pre=_small("-1"), llm=_LLM, post=_small("-1, -1")),
        "nested": wired(
            ensemble(step("n")), n=ensemble(step()), u=OUT and 'backend: "fil"\n' + IN
        ),
    }


_INTS = (-2, -1, 0, 1, 2, 3, 4, 5, 8, 9, 100)
_WORDS = ("", "a", "b", "c", "t", "m", "s", "u", "x", "f", "l.txt", "g", "1", "0", "-1")
_NAMES = ("onnxruntime", "python", "identity", "ensemble", "tensorrt_plan", "absent")
_PLATFORMS = ("onnxruntime_onnx", "pytorch_libtorch", "tensorflow_graphdef")


def mutants(seed, count):
    """Yield (name of the original, files) `count` times."""
    draw = random.Random(seed)
    repositories = list(originals().items())
    for _ in range(count):
        name, files = draw.choice(repositories)
        files = dict(files)
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            kind = draw.random()
            if kind < 0.70:
                _change_message(draw, files)
            elif kind < 0.85:
                _change_text(draw, files)
            else:
                _change_files(draw, files)
        yield name, files


def _configs(files):
    return sorted(path for path in files if path.endswith("config.pbtxt"))


def _change_message(draw, files):
    paths = _configs(files)
    if not paths:
        return
    path = draw.choice(paths)
    try:
        config = text_format.Parse(files[path] or "", ModelConfig())
    except (text_format.ParseError, ValueError):
        return
    _mutate(draw, config)
    files[path] = text_format.MessageToString(config)


def _mutate(draw, message, depth=0):
    """Change one field of a message, or of one in it."""
    present = [field for field, _ in message.ListFields()]
    inner = [f for f in present if f.message_type is not None]
    if inner and (draw.random() < 0.7 if depth else draw.random() < 0.8):
        field = draw.choice(inner)
        value = getattr(message, field.name)
        if _is_map(field):
            _mutate_map(draw, value, field, depth)
            return
        if field.is_repeated:
            if draw.random() < 0.25:
                _mutate_list(draw, value)
                return
            value = draw.choice(list(value))
        _mutate(draw, value, depth + 1)
        return
    if present and draw.random() < 0.45:
        message.ClearField(draw.choice(present).name)
        return
    pool = present if present and draw.random() < 0.5 else message.DESCRIPTOR.fields
    if pool:
        _set(draw, message, draw.choice(list(pool)))


def _is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _mutate_map(draw, entries, field, depth):
    keys = sorted(entries)
    value_field = field.message_type.fields_by_name["value"]
    key = draw.choice(keys)
    if draw.random() < 0.3:
        del entries[key]
    elif value_field.message_type is not None:
        _mutate(draw, entries[key], depth + 1)
    else:
        entries[key] = draw.choice(_WORDS)


def _mutate_list(draw, items):
    at = draw.randrange(len(items))
    if draw.random() < 0.5:
        del items[at]
    else:
        items.add().CopyFrom(items[at])


def _set(draw, message, field):
    if _is_map(field):
        key_field, value_field = field.message_type.fields
        is_text = key_field.type == key_field.TYPE_STRING
        key = draw.choice(_WORDS) if is_text else draw.randrange(4)
        entries = getattr(message, field.name)
        if value_field.message_type is None:
            entries[key] = draw.choice(_WORDS)
        else:
            entries[key].SetInParent()
    elif field.message_type is not None:
        inner = getattr(message, field.name)
        _mutate(draw, inner.add() if field.is_repeated else _present(inner), 1)
    elif field.is_repeated:
        values = [_value(draw, field) for _ in range(draw.randrange(1, 4))]
        target = getattr(message, field.name)
        if draw.random() < 0.5:
            del target[:]
        target.extend(values)
    else:
        setattr(message, field.name, _value(draw, field))


def _present(message):
    message.SetInParent()
    return message


def _value(draw, field):
    if field.type == field.TYPE_STRING:
        pool = {"backend": _NAMES, "platform": _NAMES + _PLATFORMS}
        return draw.choice(pool.get(field.name, _WORDS))
    if field.type == field.TYPE_BOOL:
        return draw.random() < 0.7
    if field.type == field.TYPE_ENUM:
        return draw.choice(field.enum_type.values).number
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return draw.choice((-1.0, 0.0, 0.5, 1.0, 2.0))
    unsigned = field.type in (field.TYPE_UINT32, field.TYPE_UINT64)
    # A warm-up runs as often as it says, on as many requests.
    most = (
        4 if field.name in ("count", "batch_size", "max_candidate_sequences") else 100
    )
    value = draw.choice([v for v in _INTS if v <= most])
    return abs(value) if unsigned else value


_TOKENS = (
    *["{", "}", "[", "]", ":", ",", ";", "name", "dims", "input", "max_batch_size"],
    *["4", "-1", "0", '"a"', '"m"', "TYPE_FP32", "KIND_CPU", "true", "$", "backend"],
)


def _change_text(draw, files):
    paths = _configs(files)
    if not paths:
        return
    path = draw.choice(paths)
    words = (files[path] or "").split(" ")
    at = draw.randrange(len(words))
    change = draw.choice(("drop", "double", "token", "swap"))
    if change == "drop":
        del words[at]
    elif change == "double":
        words.insert(at, words[at])
    elif change == "token":
        words[at] = draw.choice(_TOKENS)
    else:
        other = draw.randrange(len(words))
        words[at], words[other] = words[other], words[at]
    files[path] = " ".join(words)


_FOLDERS = (
    "m/2",
    "m/01",
    "m/10",
    "m/x",
    "m/0",
    "m/-1",
    "m/1a",
    "m/warmup",
    "m/configs",
)
_FILES = ("m/1/model.onnx", "m/1/model.py", "m/1/model.pt", "m/1/model.plan")


def _change_files(draw, files):
    change = draw.random()
    if change < 0.4 and files:
        path = draw.choice(sorted(files))
        del files[path]
    elif change < 0.7:
        files[draw.choice(_FOLDERS)] = None
    elif change < 0.85:
        path = draw.choice(_FILES)
        if files.get(path, "") is not None:
            files[path] = ""
    else:
        files["m/libtriton_absent.so"] = "no library"
    if not any(path.startswith("m/") for path in files):
        files["m"] = None
