"""Settings into keys of triton-kit.yaml, and those into the file as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any  # YAML

import yaml

from triton_kit.errors import SpecError
from triton_kit.files import write_whole
from triton_kit.project.load import check_text, load_project
from triton_kit.project.spec import ModelSpec, Project
from triton_kit.tuning.model_fields import (
    KNOWN,
    Config,
    fitting,
    is_conversion,
    with_served_lists,
    with_settings,
)
from triton_kit.tuning.space import Value
from triton_kit.tuning.subject import is_ensemble
from triton_kit.tuning.variants import conversion_keys

# models or pipelines -> name -> key -> value.
Patch = dict[str, dict[str, dict[str, Any]]]
_BATCHING = ("max_batch_size", "queue_delay_us", "preferred")


def make_patch(
    configs: Mapping[str, Config],
    settings: Mapping[str, Mapping[str, Value]],
    project: Project | None,
    floors: Mapping[str, float] | None = None,
    written: Mapping[str, Config] | None = None,
) -> Patch:
    """Return what to change in triton-kit.yaml, each key with its whole new value.

    Args:
        configs: of each model, as the server completed it.
        settings: of each model that changes.
        project: what it is for; None: a project that has none of the keys yet.
        floors: of the accuracy of models whose conversion changes.
        written: the configurations as they are in their files, where those are known.
    """
    patch: Patch = {}
    for model, fields in settings.items():
        served = configs[model]
        own = (written or configs)[model]
        config = with_served_lists(model, own, served, fields)
        spec = project.spec.models.get(model) if project else None
        if is_ensemble(served):
            section, keys = "pipelines", _config(model, config, fields, {})
        else:
            section, keys = "models", _keys(served, fields, spec)
            keys |= _others(model, config, fields, spec)
            keys |= _conversion(fields, spec, floors or {})
        patch.setdefault(section, {})[model] = keys
    return patch


def _keys(
    config: Config, fields: Mapping[str, Value], spec: ModelSpec | None
) -> dict[str, Any]:
    own = _written_keys(spec)
    keys: dict[str, Any] = {}
    if "instances" in fields:
        groups = own.get("instances") or _groups(config)
        keys["instances"] = [{**g, "count": fields["instances"]} for g in groups]
    if any(name in fields for name in _BATCHING):
        served = _served_batching(config) if spec is None else {}
        keys["batching"] = _batching(config, fields, own.get("batching") or served)
    parameters = {
        name.removeprefix("parameters."): str(value)
        for name, value in fields.items()
        if name.startswith("parameters.")
    }
    if threads := fields.get("threads"):
        parameters["intra_op_thread_count"] = str(threads)
    if parameters or "threads" in fields:
        kept = dict(own.get("parameters", {}))
        kept.pop("intra_op_thread_count", None)
        keys["parameters"] = kept | parameters
    if "graph_level" in fields:
        level = {"graph_level": fields["graph_level"]}
        keys["optimization"] = own.get("optimization", {}) | level
    return keys


def _others(
    model: str, config: Config, fields: Mapping[str, Value], spec: ModelSpec | None
) -> dict[str, Any]:
    """Return the key `config`, with the fields that no other key has."""
    others = {
        name: value
        for name, value in fields.items()
        if name not in KNOWN
        and not name.startswith("parameters.")
        and not is_conversion(name)
    }
    own = _written_keys(spec).get("config", {})
    return _config(model, config, others, own) if others else {}


def _written_keys(spec: ModelSpec | None) -> dict[str, Any]:
    return spec.model_dump(exclude_unset=True, mode="json") if spec else {}


def _conversion(
    fields: Mapping[str, Value], spec: ModelSpec | None, floors: Mapping[str, float]
) -> dict[str, Any]:
    own = _written_keys(spec)
    keys = conversion_keys(own, fields)
    if keys and floors:
        keys["verify"] = {**own.get("verify", {}), **floors}
    return keys


def _groups(config: Config) -> list[dict[str, Any]]:
    kinds = {
        str(group.get("kind", "KIND_AUTO")): None
        for group in config.get("instance_group") or [{}]
    }
    return [{"kind": kind.removeprefix("KIND_").lower()} for kind in kinds]


def _served_batching(config: Config) -> dict[str, Any]:
    """Return the key `batching` of a model that no project has."""
    if "dynamic_batching" not in config:
        return {"dynamic": False}
    preferred, delay = (
        KNOWN[name].read(config) for name in ("preferred", "queue_delay_us")
    )
    sizes = {"preferred": list(preferred)} if isinstance(preferred, tuple) else {}
    return {**(sizes if preferred else {}), "max_queue_delay_us": delay}


def _batching(
    config: Config, fields: Mapping[str, Value], own: dict[str, Any]
) -> dict[str, Any]:
    found = {"max_batch_size": config.get("max_batch_size", 0), **own}
    if "max_batch_size" in fields:
        found["max_batch_size"] = fields["max_batch_size"]
        if sizes := found.get("preferred"):
            found["preferred"] = fitting(sizes, fields["max_batch_size"])
    if "preferred" in fields:
        preferred = fields["preferred"]
        found["preferred"] = list(preferred) if isinstance(preferred, tuple) else []
    if "queue_delay_us" in fields:
        found.pop("dynamic", None)
        if fields["queue_delay_us"] is None:
            found = {"max_batch_size": found["max_batch_size"], "dynamic": False}
        else:
            found["max_queue_delay_us"] = fields["queue_delay_us"]
    return found


def _config(
    model: str, config: Config, fields: Mapping[str, Value], own: Mapping[str, Any]
) -> dict[str, Any]:
    changed = with_settings(model, config, fields)
    tops = {name.partition(".")[0] for name in fields}
    return {"config": {**own, **{top: changed[top] for top in sorted(tops)}}}


def patch_text(patch: Patch, head: str = "") -> str:
    """Return the patch as YAML, under comment lines."""
    comments = "".join(f"# {line}\n" for line in head.splitlines())
    body = yaml.safe_dump(patch, sort_keys=False, default_flow_style=None, width=88)
    return comments + (body if patch else "{}\n")


def apply_patch(project: Project, file: Path, patch: Patch) -> None:
    """Change keys in triton-kit.yaml; all other text stays as it is.

    Raises:
        SpecError: the file is written in a way in which the change means something
            else, for example through an anchor. It is then as it was.
    """
    text = file.read_text(encoding="utf-8")
    for section, models in patch.items():
        for name, keys in models.items():
            for key, value in keys.items():
                path: tuple[str, ...] = (section, name, key)
                override = ("targets", project.target, *path)
                if project.document and override in project.document.lines:
                    path = override
                text = _with_value(text, path, value)
    try:
        check_text(text, file)
        written = yaml.safe_load(text)
        for section, models in patch.items():
            for name, keys in models.items():
                _require_written(written, project.target, section, name, keys)
    except (SpecError, yaml.YAMLError, KeyError, TypeError) as error:
        raise SpecError(
            f"{file}: the settings cannot be written into this file by the kit",
            hint="merge best.yaml into it by hand",
        ) from error
    write_whole(file, text)
    load_project(file, target=project.target)


def _require_written(
    written: Any,  # noqa: ANN401  YAML
    target: str,
    section: str,
    name: str,
    keys: Mapping[str, Any],
) -> None:
    overrides = (written.get("targets") or {}).get(target, {}).get(section, {})
    found = {**written[section][name], **overrides.get(name, {})}
    if any(found.get(key) != value for key, value in keys.items()):
        raise SpecError(f"{name}: the file would mean something else")


def _with_value(text: str, path: tuple[str, ...], value: Any) -> str:  # noqa: ANN401
    """Return YAML with the value of a key replaced, or the key added."""
    dumped = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10**6
    )
    flow = dumped.strip().removesuffix("\n...")  # the end of a plain word's document
    mapping = yaml.compose(text, Loader=yaml.SafeLoader)
    *outer, last = path
    for key in outer:
        mapping = _child(mapping, key)[1]
    try:
        key_node, value_node = _child(mapping, last)
    except KeyError:
        return _with_key(text, mapping, f"{last}: {flow}")
    start, end = key_node.end_mark.index, _end(value_node)
    return f"{text[:start]}: {flow}{text[end:]}"


def _child(mapping: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node]:
    if isinstance(mapping, yaml.MappingNode):
        for key_node, value_node in mapping.value:
            if key_node.value == key:
                return key_node, value_node
    raise KeyError(key)


def _with_key(text: str, mapping: yaml.Node | None, entry: str) -> str:
    if not isinstance(mapping, yaml.MappingNode) or not mapping.value:
        raise SpecError(f"{entry.partition(':')[0]} has no place in the file")
    end = _end(mapping)
    if mapping.flow_style:
        return f"{text[: end - 1].rstrip()}, {entry}{text[end - 1 :]}"
    indent = " " * mapping.value[0][0].start_mark.column
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    return f"{text[:line_end]}\n{indent}{entry}{text[line_end:]}"


def _end(node: yaml.Node) -> int:
    """Return where a node's own text ends: a block's mark is at the next token."""
    is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    if not is_block or not node.value:
        end: int = node.end_mark.index
        return end
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)
