"""A real second user: commands work on what it may read, and refuse the rest."""

import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from onnx_models import affine

KIT = Path(sys.executable).with_name("triton-kit")
NAME = "triton-kit-test"
PROJECT = "name: p\nmodels: {m: {source: model.onnx}}\n"
REFUSED = ("ermission denied", "not readable", "cannot", "another user")

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("useradd"),
        reason="needs root and useradd, to make a user",
    ),
]


@pytest.fixture(scope="module")
def user():
    """A new account without rights; skip where it cannot even read the kit."""
    subprocess.run(["userdel", NAME], capture_output=True, check=False)
    subprocess.run(["useradd", "--system", "--no-create-home", NAME], check=True)
    account = pwd.getpwnam(NAME)
    done = as_user(account, Path("/"), "--version")
    if done.returncode:
        pytest.skip(f"another user cannot read the kit here: {done.stderr[-300:]}")
    yield account
    subprocess.run(["userdel", NAME], check=True)


def command(account, *words):
    """Return a command line that runs the kit as that user.

    The Python may live below a folder that only root may enter, such as /root: a mount
    namespace of its own shows the user that Python alone.
    """
    python = Path(sys.executable).resolve().parents[1]
    closed = [p for p in python.parents if not p.stat().st_mode & 0o001]
    rights = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
    argv = [*rights, "--clear-groups", "--", str(KIT), *map(str, words)]
    if not closed:
        return argv
    mounts = SHOWN.format(python=shlex.quote(str(python)), closed=closed[-1])
    return ["unshare", "--mount", "sh", "-ec", f'{mounts} exec "$@"', "sh", *argv]


SHOWN = """
kept=$(mktemp -d); mount --bind {python} "$kept"
mount -t tmpfs -o mode=755 tmpfs {closed}
mkdir -p {python}; mount --bind "$kept" {python}; umount "$kept"; rmdir "$kept"
"""


def options(home):
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    return {"cwd": home, "env": env}


def as_user(account, home, *words, **variables):
    chosen = options(home)
    chosen["env"] |= variables
    argv = command(account, *words)
    return subprocess.run(argv, capture_output=True, text=True, check=False, **chosen)


@pytest.fixture(scope="module")
def place(user):
    """A folder of root's with `open` and `closed` inside, and `home` of the user."""
    # Not pytest's: only its owner may enter that.
    root = Path(tempfile.mkdtemp(prefix="triton-kit-users-"))
    root.chmod(0o755)
    for name in ("open", "closed"):
        folder = root / name
        version = folder / "repository" / "m" / "1"
        version.mkdir(parents=True)
        shutil.copy(_model(root), version)
        (version.parent / "config.pbtxt").write_text('backend:"onnxruntime"')
        shutil.copy(_model(root), folder)
        (folder / "triton-kit.yaml").write_text(PROJECT)
    (root / "closed").chmod(0o700)
    (root / "home").mkdir()
    os.chown(root / "home", user.pw_uid, user.pw_gid)
    yield root
    shutil.rmtree(root)


def _model(root):
    path = root / "model.onnx"
    path.write_bytes(affine())
    return path


WORDS = {
    "inspect": ["inspect", "FOLDER/model.onnx"],
    "validate": ["validate", "FOLDER/repository"],
    "graph": ["graph", "FOLDER/repository"],
    "diff": ["diff", "FOLDER/repository", "FOLDER/repository"],
    "convert": ["convert", "FOLDER/model.onnx", "-o", "converted"],
    "build": ["build", "FOLDER", "-o", "built"],
}


@pytest.mark.parametrize("name", WORDS)
def test_a_command_works_on_what_the_user_may_read(name, place, user):
    words = [w.replace("FOLDER", str(place / "open")) for w in WORDS[name]]

    done = as_user(user, place / "home", *words)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [*WORDS, "format", "serve"])
def test_a_command_refuses_what_the_user_may_not_read(name, place, user):
    known = WORDS | {
        "format": ["format", "FOLDER/repository/m/config.pbtxt"],
        "serve": ["serve", "FOLDER/repository"],
    }
    words = [w.replace("FOLDER", str(place / "closed")) for w in known[name]]

    assert_refused(as_user(user, place / "home", *words))


@pytest.mark.parametrize(
    "words",
    [
        ["format", "FOLDER/repository/m/config.pbtxt"],
        ["new", "digits", "FOLDER/new"],
        ["build", "FOLDER"],
        ["convert", "FOLDER/model.onnx", "-o", "FOLDER/converted"],
        ["serve", "FOLDER/repository", "--log", "FOLDER/log"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_refuses_to_write_where_the_user_may_not(words, place, user):
    before = sorted((place / "open").rglob("*"))

    words = [w.replace("FOLDER", str(place / "open")) for w in words]
    assert_refused(as_user(user, place / "home", *words))

    assert sorted((place / "open").rglob("*")) == before


def assert_refused(done):
    assert done.returncode in (2, 3, 7), (done.returncode, done.stderr, done.stdout)
    assert "Traceback" not in done.stderr
    assert any(word in done.stderr for word in REFUSED), done.stderr
    assert len(done.stderr.splitlines()) <= 4, done.stderr


def test_serve_and_perf_work_for_a_user_without_rights(place, user):
    repository = place / "open" / "repository"
    with subprocess.Popen(
        command(user, "serve", repository, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **options(place / "home"),
    ) as server:
        try:
            url = json.loads(server.stdout.readline())["http_url"]
            done = as_user(
                *(user, place / "home", "perf", "-m", "m", "-u", url, "--shape", "x:4"),
                *("--request-count", "20", "--warm-up", "0", "--json", "out.json"),
            )
        finally:
            server.send_signal(signal.SIGINT)

    assert done.returncode == 0, done.stderr
    assert (place / "home" / "out.json").stat().st_uid == user.pw_uid


@pytest.mark.parametrize("name", ["serve", "convert"])
def test_a_cache_of_another_user_is_refused(name, place, user):
    cache = place / f"cache-of-nobody-{name}"
    (cache / "triton-kit").mkdir(parents=True)
    os.chown(cache / "triton-kit", 65534, 65534)
    words = {
        "serve": ["serve", place / "open" / "repository"],
        "convert": [
            *("convert", place / "open" / "model.onnx", "-o", "out"),
            *("--cache", cache / "triton-kit"),
        ],
    }

    done = as_user(user, place / "home", *words[name], XDG_CACHE_HOME=str(cache))

    assert_refused(done)
    assert "another user owns this cache" in done.stderr
