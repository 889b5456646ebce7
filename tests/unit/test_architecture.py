"""The folders are the architecture; this keeps them so."""

import ast
import configparser
from pathlib import Path

import pytest

import triton_kit

PACKAGE = Path(triton_kit.__file__).parent
GROUND = {
    "errors",
    "tensors",
    "samples",
    "artifact",
    "wire",
    "process",
    "gpu",
    "triton",
    "files",
    "options",
    "scratch",
    "model_hub",
}
PILLARS = {"project", "conversion", "repository", "loadtest", "serving"}
MAY_IMPORT = {
    "__init__": GROUND
    | PILLARS
    | {"build_project", "comparison", "deployment", "tuning", "api"}
    | {"report"}
    | {"api_transfer", "api_tune"}
    | {"api_publish", "publish_delivery", "publish_checks", "publish_upkeep"},
    "__main__": {"cli"},
    "errors": set(),
    "tensors": {"errors"},
    "samples": {"errors", "files"},
    "artifact": {"errors", "tensors", "wire"},
    "wire": set(),
    "process": {"errors", "files"},
    "gpu": {"process"},
    "triton": {"errors", "tensors"},
    "files": {"errors"},
    "scratch": set(),
    "model_hub": {"errors", "files"},
    "options": {"errors", "tensors"},
    **dict.fromkeys(PILLARS, GROUND),
    "built": GROUND | {"project", "repository"},
    "build_model": GROUND | {"project", "conversion", "repository", "built"},
    "server_verdict": GROUND | {"repository", "serving"},
    "deployment": GROUND | {"repository", "serving", "launch"},
    "build_as_is": GROUND | {"project", "repository", "built"},
    "python_environment": GROUND | {"serving"},
    "requirements_file": GROUND,
    "python_requirements": GROUND | {"python_environment", "requirements_file"},
    "build_environment": GROUND
    | {
        *("project", "built", "build_as_is"),
        *("python_environment", "python_requirements", "requirements_file"),
    },
    "build_files": GROUND
    | {"project", "repository", "built", "build_as_is", "build_environment"},
    "init_project": GROUND | {"project", "repository"},
    "model_project": GROUND | {"project", "repository", "init_project"},
    "launch": GROUND | {"repository", "serving"},
    "watch": GROUND | {"repository", "serving"},
    "run_tests": GROUND | {"project", "serving", "loadtest"},
    "locate": GROUND | {"project", "repository"},
    "build_check": GROUND
    | {
        *("project", "repository", "serving", "locate"),
        *("built", "build_as_is", "build_files"),
    },
    "build_project": GROUND
    | {
        *("project", "repository", "locate"),
        *("built", "build_model"),
        *("build_as_is", "build_check", "build_files", "build_publish"),
        *("build_one", "build_many", "execute"),
    },
    "build_publish": GROUND
    | {"project", "repository", "locate", "built", "build_model"},
    "transfer": GROUND,
    "provenance": GROUND,
    "publish_require": GROUND | {"loadtest"},
    "publish_sources": GROUND
    | {"project", "conversion", "repository", "build_project", "provenance"},
    "publish_checks": GROUND | {"repository", "serving", "loadtest", "publish_sources"},
    "publish_delivery": GROUND
    | {"repository", "publish_sources", "publish_checks", "publish_require"},
    "publishing": GROUND
    | {"repository", "publish_sources", "publish_delivery", "provenance"},
    "publish_upkeep": GROUND | {"repository", "publish_delivery"},
    "api_publish": GROUND
    | {"repository", "publishing", "publish_delivery", "publish_upkeep"},
    "tuning": GROUND
    | PILLARS
    | {"comparison", "built", "build_model", "build_as_is", "build_project"}
    | {"build_many", "execute"},
    "execute": GROUND | {"loadtest", "conversion"},
    "build_one": GROUND
    | {"project", "built", "build_as_is", "build_files", "build_model"},
    "build_task": GROUND
    | {"project", "built", "execute"}
    | {"build_model", "build_one", "build_many", "build_project"},
    "build_many": GROUND | {"project", "locate", "built", "build_model", "execute"},
    "comparison": GROUND,
    "report": GROUND | {"loadtest", "comparison"},
    "ui": GROUND | {"repository", "serving", "loadtest", "comparison", "report"},
    "doctor": GROUND | {"serving"},
    "security": GROUND,
    "plan_builder": GROUND | {"conversion", "serving"},
    "api_transfer": GROUND | {"transfer"},
    "api_tune": GROUND | {"loadtest", "tuning"},
    "api": GROUND | PILLARS | {"build_project", "comparison", "deployment", "execute"},
    "demo": GROUND | PILLARS | {"build_project", "report"},
    "cli": GROUND
    | PILLARS
    | {
        *("build_project", "server_verdict", "init_project", "run_tests", "launch"),
        *("model_project", "watch", "security", "plan_builder", "built"),
        "transfer",
        *("tuning", "execute", "report", "demo", "doctor", "comparison", "deployment"),
        *("publishing", "publish_delivery", "publish_checks", "publish_upkeep"),
        "ui",
        "build_many",
    },
}
# Each part of a pillar imports those before it.
ORDER = {
    "conversion": (
        "spec",
        "shapes",
        "output_files",
        "workers",
        "onnx",
        "precision",
        "sources",
        "verify",
        "search",
        "results",
        "tensorrt",
        "inspection",
        "finish",
        "pipeline",
    ),
    "loadtest": (
        "request",
        "http",
        "net",
        "record",
        "loops",
        "inputs",
        "results",
        "option_texts",
        "generation_spec",
        "sweep_spec",
        "transport_spec",
        "spec",
        "client",
        "llm",
        "run",
    ),
    "repository": (
        "config",
        "check",
        "generate",
        "publish",
        "difference",
        "drawing",
        "layout",
        "svg",
    ),
}
# These run inside another process, not inside the kit.
GUESTS = PACKAGE / "serving" / "backends"
FILES = sorted(p for p in PACKAGE.rglob("*.py") if GUESTS not in p.parents)
ORDERED_FILES = sorted(p for o in ORDER for p in (PACKAGE / o).rglob("[!_]*.py"))


def part_of(path, package=PACKAGE):
    return path.relative_to(package).parts[0].removesuffix(".py")


def imported_parts(path, package="triton_kit"):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            if module.startswith(f"{package}."):
                yield module.removeprefix(f"{package}.").split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    part = part_of(path)

    assert set(imported_parts(path)) <= MAY_IMPORT[part] | {part}


@pytest.mark.parametrize(
    "path", ORDERED_FILES, ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_within_a_pillar_point_down(path):
    pillar = part_of(path)
    order = ORDER[pillar]
    layer = order.index(part_of(path, PACKAGE / pillar))

    assert {*imported_parts(path, f"triton_kit.{pillar}")} <= {*order[: layer + 1]}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400


def test_at_most_five_functions_are_longer_than_fifty_lines():
    long = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= 50
    ]

    assert len(long) <= 5, long


def test_every_package_is_shipped():
    parser = configparser.ConfigParser()
    parser.read(PACKAGE.parent / "setup.cfg")
    listed = set(parser["options"]["packages"].split())
    found = {
        ".".join(p.parent.relative_to(PACKAGE.parent).parts)
        for p in PACKAGE.rglob("__init__.py")
    }

    assert found | {"triton_kit.templates"} == listed
