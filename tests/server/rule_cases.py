"""Each rule's failing case and its repaired twin, as the files of a small repository.

A case is (rule, files, repaired files, the model to load). A path ends in the content;
None makes a folder. The model is `m` and has version 1 unless said otherwise.
"""

from dataclasses import dataclass

IN = 'input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
OUT = 'output [ { name: "b" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
IO = IN + OUT
BASE = f'backend: "identity"\n{IO}'
BATCHED = f"{BASE}max_batch_size: 8\n"
PLAN = 'platform: "tensorrt_plan"\n'


@dataclass(frozen=True)
class RuleCase:
    """A rule, a repository that breaks it, and the same one repaired."""

    rule: str
    broken: dict
    repaired: dict
    model: str = "m"

    def __str__(self):
        return self.rule


def one(config, **files):
    """A repository of one model; `a__b` in a keyword is the path a/b."""
    more = {f"m/{k.replace('__', '/')}": v for k, v in files.items()}
    return {"m/config.pbtxt": config, "m/1": None, **more}


def pair(rule, broken, repaired=BASE):
    """A case of one model, from two configs."""
    return RuleCase(rule, one(broken), one(repaired))


def folders(config, *names):
    return {"m/config.pbtxt": config, **{f"m/{name}": None for name in names}}


PARSE = [
    pair("P1", BASE + "max_batch: 4", BASE + "max_batch_size: 4"),
    pair("P2", BASE.replace("TYPE_FP32", "fp32")),
    pair("P3", BASE + "max_batch_size: ${N}", BASE + "max_batch_size: 4"),
    pair("P4", BASE + "max_batch_size: 1 max_batch_size: 2"),
    pair("P5", BATCHED + "dynamic_batching { } sequence_batching { }"),
    pair("P6", "\ufeff" + BASE),
    pair("P7", BASE.replace("backend:", "backend =")),
]
IDENTITY = [
    pair("R1", BASE + 'name: "other"', BASE + 'name: "m"'),
    pair("R2", IO),
    pair("R3", 'platform: "bogus"\n' + IO, 'platform: "onnxruntime_onnx"\n' + IO),
    pair("R4", 'platform: "ensemble"\n' + BASE),
    pair(
        "R5",
        'platform: "onnxruntime_onnx" backend: "pytorch"\n' + IO,
        'platform: "onnxruntime_onnx" backend: "onnxruntime"\n' + IO,
    ),
    pair("R6", BASE + "max_batch_size: -1"),
    pair("R7", 'backend: "absent"\n' + IO),
    pair(
        "R8", BASE + 'runtime: "absent.so"', BASE + 'runtime: "libtriton_identity.so"'
    ),
    pair("R9", BASE + 'runtime: "../python/libtriton_python.so"'),
    RuleCase(
        "R10",
        {"m.identity/1/x": ""},
        {"m.identity/config.pbtxt": BASE, "m.identity/1": None},
        "m.identity",
    ),
]
VERSIONS = [
    RuleCase("V1", {"m/config.pbtxt": BASE}, one(BASE)),
    pair(
        "V2",
        BASE + "version_policy { specific { versions: [ 2 ] } }",
        BASE + "version_policy { specific { versions: [ 1 ] } }",
    ),
    pair(
        "V3",
        BASE + "version_policy { latest { } }",
        BASE + "version_policy { latest { num_versions: 1 } }",
    ),
    RuleCase("V4", folders(BASE, "01"), folders(BASE, "0")),
]


def dynamic(text, repaired="dynamic_batching { }"):
    return BATCHED + f"dynamic_batching {{ {text} }}", BATCHED + repaired


_LEVELS = "priority_levels: 2 default_priority_level: 1 "
_DELAY = "{ timeout_action: DELAY default_timeout_microseconds: 9 }"
BATCHING = [
    pair("D1", *dynamic("preferred_batch_size: [ 0 ]")),
    pair("D2", *dynamic("preferred_batch_size: [ 4, 9 ]")),
    pair("D3", *dynamic("priority_levels: 2", f"dynamic_batching {{ {_LEVELS} }}")),
    pair("D4", *dynamic("priority_levels: 2 default_priority_level: 3")),
    pair(
        "D5",
        *dynamic(
            _LEVELS + "priority_queue_policy { key: 3 value { } }",
            f"dynamic_batching {{ {_LEVELS} priority_queue_policy {{ key: 2 }} }}",
        ),
    ),
    pair("D6", *dynamic(_LEVELS + "preserve_ordering: true")),
    pair("D7", *dynamic(f"preserve_ordering: true default_queue_policy {_DELAY}")),
    pair(
        "D8",
        *dynamic(
            "preserve_ordering: true priority_queue_policy { key: 1 value "
            + _DELAY
            + " }"
        ),
    ),
]


