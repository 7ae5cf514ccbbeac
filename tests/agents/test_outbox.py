from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tune_bridge.agents.http import Server, UnreachableError
from tune_bridge.agents.outbox import Outbox
from tune_bridge.errors import BackendError, InputError, NotFoundError
from tune_bridge.wire import Verdict


class Peer:
    """A server that can be away, break off after it has understood, and refuse."""

    def __init__(self) -> None:
        self.mode = "well"
        self.bodies: list[dict[str, Any]] = []
        self.verdict: dict[str, Any] = {"kind": "continue", "reason": ""}
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if peer.mode == "away":
                    self.close_connection = True
                    return
                peer.bodies.append(json.loads(data))
                if peer.mode == "deaf":
                    self.close_connection = True
                    return
                if peer.mode.isdigit():
                    self.answer(int(peer.mode), {"error": {"message": "no", "path": "there"}})
                    return
                self.answer(200, peer.verdict)

            def answer(self, status: int, body: dict[str, Any]) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.server = Server(f"http://127.0.0.1:{self.http.server_address[1]}")

    def outbox(self) -> Outbox:
        return Outbox(self.server, "run1", 1)

    @property
    def steps(self) -> list[list[int]]:
        return [[row[0] for row in body["rows"]] for body in self.bodies]


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.http.shutdown()
    made.http.server_close()
    made.server.close()


def _row(step: int) -> dict[str, Any]:
    return {"rows": [[step, float(step), {"loss": step / 2}]]}


def test_reports_go_out_in_order_with_numbers(peer: Peer) -> None:
    outbox = peer.outbox()
    for step in range(3):
        assert outbox.add(_row(step)) == Verdict()
    assert peer.steps == [[0], [1], [2]]
    assert [body["seq"] for body in peer.bodies] == [0, 1, 2]
    assert outbox.left == 0


def test_a_server_that_is_away_gets_everything_once_it_is_back(peer: Peer) -> None:
    outbox = peer.outbox()
    outbox.add(_row(0))
    peer.mode = "away"
    for step in range(1, 6):
        assert outbox.add(_row(step)).kind == "continue"
    assert outbox.left == 5
    peer.mode = "well"
    assert outbox.flush()
    assert outbox.left == 0
    # The first one was tried, and keeps its number and content; the others became one.
    assert peer.steps == [[0], [1], [2, 3, 4, 5]]
    assert [body["seq"] for body in peer.bodies] == [0, 1, 2]


def test_nobody_waits_for_a_server_that_is_away(peer: Peer) -> None:
    outbox = peer.outbox()
    peer.mode = "away"
    outbox.add(_row(0))
    assert outbox.away
    peer.mode = "well"
    outbox.add(_row(1))
    assert peer.bodies == []
    assert outbox.flush()
    assert not outbox.away
    outbox.add(_row(2))
    assert peer.steps == [[0], [1], [2]]


def test_reports_stay_below_what_a_server_takes(peer: Peer) -> None:
    outbox = peer.outbox()
    large = [[step, 1.0, {"text": "x" * 3_000_000}] for step in range(4)]
    peer.mode = "away"
    outbox.add({"rows": large, "summary": {"a": 1}}, checkpoint="c1")
    for row in large:
        outbox.add({"rows": [row]})
    assert outbox.left == 8
    peer.mode = "well"
    assert outbox.flush()
    assert peer.steps == [[0], [1], [2], [3], [0], [1], [2], [3]]
    assert [body["seq"] for body in peer.bodies] == list(range(8))
    assert [body.get("checkpoint") for body in peer.bodies[:4]] == [None, None, None, "c1"]
    assert peer.bodies[3]["summary"] == {"a": 1}


def test_an_answer_that_is_lost_makes_no_other_report(peer: Peer) -> None:
    outbox = peer.outbox()
    peer.mode = "deaf"
    outbox.add(_row(0))
    outbox.add(_row(1))
    peer.mode = "well"
    assert outbox.flush()
    assert len({json.dumps(body) for body in peer.bodies if body["seq"] == 0}) == 1
    assert peer.steps[-1] == [1]


def test_a_verdict_stays(peer: Peer) -> None:
    outbox = peer.outbox()
    peer.verdict = {"kind": "pause", "reason": "bracket"}
    assert outbox.add(_row(0)) == Verdict("pause", "bracket")
    peer.verdict = {"kind": "continue", "reason": ""}
    assert outbox.add(_row(1)) == Verdict("pause", "bracket")
    outbox.judge(Verdict("kill", "canceled"))
    assert outbox.verdict == Verdict("kill", "canceled")


def test_a_checkpoint_goes_with_its_report(peer: Peer) -> None:
    outbox = peer.outbox()
    peer.mode = "away"
    outbox.add(_row(0))
    outbox.add(_row(1), checkpoint="c1")
    outbox.add(_row(2))
    outbox.add(_row(3))
    peer.mode = "well"
    assert outbox.flush()
    assert [(body["rows"][-1][0], body.get("checkpoint")) for body in peer.bodies] == [
        (0, None),
        (1, "c1"),
        (3, None),
    ]


def test_a_refusal_is_told_and_not_repeated(peer: Peer) -> None:
    outbox = peer.outbox()
    peer.mode = "422"
    with pytest.raises(InputError, match="there: no"):
        outbox.add(_row(0))
    peer.mode = "well"
    outbox.add(_row(1))
    assert peer.steps == [[0], [1]]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, InputError),
        (404, NotFoundError),
        (409, InputError),
        (500, BackendError),
        (503, UnreachableError),
    ],
)
def test_errors_of_the_server_are_ours(peer: Peer, status: int, kind: type[Exception]) -> None:
    peer.mode = str(status)
    with pytest.raises(kind):
        peer.server.create(_new())


def _new() -> Any:
    from tune_bridge.wire import NewSweep

    return NewSweep(config={})


def test_nobody_there() -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        Server("http://127.0.0.1:1").sweep("x")
    for url in ("", "localhost:80", "ftp://x", "http://"):
        with pytest.raises(InputError, match="no address of a server"):
            Server(url)


def test_values_survive_the_wire(peer: Peer) -> None:
    outbox = peer.outbox()
    outbox.add({"rows": [[0, 1.0, {"a": float("nan"), "b": float("inf"), "c": [1, 1.0, None]}]]})
    from tune_bridge.values import decode

    values = decode(peer.bodies[0])["rows"][0][2]
    assert repr(values) == "{'a': nan, 'b': inf, 'c': [1, 1.0, None]}"
