"""Publish, rollback, promote, prune: the commands, and what bad input gets."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from publish_builders import (
    CONFIG,
    PLAIN,
    assert_sound,
    publish_factor,
    write_model,
)
from triton_kit.errors import RepositoryError, SpecError
from triton_kit.publish_checks import LiveServer
from triton_kit.publish_upkeep import end_canary, list_versions
from triton_kit.publishing import promote, publish, rollback
from triton_kit.repository.publish.layout import versions
from triton_kit.repository.publish.manifest import read_manifest
from triton_kit.repository.publish.state import locked
from triton_kit.repository.publish.sync import copy_hashed
from triton_kit.repository.publish.verify import verify


@pytest.fixture
def root(tmp_path):
    """A repository whose model `m` has the versions 1, 2 and 3."""
    for factor in (1, 2, 3):
        publish_factor(tmp_path, tmp_path / "models", "m", factor)
    return tmp_path / "models"


def code(root, number):
    return (root / "m" / str(number) / "model.py").read_text()


def perf_file(folder, p99_us, *, model="m"):
    run = {"latency_us": {"p99": p99_us, "mean": p99_us / 2}, "errors": 0}
    run |= {"throughput": 100.0, "requests": 1000, "load": {"kind": "closed"}}
    path = folder / f"perf-{p99_us}.json"
    document = {"schema": "triton-kit.perf/2", "model": {"name": model}, "runs": [run]}
    path.write_text(json.dumps(document))
    return path


def test_rollback_publishes_the_bytes_of_the_version_before(root):
    first = rollback(root, "m", options=PLAIN)
    second = rollback(root, "m", options=PLAIN)

    assert [first.models[0].version, second.models[0].version] == [4, 5]
    assert code(root, 4) == code(root, 2)
    assert code(root, 5) == code(root, 1)
    with pytest.raises(SpecError, match="no version before 1"):
        rollback(root, "m", options=PLAIN)
    assert_sound(root)


def test_rollback_brings_the_config_of_that_version_back(tmp_path, root):
    publish(write_model(tmp_path / "new" / "m", 4, size=2), root, options=PLAIN)

    rollback(root, "m", to=1, options=PLAIN)

    assert (root / "m" / "config.pbtxt").read_text() == CONFIG.format(size=8)
    assert_sound(root)


def test_no_version_number_is_used_twice(kit, tmp_path, root):
    publish_factor(tmp_path, root, "m", 4, canary=True)
    end_canary(root, "m", how="abort", options=PLAIN)
    assert versions(root / "m") == [1, 2, 3]
    assert_sound(root)

    assert publish_factor(tmp_path, root, "m", 5) == 5
    assert kit("prune", root, "--keep", "1").exit_code == 0
    assert versions(root / "m") == [5]
    assert_sound(root)


def test_a_canary_selects_both_versions_until_it_ends(tmp_path, root):
    publish_factor(tmp_path, root, "m", 4, canary=True)

    roles = {v.version: v.role for v in list_versions(root) if v.is_served}
    assert roles == {4: "canary", 3: "old"}
    with pytest.raises(RepositoryError, match="is a canary beside version 3"):
        publish_factor(tmp_path, root, "m", 5)
    end_canary(root, "m", how="finish", options=PLAIN)
    assert [v.version for v in list_versions(root) if v.is_served] == [4]
    assert_sound(root)


def test_a_canary_of_what_is_served_is_refused(tmp_path, root):
    source = write_model(tmp_path / "again" / "m", 3)

    with pytest.raises(SpecError, match="version 3 of 'm' has this content"):
        publish(source, root, canary=True, options=PLAIN)
    assert publish_factor(tmp_path, root, "m", 4) == 4


def test_prune_keeps_what_is_served(kit, tmp_path, root):
    config = CONFIG.format(size=8) + "version_policy { specific { versions: [1, 4] } }"
    source = write_model(tmp_path / "pinned" / "m", 4)
    (source / "config.pbtxt").write_text(config)
    publish(source, root, options=PLAIN)

    result = kit("prune", root, "--keep", "1")

    assert "m  version 2  removed" in result.stdout
    assert "m: kept 1: served" in result.stderr
    assert versions(root / "m") == [1, 4]


def test_a_policy_that_does_not_select_the_new_version_is_refused(tmp_path, root):
    config = CONFIG.format(size=8) + "version_policy { specific { versions: [1] } }"
    source = write_model(tmp_path / "pinned" / "m", 4)
    (source / "config.pbtxt").write_text(config)

    with pytest.raises(SpecError, match="does not select the new version 4"):
        publish(source, root, options=PLAIN)


def test_promote_publishes_the_same_bytes_and_their_perf_result(tmp_path, root):
    production = tmp_path / "production"
    fast, slow = perf_file(tmp_path, 5000.0), perf_file(tmp_path, 30000.0)

    with pytest.raises(RepositoryError, match=r"its perf result has 30 ms"):
        promote("m", root, production, perf=slow, required="p99<20ms", options=PLAIN)
    assert not production.exists()
    promote("m", root, production, perf=fast, required="p99<20ms", options=PLAIN)

    [there] = list_versions(production)
    assert there.digest == list_versions(root)[0].digest
    assert there.provenance["perf"]["runs"][0]["latency_us"]["p99"] == 5000.0
    assert there.provenance["promoted_from"] == {"repository": "models", "version": 3}
    onwards = promote(
        "m", production, tmp_path / "next", required="p99<20ms", options=PLAIN
    )
    assert onwards.models[0].version == 1
    with pytest.raises(RepositoryError, match="no perf result travels with it"):
        promote("m", root, tmp_path / "other", required="p99<20ms", options=PLAIN)


def generation_file(folder):
    """The result of a load test of a language model."""
    path = perf_file(folder, 5000.0)
    document = json.loads(path.read_text())
    document["runs"][0]["generation"] = {
        "time_to_first_token_us": {"p50": 80e3, "p95": 250e3, "mean": 90e3, "min": 1.0},
        "inter_token_latency_us": {"p50": 20e3, "p95": 40e3, "mean": 21e3},
        "inter_chunk_latency_us": {"p50": 20e3, "p95": 40e3, "mean": 21e3},
        "output_tokens_per_s": 900.0,
        "goodput": None,
    }
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("bound", "refusal"),
    [
        ("ttft_p95<300ms,itl_mean<30ms,tokens>800,p99<20ms,icl_p50<=20ms", None),
        (
            "ttft_p95<200ms",
            "ttft_p95<200ms is required, and its perf result has 250",
        ),
        ("itl_p95<40ms", "its perf result has 40 ms"),
        ("tokens>1000", "its perf result has 900.0/s"),
        ("ttft_p97<1s", "does not have that figure"),
        (
            "ttft_p95<1s,goodput>5",
            "goodput>5 is required, and its perf result does",
        ),
    ],
)
def test_token_figures_are_required(tmp_path, root, bound, refusal):
    production, perf = tmp_path / "production", generation_file(tmp_path)

    if refusal is None:
        promote("m", root, production, perf=perf, required=bound, options=PLAIN)
        # The figures travel along.
        onwards = tmp_path / "next"
        promote("m", production, onwards, required=bound, options=PLAIN)
        assert versions(onwards / "m") == [1]
    else:
        with pytest.raises(RepositoryError, match=re.escape(refusal)):
            promote("m", root, production, perf=perf, required=bound, options=PLAIN)
        assert not production.exists()


def test_a_figure_that_there_is_not_is_answered_with_those_that_there_are(
    kit, tmp_path, root
):
    words = ["promote", "m", root, tmp_path / "production", "--no-scratch-load"]

    missing = kit(*words, "--perf", perf_file(tmp_path, 5.0), "--require", "tokens>9")
    no_word = kit(*words, "--perf", generation_file(tmp_path), "--require", "ttfb<1ms")

    assert (missing.exit_code, no_word.exit_code) == (7, 2)
    assert "hint: it has p99, mean, errors, throughput" in missing.stderr
    assert "'ttfb<1ms' cannot be read" in no_word.stderr
    assert "ttft_p50, ttft_p95, ttft_mean, itl_p50" in no_word.stderr.replace("\n", " ")


def test_provenance_names_the_revision_and_uncommitted_changes(tmp_path):
    source = write_model(tmp_path / "source" / "m", 1)
    git = ["git", "-C", source, "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)

    publish(source, tmp_path / "models", options=PLAIN)
    (source / "1" / "model.py").write_text(CONFIG)
    (source / "1" / "model.py").write_text(
        "class TritonPythonModel:\n    execute = 1\n"
    )
    publish(source, tmp_path / "models", options=PLAIN)

    first, second = (read_manifest(tmp_path / "models" / "m" / n) for n in ("1", "2"))
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True)
    assert first["provenance"]["git"] == {
        "revision": head.stdout.decode().strip(),
        "dirty": False,
    }
    assert second["provenance"]["git"]["dirty"] is True
    assert first["provenance"]["tools"]["triton_kit"]


def test_what_no_server_confirmed_is_undone_after_a_kill(kit, tmp_path, root):
    source = write_model(tmp_path / "new" / "m", 4)
    live = LiveServer(url="http://127.0.0.1:9")

    def die(line):
        if "loading m on" in line:
            os.kill(os.getpid(), signal.SIGKILL)

    def publish_and_die():
        how = replace(PLAIN, release="24.10", server=live, on_progress=die)
        publish(source, root, options=how)

    publisher = multiprocessing.get_context("fork").Process(target=publish_and_die)
    publisher.start()
    publisher.join()
    assert publisher.exitcode == -signal.SIGKILL
    assert versions(root / "m") == [1, 2, 3, 4]

    result = kit("verify", root)

    assert "undid the publish of m, which was killed" in result.stderr
    assert "load it again on http://127.0.0.1:9" in result.stderr
    assert versions(root / "m") == [1, 2, 3]
    assert_sound(root)
    assert "undone: the publisher was killed" in kit("history", root).stdout
    assert publish_factor(tmp_path, root, "m", 5) == 5


def test_a_server_that_is_not_there_changes_nothing(kit, tmp_path, root):
    source = write_model(tmp_path / "new" / "m", 4)

    result = kit("publish", source, root, "--server", "127.0.0.1:9")

    assert result.exit_code == 6
    assert "cannot connect to" in result.stderr
    assert versions(root / "m") == [1, 2, 3]


def test_only_a_signed_source_is_published_with_a_key(kit, tmp_path, root):
    key = tmp_path / "release.key"
    words = ["promote", "m", root, tmp_path / "production", "--no-scratch-load"]
    signed = kit("sign", root, "--secret-key", key, "--new-key")
    assert signed.exit_code == 0, signed.output
    public = key.with_suffix(".pub")

    assert kit(*words, "--verify-key", public).exit_code == 0
    publish_factor(tmp_path, root, "m", 4)
    result = kit(*words, "--verify-key", public)

    assert result.exit_code == 7
    assert "not in the signed list" in result.stderr
    assert versions(tmp_path / "production" / "m") == [1]


def test_another_publisher_is_named_when_it_takes_too_long(kit, tmp_path, root):
    source = write_model(tmp_path / "new" / "m", 4)

    with locked(root):
        result = kit("publish", source, root, "--lock-timeout", "0.1")

    assert result.exit_code == 7
    assert "another process is publishing to it" in result.stderr
    assert versions(root / "m") == [1, 2, 3]


def publish_as_nobody(source, root):
    child = os.fork()
    if not child:
        try:
            if not os.geteuid():
                os.setgid(65534)
                os.setuid(65534)
            publish(source, root, options=PLAIN)
            os._exit(0)
        except RepositoryError as error:
            os._exit(3 if "Permission denied" in error.message else 4)
        except BaseException:
            os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def open_folder():
    """A folder that every user may read, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_that_may_not_be_written_changes_nothing(open_folder):
    source = write_model(open_folder / "new" / "m", 4)
    folder = open_folder / "locked"
    root = folder / "models"
    publish_factor(open_folder, root, "m", 1)
    folder.chmod(0o555)
    try:
        assert publish_as_nobody(source, root) == 3
    finally:
        folder.chmod(0o755)
    assert versions(root / "m") == [1]
    assert_sound(root)


