"""`triton-kit ui`: its views, who may see them, and what it makes of any folder."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from triton_kit.project.scaffold import scaffold
from triton_kit.ui.results import read_results
from triton_kit.ui.views import Site, overview
from ui_pages import WITHIN_S, Pages, show

ROOT = Path(__file__).parents[3]
RESULT = ROOT / "docs/benchmarks/gpu/one-h100-graphs/grpc-1.json"
TUNED = ROOT / "docs/benchmarks/gpu/one-h100-tune/p99.json"
STRANGE = "<script>alert(1)<"
BROKEN = 'backend: "identity"\nmax_batch_size: [\n'


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The example repository with two broken models, and results of all kinds."""
    root = tmp_path_factory.mktemp("shown")
    repository, results = root / "repository", root / "results"
    shutil.copytree(ROOT / "model_repository", repository)
    for name, config in {"broken": BROKEN, STRANGE: 'backend: "<b>"\n'}.items():
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(config)
    results.mkdir()
    shutil.copy(RESULT, results / "perf.json")
    shutil.copy(TUNED, results / "tune.json")
    (results / "cut.json").write_text(RESULT.read_text()[:1000])
    (results / "next.json").write_text('{"schema": "triton-kit.perf/99"}')
    (results / "foreign.json").write_text('{"a": 1}')
    (results / "no-loads.json").write_text(
        json.dumps(json.loads(RESULT.read_text()) | {"runs": []})
    )
    return root


@pytest.fixture(scope="module")
def pages(folders):
    with show(folders / "repository", folders / "results") as started:
        yield started


def test_the_overview_lists_models_with_what_the_check_finds(pages):
    page = pages.ask("/")

    assert page.status == 200
    assert "5 models" in page.text
    assert '<a href="/models/read_digit">read_digit</a>' in page.text
    assert "1 error" in page.text
    assert "onnxruntime" in page.text


def test_a_models_page_has_tensors_versions_config_and_manifest(pages):
    text = pages.ask("/models/digits").text

    for part in ("image", "FP32", "[1,8,8]", "Version 1", "model.onnx", "sha256"):
        assert part in text
    assert "max_queue_delay_microseconds" in text


def test_a_broken_config_is_a_finding_with_its_line(pages):
    page = pages.ask("/models/broken")

    assert page.status == 200
    assert "error P" in page.text
    assert "broken/config.pbtxt:" in page.text
    assert "max_batch_size: [" in page.text
    assert "The config cannot be read." in page.text


def test_pipelines_are_pictures_whose_models_are_links(pages):
    text = pages.ask("/pipelines").text

    assert "<svg" in text
    assert '<a href="/models/decode">' in text
    assert "step 1  decode: png -&gt; image" in text


def test_names_are_escaped_everywhere(pages):
    quoted = "%3Cscript%3Ealert%281%29%3C"
    for path in ("/", f"/models/{quoted}", f"/infer?model={quoted}"):
        page = pages.ask(path)
        assert page.status == 200
        assert "&lt;script&gt;alert(1)&lt;" in page.text
        assert "<script>alert" not in page.text
        assert "<b>" not in page.text


def test_results_are_listed_by_model_and_version(pages):
    text = pages.ask("/results").text

    assert "resnet50, version 1" in text
    assert "perf.json" in text
    assert "tune.json" in text
    assert "in results" in text
    assert "foreign.json" not in text
    assert "triton-kit.perf/99" in text
    assert "no load finished" in text
    assert "cut.json" in text


def test_a_result_without_a_successful_request_has_no_figures(tmp_path):
    content = json.loads((ROOT / "tests/browser/results/failing.json").read_text())
    for run in content["runs"]:
        run["throughput"] = 0.0
    (tmp_path / "failed.json").write_text(json.dumps(content))

    (result,) = read_results(tmp_path)

    assert result.summary == "no request succeeded"


def test_a_folder_that_vanished_is_named_beside_what_is_left(tmp_path):
    site = Site(paths=(tmp_path / "gone", RESULT))

    assert f"{tmp_path / 'gone'} is not there any more." in overview(site)


def address_of(pages, name):
    rows = pages.ask("/results").text.split("<tr>")
    row = next(row for row in rows if f">{name}.json</a>" in row)
    return row.split('href="')[1].split('"')[0]


@pytest.mark.parametrize("name", ["perf", "tune"])
def test_a_result_has_its_report_which_cannot_reach_the_pages(pages, name):
    page = pages.ask(f"{address_of(pages, name)}/report")

    assert page.status == 200
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in page.headers["content-security-policy"]
    assert "<table" in page.text


def test_a_result_that_cannot_be_read_has_no_report_but_a_reason(pages):
    page = pages.ask(f"{address_of(pages, 'next')}/report")

    assert page.status == 422
    assert "triton-kit.perf/99" in page.text


@pytest.mark.parametrize("name", ["perf", "tune", "cut", "next", "no-loads"])
def test_each_result_has_a_page(pages, name):
    page = pages.ask(address_of(pages, name))

    assert page.status == 200
    assert f"{name}.json" in page.text


def test_changes_appear_without_a_new_start(pages, folders):
    added = folders / "repository" / "added"
    before = pages.ask("/").text
    (added / "1").mkdir(parents=True)
    (added / "config.pbtxt").write_text('backend: "identity"\n')
    after = pages.ask("/").text
    shutil.rmtree(added)

    assert "/models/added" not in before
    assert "/models/added" in after
    assert pages.ask("/models/added").status == 404