def sequence(text):
    return BATCHED + f"sequence_batching {{ {text} }}"


def control(text, name="C"):
    named = f'name: "{name}"' if name else ""
    return f"control_input {{ {named} control {{ {text} }} }}"


_START = "kind: CONTROL_SEQUENCE_START "
_CORRID = "kind: CONTROL_SEQUENCE_CORRID "
_GOOD = sequence(control(_START + "int32_false_true: [ 0, 1 ]"))
_GOOD_ID = sequence(control(_CORRID + "data_type: TYPE_UINT64"))
SEQUENCE = [
    pair("S1", sequence("") + " response_cache { enable: true }", sequence("")),
    pair(
        "S2", sequence(control(_START + "int32_false_true: [ 0, 1 ]", name="")), _GOOD
    ),
    pair(
        "S3",
        sequence(
            control(_START + "int32_false_true: [ 0, 1 ]")
            + control("kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ]")
        ),
        sequence(
            control(_START + "int32_false_true: [ 0, 1 ]")
            + control("kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ]", "D")
        ),
    ),
    pair(
        "S4",
        sequence(
            control(_START + "int32_false_true: [ 0, 1 ]")
            + control(_START + "int32_false_true: [ 0, 1 ]", "D")
        ),
        _GOOD,
    ),
    pair("S5", sequence(control(_START)), _GOOD),
    pair(
        "S6",
        sequence(control(_START + "int32_false_true: [0, 1] fp32_false_true: [0, 1]")),
        _GOOD,
    ),
    pair("S7", sequence(control(_START + "int32_false_true: [ 0 ]")), _GOOD),
    pair("S8", sequence(control(_START + "fp32_false_true: [ 0 ]")), _GOOD),
    pair("S9", sequence(control(_START + "bool_false_true: [ true ]")), _GOOD),
    pair(
        "S10",
        sequence(control(_CORRID + "data_type: TYPE_UINT64 int32_false_true: [0, 1]")),
        _GOOD_ID,
    ),
    pair("S11", sequence(control(_CORRID + "data_type: TYPE_FP32")), _GOOD_ID),
    pair(
        "S12",
        sequence("oldest { preferred_batch_size: [ 0 ] }"),
        sequence("oldest { }"),
    ),
    pair(
        "S13",
        sequence("oldest { preferred_batch_size: [ 9 ] }"),
        sequence("oldest { }"),
    ),
    pair(
        "S14",
        sequence("direct { minimum_slot_utilization: 1.5 }"),
        sequence("direct { minimum_slot_utilization: 0.5 }"),
    ),
]


def state(initial="", dims="4", count=1):
    """`count` states with these initial states."""
    text = (
        'state { input_name: "i" output_name: "o" data_type: TYPE_FP32 '
        f"dims: [ {dims} ] {initial} }} "
    )
    return sequence(text * count)


def initial(text='name: "z" zero_data: true', dtype="TYPE_FP32", dims="4"):
    return f"initial_state {{ data_type: {dtype} dims: [ {dims} ] {text} }} "


# The server rejects each of these or aborts, at random.
STATE = [
    pair("S15", state(initial() * 2), state(initial())),
    pair("S16", state(initial(dtype="TYPE_INT32")), state(initial())),
    pair("S17", state(initial("zero_data: true")), state(initial())),
    pair("S18", state(initial(dims="4, 4")), state(initial())),
    pair("S19", state(initial(dims="-1")), state(initial())),
    pair("S20", state(initial(dims="5")), state(initial(dims="5"), dims="-1")),
    pair("S21", state(initial('name: "z"')), state(initial())),
    RuleCase(
        "S22",
        one(state(initial('name: "z" data_file: "f"'))),
        one(state(initial('name: "z" data_file: "f"')), initial_state__f="x" * 16),
    ),
    pair("S23", state(initial(), count=2), state(initial())),
    RuleCase(
        "S24",
        one(state(initial('name: "z" data_file: "f"')), initial_state__f="x"),
        one(state(initial('name: "z" data_file: "f"')), initial_state__f="x" * 16),
    ),
]
DECOUPLED = "model_transaction_policy { decoupled: true } "
CACHE = [pair("C1", BASE + DECOUPLED + "response_cache { enable: true }")]


def tensor(text, *, kind="input", head='backend: "identity"\n'):
    return head + (f"{kind} [ {{ {text} }} ]\n" + (OUT if kind == "input" else IN))


