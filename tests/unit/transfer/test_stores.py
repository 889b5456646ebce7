"""Push and pull against real servers on this machine: S3 (moto), Azure (Azurite)."""

import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from stores import KEYS, CuttingProxy, s3_client, s3_server
from triton_kit.errors import RepositoryError, SpecError, TransportError
from triton_kit.files import cache_folder
from triton_kit.transfer.minisign import new_key
from triton_kit.transfer.pull import cached, pull
from triton_kit.transfer.push import push
from triton_kit.transfer.signature import sign_repository
from triton_kit.transfer.stores import (
    ConflictError,
    Store,
    open_store,
    read_address,
)
from triton_kit.transfer.tree import read_tree

AZURITE = Path(__file__).parents[3] / ".cache/azurite/node_modules/.bin/azurite-blob"
# Of every Azurite; it is no secret.
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/"
    "KBHBeksoGMGw=="
)


@pytest.fixture(scope="session")
def s3():
    with s3_server() as url:
        yield url


@pytest.fixture(scope="session")
def azure():
    program = shutil.which("azurite-blob") or AZURITE
    if not Path(program).exists() or shutil.which("node") is None:
        pytest.skip("Azurite is not installed here: scripts/test installs it with npm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    words += ["--skipApiVersionCheck", "--disableTelemetry"]
    process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(s3, monkeypatch, tmp_path):
    """A new bucket, and the variables with which a user would reach it."""
    name = f"b{random.SystemRandom().randrange(1 << 60)}"
    s3_client(s3).create_bucket(Bucket=name)
    for variable, value in KEYS.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return name


@pytest.fixture(params=["s3", "az"])
def address(request, monkeypatch):
    """A place for a repository in each store that has a server here."""
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('bucket')}/models/digits"
    port = request.getfixturevalue("azure")
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey="
        f"{AZURE_KEY};BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;",
    )
    from azure.storage.blob import BlobServiceClient

    name = f"c{random.SystemRandom().randrange(1 << 60)}"
    text = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    with BlobServiceClient.from_connection_string(text) as client:
        client.create_container(name)
    return f"az://{name}/models/digits"


def store_at(text):
    return open_store(read_address(text))


def objects(url, bucket):
    """Return the size of each object, as another client sees it."""
    pages = s3_client(url).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {o["Key"]: o["Size"] for page in pages for o in page.get("Contents", ())}


def test_a_repository_arrives_as_it_left(address, repository, tmp_path):
    for name in ("a b#1", "x?y=z", "%20", "[a]*&+"):
        (repository / "stub/1" / name).write_text(name)
    pushed = push(repository, store_at(address))
    pulled = pull(store_at(address), tmp_path / "new")

    assert pushed.changed
    assert pulled.digest == pushed.digest == read_tree(tmp_path / "new").digest
    assert os.access(tmp_path / "new/stub/triton_python_backend_stub", os.X_OK)


def test_only_what_changed_is_sent(address, repository):
    store = store_at(address)
    first = push(repository, store)
    again = push(repository, store)
    (repository / "digits/config.pbtxt").write_text('backend: "python"\n')
    second = push(repository, store)
    (repository / "digits/config.pbtxt").write_text('backend: "onnxruntime"\n')
    back = push(repository, store)

    assert (first.sent, first.copied, first.changed) == (6, 0, True)
    assert (again.sent, again.copied, again.changed) == (0, 0, False)
    assert (second.sent, second.copied, second.changed) == (1, 5, True)
    assert (back.sent, back.copied, back.changed) == (0, 0, True)
    assert back.address == first.address


def test_an_earlier_repository_is_pulled_by_its_digest(address, repository, tmp_path):
    first = push(repository, store_at(address))
    (repository / "digits/config.pbtxt").write_text('backend: "python"\n')
    push(repository, store_at(address))

    pulled = pull(store_at(address), tmp_path / "old", digest=first.digest)
    assert pulled.digest == first.digest
    with pytest.raises(RepositoryError, match="no repository with digest"):
        pull(store_at(address), tmp_path / "none", digest="0" * 64)
    assert not (tmp_path / "none").exists()


def test_the_layout_is_one_that_triton_loads(s3, bucket, repository):
    pushed = push(repository, store_at(f"s3://{bucket}/models/digits"))
    found = objects(s3, bucket)
    top = f"models/digits/{pushed.digest}/"

    assert found[f"{top}digits/1/model.onnx"] == 2000
    # The empty version of an ensemble is a folder for Triton, too.
    assert any(key.startswith(f"{top}both/1/") for key in found)


def meeting_store(address, barrier):
    """Return a store that writes its pointer once all writers have sent their files."""

    class MeetingStore(Store):
        def write_if(self, name, data, version):
            barrier.wait(500)
            super().write_if(name, data, version)

    store = store_at(address)
    return MeetingStore(store.address, store._fs)


