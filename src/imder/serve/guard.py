"""Who may call, how many at once, and what every answer carries.

Without a token the service answers its own machine alone: a request must name a local host, so that a page of another site can't
reach it through a name of its own that leads here. A browser's request from another site is refused unless its origin is allowed.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
import traceback
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imder.serve.config import ServeConfig
from imder.serve.errors import CLOSE, Refusal, busy
from imder.serve.metrics import Metrics

log = logging.getLogger(__name__)

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NEEDS_TOKEN = ("/v1/", "/metrics")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """The outermost layer of the application.

    Args:
        app: the application.
        config: ``token``, ``origins`` and ``concurrency``.
        metrics: where answers are counted.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig, metrics: Metrics) -> None:
        self._app = app
        self._config = config
        self._metrics = metrics
        self._active = 0
        metrics.gauge("imder_requests_active", "Requests in progress.", lambda: self._active)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        state = scope.setdefault("state", {})
        state["id"] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        if scope["type"] == "websocket":
            await self._connection(scope, receive, send, headers)
        else:
            await self._request(scope, receive, send, headers)

    async def _connection(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        """A WebSocket; its token may come in the first message, since browsers can't send headers."""
        try:
            self._check_site(headers)
            scope["state"]["authorized"] = self._is_authorized(headers)
        except Refusal:
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: HTTP status 403
            return
        await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        began, status, started = time.perf_counter(), 0, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                answer = MutableHeaders(scope=message)
                answer["X-Request-ID"] = scope["state"]["id"]
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
            await send(message)

        self._active += 1
        try:
            try:
                self._check(scope, headers)
                await self._app(scope, receive, send_with_headers)
            except Refusal as refusal:
                await self._refuse(refusal, scope, receive, send_with_headers)
            except Exception as error:
                self._metrics.error()
                log.error("request %s failed: %s", scope["state"]["id"], where_raised(error))
                if started:
                    raise
                await self._refuse(_failure(error), scope, receive, send_with_headers)
        finally:
            self._active -= 1
            seconds = time.perf_counter() - began
            route = route_of(scope)
            self._metrics.request(route, status, seconds)
            log.info("%s %s %s %d %.1f ms", scope["state"]["id"], scope["method"], route, status, 1000 * seconds)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        document = {"error": refusal.sentence, "request_id": scope["state"]["id"]}
        await JSONResponse(document, refusal.status, refusal.headers)(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raise a `Refusal` unless the caller may call now."""
        self._check_site(headers)
        if not scope["path"].startswith(_NEEDS_TOKEN):
            return
        if not self._is_authorized(headers):
            raise Refusal(
                401,
                "this service needs a token: send the header 'Authorization: Bearer TOKEN'",
                {"WWW-Authenticate": "Bearer"} | CLOSE,
            )
        if self._active > self._config.concurrency:
            raise busy(f"{self._config.concurrency} requests are in progress; try again in a moment", 503, close=True)
        if scope["method"] == "POST":
            check_query(scope)

    def _check_site(self, headers: Headers) -> None:
        """Raise a `Refusal` for a page of another site, or a name that isn't local where only this machine may call."""
        host = headers.get("host", "")
        if self._config.token is None and _hostname(host) not in LOCAL_HOSTS:
            raise Refusal(
                403, "without a token the service answers to 127.0.0.1 and localhost alone (--token-file)", CLOSE
            )
        origin = headers.get("origin")
        if origin is not None and origin not in self._config.origins and _netloc(origin) != host:
            raise Refusal(403, "pages of other sites may not call this service (--allow-origin)", CLOSE)

    def _is_authorized(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return token_fits(self._config.token, token.strip() if scheme.lower() == "bearer" else "")


def _failure(error: Exception) -> Refusal:
    """The answer to a request on which the service itself failed."""
    if isinstance(error, MemoryError):
        return busy("the service has no memory left for this request", 503, close=True)
    return Refusal(500, "the service failed on this request, which its log mentions", CLOSE)


def check_query(scope: Scope) -> None:
    """Raise a `Refusal` for parameters in the address of a prediction: its settings belong in the body or a message."""
    if scope.get("query_string"):
        raise Refusal(422, "parameters after '?' in the address aren't read; /docs says where each belongs", CLOSE)


def token_fits(expected: str | None, given: str) -> bool:
    """Whether a token is the expected one, compared in constant time; True where none is expected.

    >>> token_fits("secret", "secret"), token_fits("secret", ""), token_fits(None, "")
    (True, False, True)
    """
    return expected is None or hmac.compare_digest(expected.encode(), given.encode())


def route_of(scope: Scope) -> str:
    """The route of a request as the application names it, never the path that a client sent."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else "page or unknown"


def where_raised(error: BaseException) -> str:
    """The type of an error and the lines that raised it, without its text, which may quote a request."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    lines = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {lines}"


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
