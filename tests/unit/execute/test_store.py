"""The files that a machine received: whole, bounded, and shared by processes."""

import os
import time

import pytest

from triton_kit.errors import TransportError
from triton_kit.execute.parcel import Parcel, digest_of
from triton_kit.execute.store import Store, StoreLimits

DAY_S = 24 * 3600.0


def received(store, *contents, days_ago=()):
    """Let files arrive, each last used so many days ago."""
    for content, days in zip(contents, days_ago or [0] * len(contents), strict=True):
        store.receive(digest_of(content), content)
        used_s = time.time() - days * DAY_S
        os.utime(store.path(digest_of(content)), (used_s, used_s))


def kept(store, *contents):
    return [store.path(digest_of(content)).exists() for content in contents]


def test_a_file_that_does_not_arrive_whole_is_refused_and_not_kept(tmp_path):
    store = Store(tmp_path / "store")
    digest = digest_of(b"whole")

    with pytest.raises(TransportError, match="did not arrive whole"):
        store.receive(digest, b"who")
    assert store.missing([digest]) == [digest]

    store.receive(digest, b"whole")
    store.unpack(Parcel({"a/b": digest}), tmp_path / "out")

    assert store.missing([digest]) == []
    assert (tmp_path / "out" / "a" / "b").read_bytes() == b"whole"
    assert len(store.entries()) == 1


def test_a_file_that_changed_since_it_arrived_is_refused_and_sent_again(tmp_path):
    store = Store(tmp_path / "store")
    received(store, b"whole")
    digest = digest_of(b"whole")
    store.path(digest).write_bytes(b"whom")

    with pytest.raises(TransportError, match=r"net: its file in .* has changed"):
        store.unpack(Parcel({"net": digest}), tmp_path / "out")

    assert not (tmp_path / "out" / "net").exists()
    assert store.missing([digest]) == [digest]


def test_files_that_are_not_used_for_long_are_removed(tmp_path):
    store = Store(tmp_path / "store", StoreLimits(age_s=7 * DAY_S))
    received(store, b"old", b"young", days_ago=(8, 6))

    store.sweep()

    assert kept(store, b"old", b"young") == [False, True]


def test_beyond_the_size_those_go_that_were_used_longest_ago(tmp_path):
    store = Store(tmp_path / "store", StoreLimits(bytes=8))
    received(store, b"1111", b"2222", b"3333", days_ago=(1, 3, 2))

    store.sweep()

    assert kept(store, b"1111", b"2222", b"3333") == [True, False, True]


def test_a_task_asks_for_a_file_that_no_sweep_removes_then(tmp_path):
    store = Store(tmp_path / "store", StoreLimits(bytes=1))
    received(store, b"1111", b"2222", days_ago=(3, 3))

    store.missing([digest_of(b"2222")])
    store.sweep()

    assert kept(store, b"1111", b"2222") == [False, True]


def test_files_of_a_killed_process_go_as_others_do(tmp_path):
    store = Store(tmp_path / "store")
    half = tmp_path / "store" / ".half"
    half.write_bytes(b"ha")
    os.utime(half, (0, 0))

    store.sweep()

    assert store.entries() == []


def test_a_file_that_another_process_removes_during_a_sweep_fails_nothing(tmp_path):
    limits = StoreLimits(age_s=7 * DAY_S)
    ours, theirs = (Store(tmp_path / "store", limits) for _ in range(2))
    received(ours, b"old", b"older", days_ago=(8, 9))

    seen = ours.entries()
    theirs.sweep()
    received(theirs, b"old")
    ours.remove_unused(seen)

    assert kept(ours, b"old", b"older") == [True, False]


def test_a_file_that_is_listed_and_measured_may_still_vanish(tmp_path):
    limits = StoreLimits(age_s=7 * DAY_S)
    ours, theirs = (Store(tmp_path / "store", limits) for _ in range(2))
    received(ours, b"old", days_ago=(8,))

    seen = ours.entries()
    for entry in seen:
        entry.stat(follow_symlinks=False)  # an entry remembers it
    theirs.sweep()
    ours.remove_unused(seen)

    assert ours.entries() == []


def test_a_file_that_another_process_begins_to_use_during_a_sweep_stays(tmp_path):
    limits = StoreLimits(age_s=7 * DAY_S)
    ours, theirs = (Store(tmp_path / "store", limits) for _ in range(2))
    received(ours, b"old", days_ago=(8,))

    seen = ours.entries()
    for entry in seen:
        entry.stat(follow_symlinks=False)
    missing = theirs.missing([digest_of(b"old")])
    ours.remove_unused(seen)

    assert missing == []
    assert kept(ours, b"old") == [True]


def test_a_file_that_is_gone_before_a_task_reads_it_is_named(tmp_path):
    store = Store(tmp_path / "store")
    received(store, b"net")
    store.path(digest_of(b"net")).unlink()

    with pytest.raises(TransportError, match=r"net\.onnx: its file is gone"):
        store.unpack(Parcel({"net.onnx": digest_of(b"net")}), tmp_path / "out")
