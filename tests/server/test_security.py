"""What the server refuses, and the headers it sends."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

from tests.server.seed import make_sweep
from tune_bridge.errors import InputError, MissingExtraError
from tune_bridge.server import create_app
from tune_bridge.server.keys import TICKET, Tickets

pytest.importorskip("dash")

from starlette.testclient import TestClient

from tune_bridge.server.security import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.1.2.3"])
def test_loopback_needs_no_key(backend, host):
    assert is_loopback(host)
    create_app(backend, host=host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "", "127.0.0.1.nip.io"]
)
def test_other_addresses_need_a_key(backend, host):
    with pytest.raises(InputError, match="TUNE_BRIDGE_KEY"):
        create_app(backend, host=host)
    create_app(backend, host=host, key="secret")


def test_an_empty_key_is_no_key(backend):
    with pytest.raises(InputError, match="empty"):
        create_app(backend, key=" ")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8687", 200),
        ("127.0.0.1:8687", 200),
        ("[::1]:8687", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.nip.io:8687", 400),
        ("evil.example@localhost", 400),
        ("192.168.1.5", 400),
        ("localhost:port", 400),
        ("", 400),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/sweeps", "/_dash-layout", "/assets/dashboard.css"])
def test_host_header(client, host, status, path):
    assert client.get(path, headers={"host": host}).status_code == status


def test_the_bound_host_is_allowed(backend):
    client = TestClient(create_app(backend, host="lab.example", key="k"), "http://lab.example:1")
    key = {"authorization": "Bearer k"}
    assert client.get("/api/sweeps", headers=key).status_code == 200
    assert client.get("/api/sweeps", headers={**key, "host": "x.example"}).status_code == 400


def test_every_interface_is_reached_by_number(backend):
    client = TestClient(create_app(backend, host="0.0.0.0", key="k"), "http://10.0.0.7:8687")
    key = {"authorization": "Bearer k"}
    assert client.get("/api/sweeps", headers=key).status_code == 200
    assert client.get("/api/sweeps", headers={**key, "host": "x.example"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["/", "/api/sweeps", "/api/nope", "/_dash-layout", "/api/openapi.json"]
)
def test_without_the_key_nothing_is_said(backend, path):
    make_sweep(backend, 3)
    client = TestClient(create_app(backend, key="secret"), "http://localhost")
    response = client.get(path)
    assert response.status_code == 401
    assert "resnet" not in response.text
    for given in ("Bearer wrong", "Bearer", "Basic secret", "secret", "Bearer secret2"):
        assert client.get(path, headers={"authorization": given}).status_code == 401
    given = {"authorization": "Bearer secret"}
    assert client.get(path, headers=given).status_code in (200, 404)


def test_log_in_and_stay(backend):
    client = TestClient(create_app(backend, key="secret"), "http://localhost")
    form = client.get("/", headers={"accept": "text/html"})
    assert form.status_code == 401
    assert 'action="/login"' in form.text
    assert client.get("/login?key=wrong").status_code == 401
    assert client.post("/login", data={"key": "wrong"}).status_code == 401
    for answer in (
        client.get("/login?key=secret", follow_redirects=False),
        client.post("/login", data={"key": "secret"}, follow_redirects=False),
    ):
        cookie = answer.headers["set-cookie"].lower()
        assert answer.headers["location"] == "/"
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "secret" not in cookie
    assert client.get("/api/sweeps").status_code == 200
    client.cookies.clear()
    client.cookies.set("tune_bridge_key", "secret")
    assert client.get("/api/sweeps").status_code == 401


@pytest.mark.parametrize("path", ["/", "/api/sweeps", "/api/nope", "/login", "/sweeps/nope"])
def test_headers(client, path):
    headers = client.get(path, headers={"origin": "https://evil.example"}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control-")]
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert not {"'unsafe-inline'", "'unsafe-eval'"} & set(policy["script-src"].split())
    assert policy["object-src"] == policy["base-uri"] == "'none'"
    assert "http" not in headers["content-security-policy"]


def test_other_sites_cannot_post(client):
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"sec-fetch-site": "cross-site"},
    ):
        response = client.post("/_dash-update-component", json={}, headers=headers)
        assert response.status_code == 403


BEARER = {"authorization": "Bearer k"}


def _ticket(client, to):
    made = client.post("/login/tickets", headers=BEARER).json()["ticket"]
    return "/login?" + urlencode({"ticket": made, "to": to})


def test_a_ticket_logs_a_browser_in_once(backend):
    make_sweep(backend, 1)
    app = create_app(backend, key="k")
    mine, other = (TestClient(app, "http://localhost") for _ in range(2))
    assert mine.get("/api/sweeps").status_code == 401
    assert mine.post("/login/tickets").status_code == 401
    assert mine.get("/login/tickets", headers=BEARER).status_code == 405
    link = _ticket(mine, "/sweeps/abcd1234?log=1")
    for _ in range(2):  # a second click leads on, too
        answer = mine.get(link, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sweeps/abcd1234?log=1")
    assert mine.get("/api/sweeps").status_code == 200
    assert "k" not in mine.cookies.values()
    used = other.get(link)
    assert used.status_code == 401
    assert "was for one login" in used.text
    assert other.get("/api/sweeps").status_code == 401
    # The form leads there, too.
    action = re.search(r'action="([^"]+)"', used.text)
    answer = other.post(action[1], data={"key": "k"}, follow_redirects=False)
    assert answer.headers["location"] == "/sweeps/abcd1234?log=1"
    assert mine.get(_ticket(mine, "/sweeps/abcd1234")).status_code == 200


@pytest.mark.parametrize(
    "to", ["//evil.test/", "https://evil.test/", "/\\evil.test", "\\\\evil.test", "x", "/a\r\nX: y"]
)
def test_a_login_leads_nowhere_else(backend, to):
    client = TestClient(create_app(backend, key="k"), "http://localhost")
    answer = client.get(_ticket(client, to), follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_tickets_grow_old_and_are_not_kept_without_end():
    now = [0.0]
    tickets = Tickets(lambda: now[0])
    first, second = tickets.new("a"), tickets.new("b")
    assert tickets.redeem(first) == "a"
    assert tickets.redeem(first) is None
    now[0] = TICKET + 1
    assert tickets.redeem(second) is None
    third = tickets.new("c")
    for _ in range(1000):
        tickets.new("d")
    assert tickets.redeem(third) is None


def test_web_sockets_are_refused(client):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_dash-ws-callback"):
        pass


def test_documents_name_no_other_host(client, backend):
    make_sweep(backend, 1)
    keyed = TestClient(create_app(backend, key="k"), "http://localhost")
    texts = [client.get(path).text for path in ("/", "/sweeps/abcd1234")]
    for text in [*texts, keyed.get("/login").text]:
        links = re.findall(r"""(?:src|href|action)=["']([^"']+)""", text)
        assert links
        for link in links:
            assert link.startswith("/"), link
            assert not link.startswith("//"), link
            if "/login" not in link:
                assert client.get(link).status_code == 200, link


def test_styles_fetch_nothing(client):
    for name in ("dashboard.css", "login.css"):
        assert "http" not in client.get(f"/assets/{name}").text


def test_missing_extra(backend, monkeypatch):
    import sys

    for name in ("app", "document"):
        monkeypatch.delitem(sys.modules, f"tune_bridge.server.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "dash", None)
    with pytest.raises(
        MissingExtraError, match=r"the dashboard needs dash, .*tune-bridge\[dashboard\]"
    ):
        create_app(backend)
