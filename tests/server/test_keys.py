"""Keys that a place keeps: made by a command, asked for by its servers, told to nobody."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi")

from fastapi import FastAPI
from starlette.testclient import TestClient

from tune_bridge.backends import open_backend
from tune_bridge.backends.local import LocalBackend
from tune_bridge.cli.key import key as command
from tune_bridge.errors import InputError
from tune_bridge.server import create_app
from tune_bridge.server.keys import Keys, make_key
from tune_bridge.server.security import Guard, check_bind


@pytest.fixture
def made(backend: LocalBackend) -> str:
    """A key that the place keeps, named "alice"."""
    text, key = make_key("alice")
    backend.add_key(key)
    return text


def client_of(backend: LocalBackend, **more: str) -> TestClient:
    """An application that asks its place at every request."""
    app = FastAPI()

    @app.get("/api/thing")
    def thing() -> dict[str, str]:
        return {"said": "resnet"}

    keys = Keys(backend, more.get("key"), more.get("own"), fresh=0.0)
    app.add_middleware(Guard, host="127.0.0.1", keys=keys, policy="default-src 'self'")
    return TestClient(app, "http://localhost")


def status(client: TestClient, text: str | None = None, kind: str = "Bearer") -> int:
    headers = {} if text is None else {"authorization": f"{kind} {text}"}
    return client.get("/api/thing", headers=headers).status_code


def test_a_key_opens(backend: LocalBackend, made: str) -> None:
    client = client_of(backend)
    assert status(client) == 401
    for wrong in ("", made[:-1], made.swapcase(), "alice", _digest(made), "x" * 10_000):
        assert status(client, wrong) == 401
    assert client.get("/api/thing", headers={"authorization": b"Bearer \xff"}).status_code == 401
    assert status(client, made) == 200
    assert status(client, base64.b64encode(f"api:{made}".encode()).decode(), "Basic") == 200
    assert "resnet" not in client.get("/api/thing").text


def test_keys_come_and_go_while_a_server_runs(backend: LocalBackend) -> None:
    client = client_of(backend)
    assert status(client) == 200, "a place without keys, on this machine"
    texts = {}
    for name in ("alice", "bob"):
        texts[name], key = make_key(name)
        backend.add_key(key)
    assert status(client) == 401
    assert [status(client, text) for text in texts.values()] == [200, 200]
    backend.revoke_key("alice")
    assert [status(client, text) for text in texts.values()] == [401, 200]


def test_given_and_own_keys(backend: LocalBackend, made: str) -> None:
    both = client_of(backend, key="given", own="own")
    assert [status(both, text) for text in ("given", "own", made, "other")] == [200, 200, 200, 401]
    backend.revoke_key("alice")
    assert [status(both, text) for text in ("given", "own", made)] == [200, 200, 401]
    assert status(both) == 401
    assert status(client_of(backend, own="own")) == 200, "its own key alone closes nothing"


def test_what_is_known_holds_while_the_place_is_away(backend: LocalBackend, made: str) -> None:
    client = client_of(backend)
    backend.close()
    assert (status(client), status(client, made)) == (401, 200)


def test_a_browser_logs_in(backend: LocalBackend, made: str) -> None:
    client = client_of(backend)
    assert client.post("/login", data={"key": "wrong"}).status_code == 401
    answer = client.post("/login", data={"key": made}, follow_redirects=False)
    assert answer.status_code == 303
    assert made not in answer.headers["set-cookie"]
    assert status(client) == 200
    kept = backend.keys()[0]
    for value in (kept.digest, kept.session):
        client.cookies.clear()
        client.cookies.set("tune_bridge_key", value)
        assert status(client) == 401, "what the place keeps opens nothing"
    backend.revoke_key("alice")
    client.cookies.clear()
    client.post("/login", data={"key": made})
    assert status(client) == 200, "without any key there is nothing to open"


def test_only_hashes_are_kept(backend: LocalBackend, made: str, tmp_path: Path) -> None:
    backend.close()
    files = [path.read_bytes() for path in tmp_path.rglob("sweeps.db*")]
    assert files
    assert not any(made.encode() in data for data in files)
    with open_backend(str(tmp_path / "sweeps.db")) as opened:
        assert opened.keys()[0].digest == _digest(made)


def test_last_use_is_noted(backend: LocalBackend, made: str) -> None:
    client = client_of(backend)
    assert status(client, made) == 200
    status(client)
    first = backend.keys()[0].used_at
    assert first is not None
    status(client, made)
    status(client)
    assert backend.keys()[0].used_at == first, "to the minute, so that requests write nothing"


def test_other_machines_need_a_key(backend: LocalBackend) -> None:
    with pytest.raises(InputError, match="tune-bridge key new"):
        create_app(backend, host="0.0.0.0")
    with pytest.raises(InputError):
        create_app(backend, host="0.0.0.0", own_key="own")
    check_bind("0.0.0.0", None, kept=True)
    backend.add_key(make_key("alice")[1])
    create_app(backend, host="0.0.0.0")


def test_command(tmp_path: Path) -> None:
    place = str(tmp_path / "sweeps.db")

    def call(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(command, [*words, "--backend", place])
        assert done.exit_code == code, done.output
        return done.stdout

    assert call("list") == ""
    text = call("new", "alice").strip()
    assert re.fullmatch(r"[A-Za-z0-9]{48}", text)
    other = json.loads(call("new", "bob b", "--json"))
    assert other["name"] == "bob b"
    assert other["key"] != text
    lines = call("list").splitlines()
    assert [line.split("  ")[0] for line in lines] == ["alice", "bob b"]
    assert lines[0].endswith("never used")
    said = call("list", "--json")
    assert [each["name"] for each in json.loads(said)["keys"]] == ["alice", "bob b"]
    for secret in (text, _digest(text)):
        assert secret not in said
    assert call("revoke", "alice") == "revoked alice\n"
    for words in (("revoke", "alice"), ("new", "bob b"), ("new", "a\x1bb")):
        call(*words, code=1)
    call("new", " ", code=2)
    assert [line.split("  ")[0] for line in call("list").splitlines()] == ["bob b"]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