_A = 'name: "a" data_type: TYPE_FP32 '
_B = 'name: "b" data_type: TYPE_FP32 '
TENSORS = [
    pair("I1", tensor("data_type: TYPE_FP32 dims: [ 4 ]")),
    pair("I2", tensor('name: "a" dims: [ 4 ]')),
    pair("I3", tensor(_A)),
    pair("I4", tensor(_A + "dims: [ 4, 0 ]"), tensor(_A + "dims: [ 4, -1 ]")),
    pair(
        "I5",
        tensor(_A + "dims: [ 1 ] reshape { }"),
        tensor(_A + "dims: [ 1 ] reshape { }") + "max_batch_size: 8",
    ),
    pair(
        "I6",
        tensor(_A + "dims: [ 4 ] reshape { shape: [ 4, 0 ] }"),
        tensor(_A + "dims: [ 4 ] reshape { shape: [ 4, 1 ] }"),
    ),
    pair(
        "I7",
        tensor(_A + "dims: [ 4 ] reshape { shape: [ 5 ] }"),
        tensor(_A + "dims: [ 4 ] reshape { shape: [ 2, 2 ] }"),
    ),
    pair(
        "I8",
        tensor(_A + "dims: [ -1, -1 ] reshape { shape: [ -1 ] }"),
        tensor(_A + "dims: [ -1, -1 ] reshape { shape: [ -1, 1, -1 ] }"),
    ),
    pair(
        "I9",
        tensor(_A + "dims: [ 2, -1, 3 ] reshape { shape: [ 2, -1, 4 ] }"),
        tensor(_A + "dims: [ 2, -1, 4 ] reshape { shape: [ 2, -1, 2, 2 ] }"),
    ),
    pair(
        "I10",
        tensor(_A + "format: FORMAT_NCHW dims: [ 4, 4 ]"),
        tensor(_A + "format: FORMAT_NCHW dims: [ 3, 4, 4 ]"),
    ),
    pair(
        "I11",
        tensor(_A + "dims: [ 4 ] is_shape_tensor: true"),
        tensor(_A + "dims: [ 4 ] is_shape_tensor: true", head=PLAN),
    ),
    pair(
        "I12",
        tensor(_B + "dims: [ 4 ] is_shape_tensor: true", kind="output"),
        tensor(_B + "dims: [ 4 ] is_shape_tensor: true", kind="output", head=PLAN),
    ),
    pair(
        "I13",
        tensor(_A + "dims: [ 3, 4, 4 ] is_non_linear_format_io: true"),
        tensor(_A + "dims: [ 3, 4, 4 ] is_non_linear_format_io: true", head=PLAN),
    ),
    pair(
        "I14",
        tensor(_A + "dims: [ 4, 4 ] is_non_linear_format_io: true", head=PLAN),
        tensor(_A + "dims: [ 3, 4, 4 ] is_non_linear_format_io: true", head=PLAN),
    ),
    pair("I15", tensor(_B, kind="output")),
]
_LABELLED = tensor(_B + 'dims: [ 4 ] label_filename: "l.txt"', kind="output")
LABELS = [RuleCase("L1", one(_LABELLED), {**one(_LABELLED), "m/l.txt": "a\nb\n"})]


def batch_input(text):
    return BASE + (
        "batch_input [ { kind: BATCH_ELEMENT_COUNT target_name: [ 'n' ] "
        + text
        + " } ]"
    )


def batch_output(text):
    return BASE + (
        "batch_output [ { kind: BATCH_SCATTER_WITH_INPUT_SHAPE " + text + " } ]"
    )


_IN_GOOD = batch_input("data_type: TYPE_FP32 source_input: [ 'a' ]")
_OUT_GOOD = batch_output("target_name: [ 'b' ] source_input: [ 'a' ]")
BATCH_IO = [
    pair("B1", batch_input("data_type: TYPE_FP32"), _IN_GOOD),
    pair("B2", batch_input("data_type: TYPE_INT64 source_input: [ 'a' ]"), _IN_GOOD),
    pair("B3", batch_input("data_type: TYPE_FP32 source_input: [ 'z' ]"), _IN_GOOD),
    pair("B4", batch_output("target_name: [ 'b' ]"), _OUT_GOOD),
    pair("B5", batch_output("target_name: [ 'b' ] source_input: [ 'z' ]"), _OUT_GOOD),
    pair("B6", batch_output("target_name: [ 'z' ] source_input: [ 'a' ]"), _OUT_GOOD),
    pair(
        "B7", batch_output("target_name: [ 'b', 'b' ] source_input: [ 'a' ]"), _OUT_GOOD
    ),
]


def group(text, head=BASE):
    return head + f"instance_group [ {{ {text} }} ]"


