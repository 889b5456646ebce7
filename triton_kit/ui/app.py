"""The views as a web application: addresses, access, errors and headers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from triton_kit.errors import TritonKitError
from triton_kit.report.page import content_security_policy
from triton_kit.ui import views
from triton_kit.ui.access import Gate
from triton_kit.ui.inference import Asked, send
from triton_kit.ui.threads import in_thread

# What aiohttp raises for a body that is no form, or is cut short.
_NO_FORM = (HttpProcessingError, ValueError, LookupError, AssertionError)
_LOG = logging.getLogger(__name__)
_LARGEST_FORM_BYTES = 64 * 1024 * 1024
# A report has a policy of its own; here it is of no origin, so that the cookie stays
# out of its reach.
_REPORT_POLICY = "sandbox allow-scripts allow-downloads; frame-ancestors 'none'"
_HEADERS = {
    # As in the page; a header can also forbid frames.
    "Content-Security-Policy": content_security_policy(
        [views.SCRIPT], views.ALLOWED | {"frame-ancestors": "'none'"}
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(site: views.Site, gate: Gate) -> web.Application:
    """Return the application for a site whose visitors pass a gate."""
    app = web.Application(
        middlewares=[_with_headers, _explained(site), _guarded(site, gate)],
        client_max_size=_LARGEST_FORM_BYTES,
    )
    app.router.add_get("/", _view(lambda _: views.overview(site)))
    app.router.add_get(
        "/models/{name}",
        _view(lambda request: views.model_page(site, request.match_info["name"])),
    )
    app.router.add_get("/pipelines", _view(lambda _: views.pipelines(site)))
    app.router.add_get("/results", _view(lambda _: views.results_page(site)))
    app.router.add_get(
        "/results/{key}",
        _view(lambda request: views.result_page(site, request.match_info["key"])),
    )
    app.router.add_get("/results/{key}/report", _report(site))
    app.router.add_get("/infer", _view(lambda r: _form(site, r)))
    app.router.add_post("/infer", _inference(site))
    app.router.add_get("/favicon.ico", _no_icon)
    return app


def _view(render: Callable[[web.Request], str]) -> Handler:
    """Render in a thread: a view reads files."""

    async def handle(request: web.Request) -> web.Response:
        return _html(await in_thread(render, request))

    return handle


def _report(site: views.Site) -> Handler:
    """Show a report, whose scripts may not speak to these pages."""

    async def handle(request: web.Request) -> web.Response:
        key = request.match_info["key"]
        page = _html(await in_thread(views.report, site, key))
        page.headers["Content-Security-Policy"] = _REPORT_POLICY
        return page

    return handle


def _form(site: views.Site, request: web.Request) -> str:
    asked = Asked(
        server=request.query.get("server", site.server),
        model=request.query.get("model", ""),
        texts={},
        files={},
    )
    return views.inference_page(site, asked)


def _inference(site: views.Site) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            asked = _asked(await request.post())
        except _NO_FORM as error:
            raise web.HTTPBadRequest from error
        responded = await in_thread(send, asked)
        page = await in_thread(views.inference_page, site, asked, responded)
        return _html(page)

    return handle


def _asked(form: Any) -> Asked:  # noqa: ANN401  a multidict of texts and files
    texts, contents = {}, {}
    for field, value in form.items():
        kind, _, name = field.partition(":")
        if kind == "text" and isinstance(value, str):
            texts[name] = value
        elif kind == "file" and isinstance(value, web.FileField):
            contents[name] = value.file.read()
    return Asked(
        server=str(form.get("server", "")).strip(),
        model=str(form.get("model", "")).strip(),
        texts=texts,
        files=contents,
    )


async def _no_icon(_: web.Request) -> web.Response:
    return web.Response(status=204)


def _html(text: str, status: int = 200) -> web.Response:
    # Names of files may hold bytes that are no text.
    body = text.encode("utf-8", "replace")
    return web.Response(
        body=body, status=status, content_type="text/html", charset="utf-8"
    )


@web.middleware
async def _with_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    response.headers.update(
        {
            name: value
            for name, value in _HEADERS.items()
            if name not in response.headers
        }
    )
    return response


def _explained(site: views.Site) -> Any:  # noqa: ANN401  a middleware
    """Turn every error into a page."""

    @web.middleware
    async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except views.NotThereError as error:
            title, text, status = "Not found", str(error), 404
        except web.HTTPRedirection:
            raise
        except web.HTTPException as error:
            title, status = error.reason, error.status
            text = f"{request.method} {request.path}: {error.reason}"
        except TritonKitError as error:
            page = views.message_page(site, "Error", error.message, error.hint or "")
            return _html(page, 422)
        except Exception as error:  # the edge: a bug shows a page, and goes to the log
            _LOG.exception("a page failed: %s", request.path)
            title, status = "Unexpected error", 500
            text = f"{type(error).__name__}: {error}. This is a bug in triton-kit."
        return _html(views.message_page(site, title, text), status)

    return explain


def _guarded(site: views.Site, gate: Gate) -> Any:  # noqa: ANN401  a middleware
    """Refuse other hosts, other sites, and visitors without the token."""

    def refused(text: str) -> web.Response:
        hint = "Open the URL that `triton-kit ui` printed, with its token."
        return _html(views.message_page(site, "Refused", text, hint), 403)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        reason = gate.refusal(
            method=request.method,
            host=request.headers.get("Host", ""),
            origin=request.headers.get("Origin"),
        )
        if reason is not None:
            return refused(reason)
        if "token" in request.query:
            if not gate.knows(request.query["token"]):
                return refused("The token is not that of this start.")
            return _with_cookie(request, gate)
        if not gate.knows(request.cookies.get(gate.cookie)):
            return refused("The request has no token, or that of another start.")
        return await handler(request)

    return guard


def _with_cookie(request: web.Request, gate: Gate) -> web.Response:
    """Go to the same page without the token in its address."""
    query = [(k, v) for k, v in request.query.items() if k != "token"]
    # A path of two slashes would lead to another host.
    path = f"/{request.rel_url.raw_path.lstrip('/')}"
    target = f"{path}?{urlencode(query)}" if query else path
    response = web.Response(status=303, headers={"Location": target})
    response.set_cookie(gate.cookie, gate.token, httponly=True, samesite="Strict")
    return response