def test_the_printed_url_sets_a_cookie_and_leaves_the_address(pages):
    page = pages.ask(f"/results?token={pages.token}&a=b", Cookie=None)

    assert page.status == 303
    assert page.headers["location"] == "/results?a=b"
    cookie = page.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_a_path_of_another_host_stays_here(pages):
    page = pages.ask(f"//evil.example/?token={pages.token}")

    assert not page.headers.get("location", "").startswith("//")


@pytest.mark.parametrize("path", ["/", "/models/digits", "/infer", "/nowhere"])
def test_without_the_token_nothing_is_shown(pages, path):
    page = pages.ask(path, Cookie=None)

    assert page.status == 403
    assert "Open the URL that `triton-kit ui` printed" in page.text
    assert "digits" not in page.text.replace("/models/digits", "")


@pytest.mark.parametrize("cookie", ["x", "", "é"])
def test_a_wrong_cookie_is_refused(pages, cookie):
    sent = f"triton-kit-ui-{pages.port}={cookie}".encode()

    assert pages.ask("/", Cookie=sent).status == 403


def test_a_wrong_token_is_refused_even_with_the_cookie(pages):
    assert pages.ask(f"/?token={pages.token}x").status == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1"])
def test_another_host_is_refused(pages, host):
    page = pages.ask("/", Host=host.format(port=pages.port))

    assert page.status == 403
    assert "names the host" in page.text


def test_localhost_is_accepted(pages):
    assert pages.ask("/", Host=f"localhost:{pages.port}").status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1:{port}", "null", None]
)
def test_a_form_of_another_site_is_refused(pages, origin):
    sent = origin and origin.format(port=pages.port)

    page = pages.post("/infer", {"server": "localhost:1", "model": "m"}, Origin=sent)

    assert page.status == 403


def test_an_inference_without_a_server_says_so(pages):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        page = pages.post("/infer", {"server": address, "model": "digits"})

    assert page.status == 200
    assert "No response" in page.text
    assert address in page.text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=e", b"--e\r\nContent-"),
        ("text/plain; charset=none", b"model=m"),
        ("application/x-www-form-urlencoded; charset=none", b"model=m"),
        ("application/x-www-form-urlencoded", b"\xff=%ff&model"),
    ],
)
def test_what_is_no_form_is_a_page_too(pages, kind, body):
    sent = {"Origin": pages.base, "Content-Type": kind}

    page = pages.ask("/infer", "POST", body=body, **sent)

    assert page.status in (200, 400)
    assert "bug" not in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/models/..%2F..%2Fetc",
        "/models/../../etc/passwd",
        "/models/%2e%2e",
        "/models/.",
        "/models/digits%00",
        "/models/%FF",
        "/results/..%2F..%2Fetc%2Fpasswd",
        "/results/0000",
        "/static/../setup.cfg",
        "/nowhere",
    ],
)
def test_a_path_that_is_no_page_is_not_found(pages, path):
    page = pages.ask(path)

    assert page.status == 404
    assert "<!doctype html>" in page.text


def test_another_method_is_a_page_too(pages):
    page = pages.ask("/", "DELETE", Origin=pages.base)

    assert page.status == 405
    assert "<!doctype html>" in page.text


def test_pages_forbid_everything_from_elsewhere(pages):
    headers = pages.ask("/").headers
    policy = headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.long
def test_a_repository_of_1000_models_is_shown(tmp_path):
    for number in range(1000):
        (tmp_path / f"m{number}" / "1").mkdir(parents=True)
        (tmp_path / f"m{number}" / "config.pbtxt").write_text('backend: "identity"')
    with show(tmp_path) as pages:
        page = pages.ask("/")

    assert page.status == 200
    assert page.text.count('<a href="/models/') == 1000


def test_any_other_folder_is_explained(tmp_path):
    scaffold("digits", tmp_path / "project")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("nothing here")
    model = ROOT / "model_repository" / "digits"
    with show(
        tmp_path / "empty", tmp_path / "other", tmp_path / "project", model
    ) as pages:
        text = pages.ask("/").text
        others = [pages.ask(path) for path in ("/pipelines", "/results", "/infer")]

    assert "empty is an empty folder." in text
    assert "holds no models and no results" in text
    assert "is a project. Run `triton-kit build" in text
    assert "is one model. Name the folder around it" in text
    assert [page.status for page in others] == [200, 200, 200]


def test_a_folder_that_goes_away_is_explained(tmp_path):
    (tmp_path / "r" / "m" / "1").mkdir(parents=True)
    with show(tmp_path / "r") as pages:
        shutil.rmtree(tmp_path / "r")
        page = pages.ask("/")

    assert page.status == 200
    assert "is not there any more" in page.text


def test_a_port_in_use_is_an_error_with_a_hint(tmp_path, kit):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = kit("ui", tmp_path, "--port", port)

    assert done.exit_code == 5
    assert f"--port {port}: the port is in use" in done.output
    assert "choose another --port" in done.output


def ask_in_vain(pages, fields):
    with suppress(OSError, http.client.HTTPException):
        pages.post("/infer", fields)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_even_while_a_page_waits(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "triton_kit", "ui", tmp_path, "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    printed = process.stdout.readline()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        pages = Pages(printed.strip(), process)
        fields = {"server": address, "model": "m"}
        request = threading.Thread(target=ask_in_vain, args=(pages, fields))
        request.start()
        connection, _ = silent.accept()  # now the page waits for this server
        os.kill(process.pid, number)
        process.wait(WITHIN_S)
        connection.close()
        request.join(WITHIN_S)
    _, errors = process.communicate(timeout=WITHIN_S)

    assert printed.startswith("http://127.0.0.1:")
    assert process.returncode == 0
    assert "stopped" in errors
    assert "Traceback" not in errors