def two_writers(address, tmp_path, repository, number):
    barrier = threading.Barrier(2)
    copies = []
    for writer in ("a", "b"):
        copy = tmp_path / f"{number}-{writer}"
        shutil.copytree(repository, copy)
        (copy / "digits/labels.txt").write_text(copy.name)
        copies.append(copy)

    def write(copy):
        try:
            return push(copy, meeting_store(address, barrier))
        except ConflictError as error:
            return error

    with ThreadPoolExecutor() as pool:
        return list(pool.map(write, copies))


def test_of_two_writers_one_wins_and_the_other_gets_an_error(
    address, repository, tmp_path
):
    for number in range(3):
        outcomes = two_writers(address, tmp_path, repository, number)
        errors = [one for one in outcomes if isinstance(one, ConflictError)]
        (winner,) = [one for one in outcomes if one not in errors]

        assert len(errors) == 1
        assert "another process wrote it meanwhile" in errors[0].message
        pulled = pull(store_at(address), tmp_path / f"new-{number}")
        assert pulled.digest == winner.digest


def test_a_push_that_is_cut_leaves_the_pointer_on_a_whole_repository(
    s3, bucket, repository, tmp_path, monkeypatch
):
    address, draw = f"s3://{bucket}/models", random.Random(0)
    whole = {push(repository, store_at(address)).digest}
    for number in range(5):
        weights = repository / "digits/1/model.onnx"
        weights.write_bytes(draw.randbytes(50_000))
        (repository / "stub/1/model.py").write_text(f"# {number}")
        whole.add(read_tree(repository).digest)
        with CuttingProxy(s3, after_bytes=draw.randrange(60_000)) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
            with pytest.raises(TransportError, match="no connection to the store"):
                push(repository, store_at(address))
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
        pulled = pull(store_at(address), tmp_path / str(number))
        assert pulled.digest in whole - {read_tree(repository).digest}
        # What is there is not sent again.
        top = f"models/{read_tree(repository).digest}/"
        sizes = objects(s3, bucket)
        files = read_tree(repository).files
        there = sum(sizes.get(top + name) == f.bytes for name, f in files.items())
        assert push(repository, store_at(address)).sent <= len(files) - there


@pytest.mark.parametrize("content", [b"", b"\x08\x0a" * 999, b"\x08\x0b" * 1000])
def test_a_file_that_was_cut_or_changed_in_the_store_is_not_taken(
    s3, bucket, repository, tmp_path, content
):
    address = f"s3://{bucket}/models"
    key = f"models/{push(repository, store_at(address)).digest}/digits/1/model.onnx"
    s3_client(s3).put_object(Bucket=bucket, Key=key, Body=content)

    with pytest.raises(RepositoryError, match=r"digits/1/model\.onnx: has"):
        pull(store_at(address), tmp_path / "new")
    assert not list(tmp_path.glob("*new*"))


@pytest.mark.parametrize(
    "path", ["../../outside", "/etc/outside", "a/../../outside", "a\\b"]
)
def test_a_list_with_a_path_that_leaves_is_refused(s3, bucket, repository, path):
    tree = read_tree(repository)
    text = tree.text.replace("stub/1/model.py", path.replace("\\", "\\\\"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    pointer = {"schema": 1, "digest": digest, "recent": []}
    client = s3_client(s3)
    client.put_object(Bucket=bucket, Key=f"x/{digest}.json", Body=text.encode())
    client.put_object(Bucket=bucket, Key="x/latest.json", Body=json.dumps(pointer))

    with pytest.raises(RepositoryError, match=r"path .* (leaves|absolute|character)"):
        pull(store_at(f"s3://{bucket}/x"), repository.parent / "new")


@pytest.mark.parametrize("text", [b"", b"{}", b'{"digest": "x", "recent": []}', b"[]"])
def test_a_pointer_of_another_program_stays_as_it_is(s3, bucket, repository, text):
    client = s3_client(s3)
    client.put_object(Bucket=bucket, Key="x/latest.json", Body=text)

    with pytest.raises(RepositoryError, match="not the pointer"):
        push(repository, store_at(f"s3://{bucket}/x"))
    body = client.get_object(Bucket=bucket, Key="x/latest.json")["Body"]
    assert body.read() == text


def test_objects_encrypted_with_a_kms_key_are_verified_like_others(
    s3, bucket, repository, tmp_path
):
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/aws/s3"}
    s3_client(s3).put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": rule}]
        },
    )
    address = f"s3://{bucket}/models"
    push(repository, store_at(address))
    (repository / "digits/config.pbtxt").write_text("")
    second = push(repository, store_at(address))

    assert pull(store_at(address), tmp_path / "new").digest == second.digest


def test_a_file_that_changes_while_it_is_sent_is_refused(s3, bucket, repository):
    class ChangingStore(Store):
        def put(self, path, name):
            super().put(path, name)
            path.write_bytes(b"changed")

    store = store_at(f"s3://{bucket}/models")
    with pytest.raises(RepositoryError, match="changed while it was sent"):
        push(repository, ChangingStore(store.address, store._fs))
    assert "models/latest.json" not in objects(s3, bucket)