def test_a_file_that_changes_while_it_is_copied_is_refused(tmp_path):
    source = tmp_path / "growing.bin"
    source.write_bytes(bytes(8 << 20))
    is_done = threading.Event()

    def grow():
        while not is_done.is_set():
            with source.open("r+b") as file:
                file.write(os.urandom(8))

    def copy_until_refused():
        deadline_s = time.monotonic() + 120
        while time.monotonic() < deadline_s:
            copy_hashed(source, tmp_path / "copy")
            (tmp_path / "copy").unlink()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(RepositoryError, match="changed while it was copied"):
            copy_until_refused()
    finally:
        is_done.set()
        writer.join()


def test_a_large_copy_is_that_file_and_its_digest(tmp_path):
    source = tmp_path / "large.bin"
    source.write_bytes(os.urandom(5 << 20) * 5)

    digest = copy_hashed(source, tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    found = subprocess.run(
        ["sha256sum", source], capture_output=True, check=True, text=True
    )
    assert digest == found.stdout.split()[0]


@pytest.mark.parametrize("name", ["../m", "a/b", ".m", "/etc", "m\n"])
def test_a_name_that_leaves_the_repository_is_refused(kit, root, tmp_path, name):
    source = write_model(tmp_path / "new" / "m", 4)

    for words in (["publish", source, root, "-m", name], ["rollback", name, root]):
        result = kit(*words)
        assert result.exit_code == 2
        assert "cannot be a model's name" in result.stderr


@pytest.mark.parametrize("name", ["../../m/config.pbtxt", "/etc/passwd", "a/../../b"])
def test_a_manifest_that_names_a_file_outside_is_refused(root, tmp_path, name):
    manifest = root / "m" / "3" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    manifest.write_text(json.dumps(document))

    with pytest.raises(RepositoryError, match="names a file outside its folder"):
        promote("m", root, tmp_path / "production", options=PLAIN)
    assert not verify(root).is_intact


@pytest.mark.parametrize("place", ["m", "m/1/model.py", "m/1/extra"])
def test_a_link_out_of_the_repository_is_refused(tmp_path, place):
    outside = write_model(tmp_path / "outside", 1)
    source = tmp_path / "source"
    write_model(source / "m", 1)
    link = source / place
    if place == "m":
        link.rename(tmp_path / "moved")
        link.symlink_to(outside)
    else:
        link.unlink(missing_ok=True)
        link.symlink_to(outside / "1" / "model.py")

    with pytest.raises(RepositoryError, match="is a link out of the repository"):
        publish(source, tmp_path / "models", options=PLAIN)
    assert any("link out" in p.what for p in verify(source).problems)


def test_a_deleted_manifest_of_a_published_version_is_found(kit, root):
    (root / "m" / "2" / "manifest.json").unlink()

    result = kit("verify", root)

    assert result.exit_code == 1
    assert "2/manifest.json: is missing" in result.stdout
    assert "has no manifest" not in result.stderr


@pytest.mark.parametrize("file", ["1/model.py", "1/manifest.json", "config.pbtxt"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_what_is_no_file_in_the_place_of_one_is_found(root, file, kind):
    path = root / "m" / file
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mknod(path, 0o600 | stat.S_IFSOCK)

    [problem] = [p for p in verify(root).problems if p.path == path]

    missing = kind == "folder" and file.endswith(".json")
    assert problem.what == ("is missing" if missing else f"is a {kind}, not a file")


@pytest.mark.parametrize("place", ["m/2", "m/2/data", "m/more/data"])
def test_a_link_to_a_folder_outside_is_found(root, tmp_path, place):
    outside = tmp_path / "outside"
    shutil.copytree(root / "m" / "2", outside)
    link = root / place
    shutil.rmtree(link, ignore_errors=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)

    what = {p.path: p.what for p in verify(root).problems}

    assert what[link].startswith("is a link out of the repository")


def test_a_link_to_a_folder_that_was_not_published_is_found(root):
    link = root / "m" / "2" / "data"
    link.symlink_to(root / "m" / "1")

    [problem] = verify(root).problems

    assert (problem.path, problem.what) == (link, "is not in the manifest")


def test_large_and_many_files_are_all_compared(tmp_path):
    source = write_model(tmp_path / "new" / "m", 1)
    (source / "1" / "large.bin").write_bytes(os.urandom(20 << 20))
    for number in range(200):
        (source / "1" / f"part-{number}.bin").write_bytes(b"%d" % number)
    root = tmp_path / "models"
    publish(source, root, options=PLAIN)
    size = sum(f.stat().st_size for f in root.rglob("*") if f.is_file())
    report = verify(root)
    assert (report.files, report.bytes, report.is_intact) == (204, size, True)

    with (root / "m" / "1" / "large.bin").open("r+b") as file:
        file.seek((20 << 20) - 1)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    (root / "m" / "1" / "part-150.bin").write_bytes(b"15x")

    wrong = [p.path.name for p in verify(root).problems]
    assert wrong == ["large.bin", "part-150.bin"]


@pytest.mark.parametrize("name", [".", "a/..", "\ud800", "/", ""])
def test_a_manifest_with_a_name_of_no_file_is_refused(root, name):
    manifest = root / "m" / "3" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["files"][name] = {"sha256": "0" * 64, "bytes": "many"}
    manifest.write_text(json.dumps(document))

    with pytest.raises(RepositoryError, match=r"outside its folder|no file can be"):
        read_manifest(manifest.parent)
    assert manifest in {problem.path for problem in verify(root).problems}


def test_a_damaged_version_is_not_promoted_nor_restored(root, tmp_path):
    (root / "m" / "2" / "model.py").write_text("damaged")

    with pytest.raises(RepositoryError, match="differs from its manifest"):
        rollback(root, "m", options=PLAIN)
    with pytest.raises(RepositoryError, match="differs from its manifest"):
        promote("m", root, tmp_path / "production", version=2, options=PLAIN)


def test_what_the_check_refuses_is_not_published(kit, root, tmp_path):
    source = write_model(tmp_path / "new" / "m", 4)
    (source / "config.pbtxt").write_text('backend: "python"\nmax_batch_size: -1\n')

    result = kit("publish", source, root)

    assert result.exit_code == 7
    assert "Triton 24.10 would refuse it" in result.stderr
    assert versions(root / "m") == [1, 2, 3]


def test_the_commands_show_each_fact_on_a_line(kit, root, tmp_path):
    listed = kit("versions", root).stdout.splitlines()
    assert len(listed) == 3
    assert "served" in listed[0]
    assert "served" not in listed[1]
    assert kit("history", root).stdout.count("publish") == 3
    assert kit("verify", root).stdout.startswith("1 models, 3 versions, 7 files")

    (root / "m" / "1" / "model.py").write_text("damaged")
    result = kit("verify", root)
    assert result.exit_code == 1
    assert "1/model.py: has 7 bytes, not" in result.stdout
    for words in (["versions", root], ["history", root], ["verify", root]):
        json.loads(kit(*words, "--json").stdout)
    json.loads(kit("prune", root, "--dry-run", "--json").stdout)
    source = write_model(tmp_path / "new" / "m", 4)
    words = ["publish", source, root, "--dry-run", "--no-scratch-load", "--json"]
    assert json.loads(kit(*words).stdout)["dry_run"] is True
    assert versions(root / "m") == [1, 2, 3]
