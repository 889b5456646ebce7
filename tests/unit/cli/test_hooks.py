"""The hooks for pre-commit: their commands do what they say."""

import shlex
import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
HOOKS = {
    h["id"]: h for h in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "model_repository", tmp_path / "model_repository")
    monkeypatch.chdir(tmp_path)
    return Path("model_repository")


def run(kit, hook, *files):
    program, *words = shlex.split(HOOKS[hook]["entry"])
    assert program == "triton-kit"
    passed = files if HOOKS[hook].get("pass_filenames", True) else ()
    return kit(*words, *HOOKS[hook].get("args", ()), *passed)


def test_the_format_hook_rewrites_a_changed_config(kit, repository):
    config = repository / "digits" / "config.pbtxt"
    before = config.read_text()
    config.write_text(before.replace("max_batch_size: 64", "max_batch_size :  64"))

    result = run(kit, "triton-kit-format", config)

    assert result.exit_code == 0, result.output
    assert config.read_text() == before


def test_the_validate_hook_refuses_what_triton_would(kit, repository):
    assert run(kit, "triton-kit-validate").exit_code == 0
    config = repository / "digits" / "config.pbtxt"
    config.write_text(config.read_text().replace("TYPE_FP32", "TYPE_INT8"))

    result = run(kit, "triton-kit-validate")

    assert result.exit_code == 1, result.output


def test_the_docs_name_every_hook():
    text = (ROOT / "docs" / "ci.md").read_text()

    assert all(f"id: {name}" in text for name in HOOKS)
