import os
import shutil
import subprocess

import pytest

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.transfer.minisign import new_key, read_secret_key, sign, verify
from triton_kit.transfer.signature import sign_repository, verify_signature

PASSWORD = "correct horse"


@pytest.fixture(scope="session")
def minisign():
    """The program itself, which has to agree with us."""
    if shutil.which("minisign") is None:
        pytest.skip("minisign is not installed here")

    def run(*words, text=""):
        argv = ["minisign", *map(str, words)]
        return subprocess.run(argv, input=text, capture_output=True, text=True)

    return run


@pytest.fixture
def key(tmp_path):
    new_key(tmp_path / "our.key")
    return tmp_path / "our.key"


@pytest.fixture
def signed(repository, key):
    sign_repository(repository, key)
    return repository


def test_a_signed_repository_verifies_by_file_and_by_line(signed, key):
    found = verify_signature(signed, str(key.with_suffix(".pub")))

    assert verify_signature(signed, found.text) == found


def test_signing_again_changes_no_byte(signed, key):
    files = {path: path.read_bytes() for path in signed.iterdir() if path.is_file()}
    sign_repository(signed, key)

    assert {path: path.read_bytes() for path in files} == files


def change(root):
    (root / "digits/1/model.onnx").write_bytes(b"\x08\x0b" * 1000)


def remove(root):
    (root / "digits/config.pbtxt").unlink()


def add(root):
    (root / "digits/2").mkdir()
    (root / "digits/2/model.onnx").write_bytes(b"")


def add_bytecode(root):
    (root / "stub/1/__pycache__").mkdir()
    (root / "stub/1/__pycache__/model.cpython-311.pyc").write_bytes(b"")


def change_list(root):
    path = root / "SHA256SUMS"
    path.write_text(path.read_text().replace("a", "b", 1))


def change_comment(root):
    path = root / "SHA256SUMS.minisig"
    path.write_text(path.read_text().replace("listed by", "read by"))


def remove_signature(root):
    (root / "SHA256SUMS.minisig").unlink()


def break_signature(root):
    (root / "SHA256SUMS.minisig").write_text("no signature\n")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (change, "model.onnx: differs from the signed list"),
        (remove, "config.pbtxt: missing"),
        (add, "2/model.onnx: not in the signed list"),
        (add_bytecode, "pyc: not in the signed list"),
        (change_list, "does not fit"),
        (change_comment, "does not fit"),
        (remove_signature, "not signed"),
        (break_signature, "not a signature"),
    ],
)
def test_each_change_after_the_signature_is_found(signed, key, fault, words):
    fault(signed)

    with pytest.raises(RepositoryError, match=words):
        verify_signature(signed, str(key.with_suffix(".pub")))


def test_another_key_is_named(signed, tmp_path):
    other = new_key(tmp_path / "other.key")

    with pytest.raises(RepositoryError, match=f"expected one of {other.public.name}"):
        verify_signature(signed, other.public.text)


def test_a_key_is_never_overwritten_and_is_the_owners_only(key):
    assert key.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SpecError, match="never overwritten"):
        new_key(key)


def test_the_secret_key_may_not_be_published_along(repository):
    new_key(repository / "digits/my.key")

    with pytest.raises(SpecError, match="inside of the repository"):
        sign_repository(repository, repository / "digits/my.key")


def test_a_key_that_others_can_read_is_warned_of_and_never_shown(kit, repository, key):
    key.chmod(0o644)
    done = kit("sign", repository, "--secret-key", key)

    assert done.exit_code == 0, done.output
    assert "other users can read this secret key" in done.output
    secret = key.read_text().splitlines()[1]
    assert secret not in done.output
    assert secret not in repr(read_secret_key(key, str))


@pytest.mark.parametrize("text", ["", "x", "untrusted comment: x\nRWQ=\n", "\n\n\n"])
def test_a_file_that_is_no_key_is_refused(repository, tmp_path, text):
    (tmp_path / "bad").write_text(text)

    with pytest.raises(SpecError, match="not a secret key"):
        sign_repository(repository, tmp_path / "bad")
    with pytest.raises(SpecError, match="not a public key"):
        verify_signature(repository, str(tmp_path / "bad"))


def test_minisign_verifies_what_we_sign(minisign, signed, key):
    public = key.with_suffix(".pub")
    done = minisign("-Vm", signed / "SHA256SUMS", "-p", public)

    assert done.returncode == 0, done.stderr
    subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=signed, check=True)


def test_we_verify_what_minisign_signs_with_its_own_key(minisign, signed, tmp_path):
    secret, public = tmp_path / "its.key", tmp_path / "its.pub"
    minisign("-G", "-W", "-s", secret, "-p", public)
    done = minisign("-S", "-W", "-s", secret, "-m", signed / "SHA256SUMS")
    assert done.returncode == 0, done.stderr

    verify_signature(signed, str(public))
    sign_repository(signed, secret)
    verify_signature(signed, str(public))


@pytest.mark.long
def test_minisign_and_we_read_each_others_encrypted_keys(minisign, tmp_path):
    """Slow by design: a password costs seconds and 1 GiB of memory to try."""
    (tmp_path / "x").write_text("x")
    ours = new_key(tmp_path / "our.key", PASSWORD)
    done = minisign(
        *("-S", "-s", tmp_path / "our.key", "-m", tmp_path / "x"), text=f"{PASSWORD}\n"
    )
    assert done.returncode == 0, done.stderr
    verify(ours.public, b"x", (tmp_path / "x.minisig").read_text(), "x")

    its = tmp_path / "its.key"
    minisign(
        *("-G", "-s", its, "-p", tmp_path / "its.pub"), text=f"{PASSWORD}\n{PASSWORD}\n"
    )
    key = read_secret_key(its, lambda: PASSWORD)
    verify(key.public, b"x", sign(key, b"x", ""), "x")
    with pytest.raises(SpecError, match="wrong password"):
        read_secret_key(its, lambda: "another")


def test_the_command_signs_and_the_check_verifies(kit, digits_recipe, tmp_path):
    root = digits_recipe.parents[2] / "model_repository"
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("__pycache__"))
    key = tmp_path / "k.key"
    done = kit("sign", copy, "--secret-key", key, "--new-key")
    assert done.exit_code == 0, done.output
    command = done.stdout.splitlines()[-1].split()
    assert kit(*command[1:]).exit_code == 0

    os.truncate(copy / "digits/1/model.onnx", 100)
    refused = kit(*command[1:])
    assert refused.exit_code == 2
    assert "model.onnx: differs from the signed list" in refused.output
