"""Options of the commands that change a repository: how a new version is tried."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import cloup

from triton_kit.cli.command import kit_option
from triton_kit.cli.control_options import CERTIFICATES, https_tls
from triton_kit.cli.options import FILE_TO_READ, timeout_option
from triton_kit.cli.output import echo, echo_json, notice
from triton_kit.cli.perf.target import HEADER
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.publish_delivery import PublishOptions, PublishResult

LOCK = kit_option(
    "--lock-timeout",
    "lock_within_s",
    type=float,
    default=30.0,
    metavar="SECONDS",
    help="Time to wait for another publisher.",
)
_SERVER: tuple[Callable[..., Any], ...] = (
    kit_option(
        "--server",
        metavar="URL",
        help="HTTP address of the server that serves the repository: it loads the "
        "models; https://HOST:PORT for TLS.  [default: none]",
    ),
    *CERTIFICATES,
    HEADER,
    kit_option(
        "--key-file",
        type=FILE_TO_READ,
        metavar="FILE",
        help="File with the key of the control APIs, as 'serve' prints it.",
    ),
    timeout_option("Time for each model to load there.", default=600.0),
    kit_option(
        "--smoke/--no-smoke",
        default=True,
        help="Send a request to each new version, and refuse NaN and infinity.",
    ),
)
_CHECKS = (
    kit_option(
        "--release",
        default="",
        metavar="YY.MM|2.N",
        show_default=False,
        help="Release for the check. Default: that of --server, else 24.10.",
    ),
    kit_option(
        "--scratch-load/--no-scratch-load",
        default=True,
        help="Load new versions in an embedded server first, where it can; this runs "
        "a model.py.",
    ),
)


def with_server_to_load(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a change that brings no new version; hand over `options`."""
    return _with(command, checks=False)


def with_checks(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a change that brings a new version; hand over `options`."""
    return _with(command, checks=True)


def _with(command: Callable[..., None], *, checks: bool) -> Callable[..., None]:
    @wraps(command)
    def wrapped(
        *words: Any,  # noqa: ANN401
        server: str | None,
        headers: tuple[str, ...],
        key_file: Path | None,
        authorities: str,
        certificate: str,
        key: str,
        timeout_s: float,
        smoke: bool,
        lock_within_s: float,
        release: str = "",
        scratch_load: bool = True,
        dry_run: bool = False,
        **rest: Any,  # noqa: ANN401
    ) -> None:
        from triton_kit.publish_delivery import PublishOptions

        files = (authorities, certificate, key)
        live = live_server(server, headers, key_file, timeout_s, files=files)
        options = PublishOptions(
            release=release,
            scratch_load=scratch_load,
            smoke=smoke,
            server=live,
            lock_within_s=lock_within_s,
            dry_run=dry_run,
            on_progress=notice,
        )
        command(*words, options=options, **rest)

    decorated: Callable[..., None] = cloup.option_group("Server", *_SERVER)(wrapped)
    if checks:
        decorated = cloup.option_group("Checks", *_CHECKS)(decorated)
    locked: Callable[..., None] = LOCK(decorated)
    return locked


def live_server(
    url: str | None,
    headers: tuple[str, ...],
    key_file: Path | None,
    within_s: float,
    *,
    files: tuple[str, str, str] = ("", "", ""),
) -> Any:  # noqa: ANN401  LiveServer | None, imported when it is used
    """Return the server that was named, if any."""
    if url is None:
        if headers or key_file or any(files):
            raise SpecError(
                "-H, --key-file and certificates are for --server, which is not given"
            )
        return None
    from triton_kit.loadtest.option_texts import parse_header
    from triton_kit.publish_checks import LiveServer
    from triton_kit.serving.keys import key_headers, read_key

    own = key_headers(read_key(key_file)) if key_file else {}
    given = own | dict(map(parse_header, headers))
    address = url if "://" in url else f"http://{url}"
    tls = https_tls(address, files, "--server")
    return LiveServer(url=address, headers=given, within_s=within_s, tls=tls)


def print_result(
    result: PublishResult, options: PublishOptions, *, as_json: bool
) -> None:
    """Print what became of each model."""
    for note in result.notes:
        notice(f"note: {note}")
    if as_json:
        echo_json(
            {
                "repository": str(result.repository),
                "action": result.action,
                "models": [
                    {"name": m.name, "version": m.version, "changed": m.changed}
                    for m in result.models
                ],
                "notes": list(result.notes),
                "loaded": result.is_loaded,
                "dry_run": result.was_dry_run,
            }
        )
        return
    for model in result.models:
        echo(f"{model.name}  version {model.version}  {_state(result, model.changed)}")
    live = options.server
    if live is not None and result.is_loaded and not result.was_dry_run:
        echo(f"{live.url} serves it")


def _state(result: PublishResult, changed: bool) -> str:
    if not changed:
        return "unchanged"
    if result.was_dry_run:
        return "would be published"
    return {
        "publish": "published",
        "canary": "canary",
        "rollback": "rolled back",
        "promote": "promoted",
        "canary finish": "serves alone",
        "canary abort": "serves again",
    }[result.action]