_CPU = group("kind: KIND_CPU")
_PLAN_IO = PLAN + IO
INSTANCES = [
    pair("G1", group("kind: KIND_GPU"), _CPU),
    pair("G2", group("kind: KIND_GPU gpus: [ 0 ]"), _CPU),
    pair("G3", group("kind: KIND_CPU gpus: [ 0 ]"), _CPU),
    pair("G4", group("kind: KIND_MODEL gpus: [ 0 ]"), group("kind: KIND_MODEL")),
    pair("G5", group('kind: KIND_CPU profile: [ "0" ]'), _CPU),
    pair(
        "G6",
        group('kind: KIND_CPU profile: [ "-1" ]', _PLAN_IO),
        group('kind: KIND_CPU profile: [ "1" ]', _PLAN_IO),
    ),
    pair(
        "G7",
        group('kind: KIND_CPU profile: [ "x" ]', _PLAN_IO),
        group('kind: KIND_CPU profile: [ "1" ]', _PLAN_IO),
    ),
    pair("G9", group("kind: 9"), _CPU),
]


def warmup(data, *, dims="4", dtype="TYPE_FP32", name="a", head=BASE):
    return head + (
        f'model_warmup [ {{ name: "s" batch_size: 1 inputs {{ key: "{name}" value {{ '
        f"data_type: {dtype} dims: [ {dims} ] {data} }} }} }} ]"
    )


_WARM = warmup("zero_data: true")
_WARM_FILE = warmup('input_data_file: "f"')
_STRINGS = BASE.replace("TYPE_FP32", "TYPE_STRING")
_WARM_STRINGS = warmup(
    'input_data_file: "f"', dtype="TYPE_STRING", dims="4", head=_STRINGS
)
WARMUP = [
    pair("W1", warmup("zero_data: true", dims="-1"), _WARM),
    pair("W2", warmup(""), _WARM),
    RuleCase("W3", one(_WARM_FILE), one(_WARM_FILE, warmup__f="x" * 16)),
    RuleCase(
        "W4",
        one(_WARM_FILE, warmup__f="x" * 15),
        one(_WARM_FILE, warmup__f="x" * 16),
    ),
    pair("W5", BASE + 'model_warmup [ { name: "s" batch_size: 1 } ]', _WARM),
    pair("W6", warmup("zero_data: true", dtype="TYPE_INT32"), _WARM),
    pair("W7", warmup("zero_data: true", dims="5"), _WARM),
    RuleCase(
        "W9",
        one(_WARM_STRINGS, warmup__f="xx"),
        one(_WARM_STRINGS, warmup__f="\x01\0\0\0x" * 4),
    ),
]
_STRATEGY = (
    'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "/absent" } }'
)
STRATEGY = [
    pair("T1", BASE + "sequence_batching { } " + _STRATEGY),
    pair("T2", BASE + _STRATEGY),
]
AGENTS = [
    pair("A1", BASE + 'model_repository_agents { agents [ { name: "absent" } ] }'),
]


def step(model="s", ins=(("a", "a"),), outs=(("b", "b"),), version=-1):
    """One step of an ensemble; an empty model name is left out."""
    text = f'model_name: "{model}" ' if model else ""
    text += f"model_version: {version} "
    for key, value in ins:
        text += f'input_map {{ key: "{key}" value: "{value}" }} '
    for key, value in outs:
        text += f'output_map {{ key: "{key}" value: "{value}" }} '
    return f"step [ {{ {text} }} ] "


def ensemble(*steps, io=IO, head='platform: "ensemble"\n', more=""):
    return f"{head}{io}ensemble_scheduling {{ {''.join(steps)} }}\n{more}"


def wired(config, step_config=BASE, **models):
    """An ensemble `m` with the model `s`, and others."""
    files = {"m/config.pbtxt": config, "m/1": None}
    for name, text in {"s": step_config, **models}.items():
        files |= {f"{name}/config.pbtxt": text, f"{name}/1": None}
    return files


def flow(rule, broken, repaired=None, *, broken_step=BASE, repaired_step=BASE):
    return RuleCase(
        rule,
        wired(broken, broken_step),
        wired(repaired or ensemble(step()), repaired_step),
    )