def test_nothing_leaves_the_cache_while_it_is_used(bucket, repository):
    address = f"s3://{bucket}/models"
    store = store_at(address)
    first = push(repository, store)
    with cached(store) as root:
        for number in range(7):
            (repository / "digits/config.pbtxt").write_text(f"# {number}")
            push(repository, store)
            with cached(store) as newer:
                assert newer != root
        assert read_tree(root).digest == first.digest
    names = [p for p in (cache_folder() / "repositories").iterdir() if p.is_dir()]
    assert len(names) == 6

    (newer / "digits/1/model.onnx").write_bytes(b"damaged")
    with cached(store) as mended:
        assert mended == newer
        assert read_tree(mended).digest == newer.name


def test_a_fetch_into_the_cache_that_was_cut_continues(
    s3, bucket, repository, monkeypatch
):
    address = f"s3://{bucket}/models"
    pushed = push(repository, store_at(address))
    key = f"models/{pushed.digest}/digits/1/model.onnx"
    client = s3_client(s3)
    whole = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    client.put_object(Bucket=bucket, Key=key, Body=b"short")
    with pytest.raises(RepositoryError, match="has 5 bytes"), cached(store_at(address)):
        pass
    client.put_object(Bucket=bucket, Key=key, Body=whole)

    with cached(store_at(address)) as root:
        assert read_tree(root).digest == pushed.digest


def test_the_commands_push_pull_and_validate(kit, bucket, repository, tmp_path):
    model = Path(__file__).parents[3] / "model_repository"
    copy = tmp_path / "copy"
    shutil.copytree(model, copy, ignore=shutil.ignore_patterns("__pycache__"))
    key = new_key(tmp_path / "k.key").public.text
    sign_repository(copy, tmp_path / "k.key")
    address = f"s3://{bucket}/models"

    done = kit("push", copy, address, "--verify-key", key, "--json")
    assert done.exit_code == 0, done.output
    digest = json.loads(done.stdout)["digest"]
    done = kit("validate", address, "--verify-key", key)
    assert done.exit_code == 0, done.output
    assert "3 models: all accepted" in done.stdout
    done = kit("pull", address, "-o", tmp_path / "new", "--verify-key", key)
    assert done.exit_code == 0, done.output
    assert read_tree(tmp_path / "new").digest == digest

    other = new_key(tmp_path / "other.key").public.text
    assert kit("validate", address, "--verify-key", other).exit_code == 2
    refused = kit("pull", address, "-o", tmp_path / "no", "--verify-key", other)
    assert refused.exit_code == 7
    assert not (tmp_path / "no").exists()


def test_a_full_disk_is_one_error_and_leaves_nothing(
    kit, bucket, repository, small_disk
):
    for number in range(8):
        content = os.urandom(200_000)
        (repository / "digits" / "1" / f"part-{number}.bin").write_bytes(content)
    push(repository, store_at(f"s3://{bucket}/models"))
    disk = small_disk(512 << 10)

    result = kit("pull", f"s3://{bucket}/models", "-o", disk / "models")

    assert result.exit_code == 7
    assert result.stderr.count("Error: ") == 1
    assert f"Error: {disk / 'models'}" in result.stderr
    assert "No space left on device" in result.stderr
    assert "hint: free space" in result.stderr
    assert list(disk.iterdir()) == []


def test_wrong_credentials_are_an_error_and_never_shown(kit, s3, bucket, repository):
    """Moto refuses keys that it does not know once it is asked to."""
    address = f"s3://{bucket}/models"
    requests.post(f"{s3}/moto-api/reset-auth", data=b"0", timeout=60)
    try:
        done = kit("push", repository, address, "--debug", "-vv")
    finally:
        requests.post(f"{s3}/moto-api/reset-auth", data=b"1000000000", timeout=60)

    assert done.exit_code == 6, done.output
    assert "refuses the credentials" in done.output
    for value in (KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]):
        assert value not in done.output


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_missing_credentials_are_an_error(
    kit, bucket, repository, monkeypatch, variable
):
    monkeypatch.delenv(variable)
    done = kit("push", repository, f"s3://{bucket}/models")

    assert done.exit_code == 6, done.output
    assert "refuses the credentials, or there are none" in done.output
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in done.output


def test_a_bucket_that_is_not_there_is_named(kit, bucket, repository):
    done = kit("push", repository, f"s3://{bucket}-none/models")

    assert done.exit_code == 6
    assert f"s3://{bucket}-none/models: no such bucket" in done.output


@pytest.mark.parametrize(
    "text",
    ["ftp://b/x", "s3://", "s3:///x", "s3://b/../c", "s3://b/x?versionId=1", "b/x"],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(SpecError):
        read_address(text)


def test_credentials_in_an_address_are_refused_and_not_repeated(kit, repository):
    done = kit("push", repository, "s3://AKIAX:verysecret@bucket/models")

    assert done.exit_code == 2
    assert "verysecret" not in done.output
    assert "AKIAX" not in done.output
