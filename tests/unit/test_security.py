"""`triton-kit doctor --security` on releases and folders."""

import json

import pytest

from triton_kit.security import risks_of_folder, risks_of_release
from triton_kit.triton.releases import all_releases, find_release

PEM = "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "stack"
    (folder / "models" / "m" / "1").mkdir(parents=True)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    return folder


def write(path, text, mode):
    path.write_text(text)
    path.chmod(mode)


def test_a_release_has_the_vulnerabilities_that_later_ones_fix():
    [risk] = risks_of_release(find_release("24.10"))

    assert risk.subject == "Triton 24.10"
    assert "CVE-2025-23316" in risk.message
    assert "use 26.06 or newer" in risk.hint
    assert [*risks_of_release(all_releases()[-1])] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("server.pem", PEM),
        (".env", "TRITON_KIT_KEY=abc\nOTHER=1\n"),
        ("control-key", "k" * 40 + "\n"),
        ("triton.key", "k" * 40),
    ],
)
def test_keys_that_others_can_read_are_named(folder, name, text):
    write(folder / name, text, 0o644)

    [risk] = risks_of_folder(folder)

    assert risk.subject == str(folder / name)
    assert "other users can read this key (mode 0644)" in risk.message
    assert risk.hint == f"chmod 600 {folder / name}"
    (folder / name).chmod(0o600)
    assert [*risks_of_folder(folder)] == []


def test_what_only_looks_like_a_key_is_none(folder):
    write(folder / "keyboard.txt", "k" * 40, 0o644)
    write(folder / "key.py", "import os\nprint(os.name)\n", 0o644)
    write(folder / "certificate.pem", PEM.replace("PRIVATE KEY", "CERTIFICATE"), 0o644)
    (folder / "link.key").symlink_to("/dev/null")

    assert [*risks_of_folder(folder)] == []


def test_files_that_everybody_can_change_are_named(folder):
    model = folder / "models" / "m" / "1" / "model.py"
    write(model, "import os\n", 0o666)
    model.parent.chmod(0o777)

    found = {risk.subject for risk in risks_of_folder(folder)}

    assert found == {str(model), str(model.parent)}


def test_the_command_lists_risks_and_exits_with_1(kit, folder):
    write(folder / "triton.key", "k" * 40, 0o644)

    found = kit("doctor", "--security", folder, "--release", "26.07", "--json")
    clean = kit("doctor", "--security", folder / "models", "--release", "26.07")

    assert found.exit_code == 1
    assert [r["subject"] for r in json.loads(found.stdout)] == [
        str(folder / "triton.key")
    ]
    assert (clean.exit_code, clean.stdout) == (0, "risks found: 0\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["folder"], "folder was given without --security"),
        (["--release", "26.07"], "--release was given without --security"),
        (["--security", "nowhere"], "nowhere: no such folder"),
        (["--security", "localhost:1", "--release", "26.07"], "says itself what it is"),
    ],
)
def test_what_cannot_be_examined_is_refused(kit, words, message):
    result = kit("doctor", *words)

    assert result.exit_code == 2
    assert message in result.stderr