Z_IN = 'input [ { name: "z" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
Z_OUT = 'output [ { name: "z" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
TWO_IN = BASE + 'input [ { name: "c" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
TWO_OUT = BASE + 'output [ { name: "c" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
_CHAIN = (step(outs=(("b", "t"),)), step(ins=(("a", "t"),)))
_TO_Y = (step(outs=(("b", "t"),)), step(outs=(("b", "u"),)))
_JOIN = step("j", ins=(("a", "t"), ("c", "u")))
_BOTH_DECOUPLED = wired(ensemble(*_TO_Y, _JOIN), BASE + DECOUPLED, j=TWO_IN)
_ONE_DECOUPLED = wired(ensemble(*_TO_Y, _JOIN), BASE, j=TWO_IN)
ENSEMBLES = [
    flow("E1", ensemble(step(), head='backend: "identity"\n')),
    flow("E2", 'platform: "ensemble"\n' + IO),
    flow("E3", ensemble(step(), more="instance_group [ { count: 1 } ]")),
    flow("E4", ensemble(step(), more="optimization { }")),
    flow("E5", ensemble(step(), more='model_warmup [ { name: "s" } ]')),
    flow("E6", ensemble()),
    flow("E7", ensemble(step(model=""))),
    flow("E8", ensemble(step(ins=()))),
    flow("E9", ensemble(step(outs=()))),
    flow("E10", ensemble(step(), step()), ensemble(*_CHAIN)),
    flow("E11", ensemble(step(), io=IO + Z_IN)),
    flow("E12", ensemble(step(), io=IO + Z_OUT)),
    flow("E13", ensemble(step(ins=(("a", "z"),)), io=OUT), ensemble(step())),
    flow(
        "E14",
        ensemble(step(outs=(("b", "b"), ("c", "u")))),
        broken_step=TWO_OUT,
    ),
    flow("E15", ensemble(step("absent"))),
    flow(
        "E16",
        ensemble(step(ins=(("a", "a"), ("x", "a")))),
    ),
    flow("E17", ensemble(step(outs=(("x", "b"),)))),
    flow("E18", ensemble(step()), broken_step=TWO_IN),
    flow(
        "E19", ensemble(step()), broken_step=BASE.replace("FP32 dims", "INT32 dims", 1)
    ),
    flow(
        "E20", ensemble(step()), broken_step=BASE.replace("dims: [ 4 ]", "dims: [ 5 ]")
    ),
    flow(
        "E21",
        ensemble(step(), more="max_batch_size: 9"),
        ensemble(step(), more="max_batch_size: 8"),
        broken_step=BATCHED,
        repaired_step=BATCHED,
    ),
    flow("E22", ensemble(step(version=9)), ensemble(step(version=1))),
    flow("E23", ensemble(step()), broken_step=BASE + 'name: "other"'),
    RuleCase(
        "E24",
        wired(ensemble(step("n")), n=ensemble(step("m"))),
        wired(ensemble(step("n")), n=ensemble(step("s"))),
    ),
    RuleCase("E25", _BOTH_DECOUPLED, _ONE_DECOUPLED),
    flow(
        "E26",
        ensemble(step(outs=(("b", "b"), ("c", "b")))),
        broken_step=TWO_OUT,
    ),
]
CASES = [
    *[*PARSE, *IDENTITY, *VERSIONS, *BATCHING, *SEQUENCE, *CACHE, *TENSORS, *LABELS],
    *[*BATCH_IO, *INSTANCES, *WARMUP, *STRATEGY, *AGENTS, *ENSEMBLES],
]

# The server dies of these: they are listed, not run.
FATAL = {
    "A2": one(BASE + "model_repository_agents { }"),
    "F2": {"m/config.pbtxt": None, "m/1": None},
    "G8": one(group('kind: KIND_CPU profile: [ "99999999999" ]', _PLAN_IO)),
    "L3": {**one(_LABELLED), "m/l.txt": None},
    "N5": one(BASE + 'metric_tags { key: "a-b" value: "c" }'),
    "V5": folders(BASE, "1", "99999999999999999999"),
    "W8": {**one(_WARM_FILE), "m/warmup/f": None},
    "E27": wired(ensemble(step("n")), n=ensemble(step("p")), p=ensemble(step("n"))),
}
# Newer than the server that judges: from its source.
NEWER = {
    "L2": ("2.70", {**one(_LABELLED.replace("l.txt", "../l.txt")), "l.txt": "a"}),
    "N1": ("2.52", one(BASE + "model_metrics { metric_control { } }")),
    "N2": (
        "2.52",
        one(BASE + "model_metrics { metric_control { metric_identifier { } } }"),
    ),
    "N3": (
        "2.52",
        one(
            BASE
            + "model_metrics { metric_control { metric_identifier { family: 'f' } } }"
        ),
    ),
    "N4": (
        "2.52",
        one(
            BASE + "model_metrics { metric_control { metric_identifier { family: 'f' } "
            "histogram_options { } } }"
        ),
    ),
}
