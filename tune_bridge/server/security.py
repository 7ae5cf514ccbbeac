"""Who may talk to the server: the address it binds to, the Host header, the key, its own headers.

The dashboard shows configs and messages of experiments, so that a page of another site must not
read it. Three doors are closed: the network (loopback only, unless there is a key), DNS rebinding
(a name that somebody else points at this machine is refused by its Host header) and cross-site
requests (no CORS headers are ever sent, and what is not a plain read has to come from the same
origin).
"""

from __future__ import annotations

import base64
import ipaddress
import socket
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tune_bridge.errors import InputError
from tune_bridge.server.keys import Keys, Tickets, session_of
from tune_bridge.server.values import json_bytes

__all__ = ["Guard", "check_bind", "error_response", "is_loopback"]

COOKIE = "tune_bridge_key"
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_BODY_LIMIT = 10_000
_OPEN = ("/assets/", "/wandb/files/")
"""What needs no key: files of ours, and signed addresses, which wandb asks for without one."""

_USED = "This address was for one login, and was used or is too old. Log in with the key:"
_LOGIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>tune-bridge: log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/assets/login.css"></head>
<body><main><h1>tune-bridge</h1><p>{message}</p>
<form method="post" action="/login{query}"><label>Key
<input name="key" type="password" autocomplete="current-password" required autofocus></label>
<button>Log in</button></form></main></body></html>"""


def is_loopback(host: str) -> bool:
    """Whether an address or name reaches this machine only."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_bind(host: str, key: str | None, *, kept: bool = False) -> None:
    """Refuses an address that others can reach when there is no key.

    Args:
        host: The address.
        key: The server's, or None.
        kept: Its place keeps keys.

    Raises:
        InputError: It is not a loopback address and there is no key.
    """
    if key is not None and not key.strip():
        raise InputError("the key is empty", path="--key", expected="a secret text")
    if key is None and not kept and not is_loopback(host):
        raise InputError(
            "other machines could reach this address and there is no key",
            path="--host",
            found=host,
            expected="a loopback address such as 127.0.0.1, or a key",
            hint="make one with: tune-bridge key new NAME; or give --key or set TUNE_BRIDGE_KEY",
        )


def error_response(status: int, message: str, **details: Any) -> Response:
    """The one shape of an error: ``{"error": {"status": ..., "message": ..., ...}}``."""
    body = {"error": {"status": status, "message": message, **details}}
    return Response(json_bytes(body), status, media_type="application/json")


def _host_name(header: str) -> str | None:
    """The name in a Host header without port and brackets, or None when it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return (parts.hostname or "").rstrip(".") or None


class Guard:
    """The outermost ASGI layer: refuses what must not pass and adds headers to what does.

    Args:
        app: What it protects.
        host: The address the server is bound to.
        keys: Who may pass.
        policy: The Content-Security-Policy.
    """

    def __init__(self, app: ASGIApp, *, host: str, keys: Keys, policy: str) -> None:
        self._app = app
        self._policy = policy
        self._host = host.strip("[]").rstrip(".").lower()
        self._names = {self._host}
        if self._host in _WILDCARDS:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._keys = keys
        self._tickets = Tickets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] == "websocket":  # the dashboard polls: nobody has a reason to open one
            await send({"type": "websocket.close", "code": 4003})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), scope["path"])
            await send(message)

        refusal = await self._refuse(scope, receive)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _add_headers(self, headers: MutableHeaders, path: str) -> None:
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers.setdefault("Content-Security-Policy", self._policy)
        if not path.startswith(("/_dash-component-suites/", "/assets/")):
            headers["Cache-Control"] = "no-store"

    async def _refuse(self, scope: Scope, receive: Receive) -> Response | None:
        headers = Headers(scope=scope)
        name = _host_name(headers.get("host", ""))
        if name is None or not self._allowed(name):
            return error_response(
                400,
                "this host name is not served here (a guard against DNS rebinding)",
                found=headers.get("host", ""),
            )
        if scope["method"] not in ("GET", "HEAD") and not self._same_origin(headers):
            return error_response(403, "requests of other sites are refused")
        await self._keys.refresh()
        if scope["path"] == "/login":
            return await self._login(scope, receive, headers)
        if not self._keys.needed or scope["path"].startswith(_OPEN):
            return None
        if self._has_key(headers):
            return self._ticket(scope, headers) if scope["path"] == "/login/tickets" else None
        if "text/html" in headers.get("accept", ""):
            return _form("This dashboard needs its key.", scope["path"], 401)
        response = error_response(
            401, "a key is needed: send it as Authorization: Bearer, or log in at /login"
        )
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def _allowed(self, name: str) -> bool:
        if name in self._names or is_loopback(name):
            return True
        if self._host not in _WILDCARDS:
            return False
        try:  # bound to every interface: rebinding needs a name, so that numbers are safe
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    @staticmethod
    def _same_origin(headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is not None:
            return urlsplit(origin).netloc == headers.get("host", "")
        return headers.get("sec-fetch-site", "none") in ("same-origin", "none")

    def _has_key(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._keys.opens(given.strip()):
            return True
        if kind.lower() == "basic" and self._keys.opens(_password(given.strip())):
            return True
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        return COOKIE in cookies and self._keys.knows(cookies[COOKIE].value)

    def _ticket(self, scope: Scope, headers: Headers) -> Response:
        """An address for a browser, made for who has a key."""
        kind, _, key = headers.get("authorization", "").partition(" ")
        if scope["method"] != "POST" or kind.lower() != "bearer":
            return error_response(405, "ask with POST, and the key as Authorization: Bearer")
        body = {"ticket": self._tickets.new(session_of(key.strip()))}
        return Response(json_bytes(body), media_type="application/json")

    async def _login(self, scope: Scope, receive: Receive, headers: Headers) -> Response:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        to = _local(query.get("to", ["/"])[-1])
        if not self._keys.needed:
            return RedirectResponse(to, 303)
        if "ticket" in query and scope["method"] == "GET":
            if self._has_key(headers):
                return RedirectResponse(to, 303)
            session = self._tickets.redeem(query["ticket"][-1])
            return _entered(session, to) if session else _form(_USED, to, 401)
        given = query.get("key")
        if scope["method"] == "POST":
            given = parse_qs((await _body(receive)).decode("utf-8", "replace")).get("key")
        elif scope["method"] != "GET":
            return error_response(405, "log in with GET or POST")
        if given is None:
            return _form("This dashboard needs its key.", to)
        if not self._keys.opens(given[-1]):
            return _form("That is not the key.", to, 401)
        return _entered(session_of(given[-1]), to)


def _form(message: str, to: str, status: int = 200) -> Response:
    query = f"?to={quote(to, safe='')}" if _local(to) != "/" else ""
    return HTMLResponse(_LOGIN.format(message=message, query=query), status)


def _entered(session: str, to: str) -> Response:
    response = RedirectResponse(to, 303)
    response.set_cookie(
        COOKIE, session, max_age=30 * 86400, path="/", httponly=True, samesite="lax"
    )
    return response


def _local(address: str) -> str:
    """A page of this server; its first one for what leads elsewhere."""
    parts = urlsplit(address)
    inside = address.startswith("/") and not parts.netloc and not parts.scheme
    return address if inside and "\\" not in address and address.isprintable() else "/"


def _password(text: str) -> str:
    """The password of basic authentication: wandb sends its key so."""
    try:
        return base64.b64decode(text, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


async def _body(receive: Receive) -> bytes:
    body = b""
    while len(body) < _BODY_LIMIT:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    return body[:_BODY_LIMIT]
