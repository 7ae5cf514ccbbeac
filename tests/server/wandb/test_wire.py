"""The wire, without a client: what is malformed, repeated, forbidden or too much."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tune_bridge.backends.base import PatchRun
from tune_bridge.backends.local import LocalBackend
from tune_bridge.controller import Controller
from tune_bridge.server import create_app
from tune_bridge.server.control import Control
from tune_bridge.server.store import Limits, Store
from tune_bridge.server.wandb.execute import execute
from tune_bridge.server.wandb.ids import global_id
from tune_bridge.server.wandb.watch import SILENCE, Watch

KEY = "k" * 40
UPSERT = """mutation UpsertBucket($name: String, $project: String, $config: JSONString,
  $summaryMetrics: JSONString, $state: String, $sweep: String) {
  upsertBucket(input: {name: $name, modelName: $project, config: $config, sweep: $sweep,
    summaryMetrics: $summaryMetrics, state: $state}) {
    bucket { id name displayName historyLineCount config project { name entity { name } } }
    inserted } }"""
SWEEP = """mutation UpsertSweep($id: ID, $config: String, $state: String) {
  upsertSweep(input: {id: $id, config: $config, state: $state}) {
    sweep { name id } configValidationWarnings } }"""
AGENT = """mutation CreateAgent($host: String!, $sweep: String!) {
  createAgent(input: {host: $host, sweep: $sweep}) { agent { id } } }"""
BEAT = """mutation Heartbeat($id: ID!, $runState: JSONString) {
  agentHeartbeat(input: {id: $id, metrics: "{}", runState: $runState}) {
    agent { id } commands } }"""
CONFIG = """
program: train.py
project: p
method: random
metric: {name: loss, goal: minimize}
parameters: {x: {min: 0.0, max: 1.0}}
run_cap: 2
"""


class Wire:
    """Requests as the client sends them."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.backend = LocalBackend.open(str(folder / "sweeps.db"))
        self.controller = Controller(self.backend, folder / "snapshots")
        limits = Limits(body=100_000, output=2_000, checkpoint=1_000)
        self.control = Control(self.controller, Store(folder / "store", limits))
        app = create_app(self.backend, control=self.control, **more)
        self.http = TestClient(app, "http://localhost", raise_server_exceptions=False)

    def ask(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        answer = self.http.post("/graphql", content=body, headers=headers)
        assert answer.status_code in (200, 404), answer.text
        return answer.json()

    def upsert(self, name: str = "run1", **more: Any) -> Any:
        return self.ask(UPSERT, name=name, project="p", **more)["data"]["upsertBucket"]

    def stream(self, body: Any, run: str = "run1", project: str = "p") -> Any:
        return self.http.post(f"/files/local/{project}/{run}/file_stream", content=json.dumps(body))

    def rows(self, *values: dict[str, Any], offset: int = 0, **more: Any) -> Any:
        content = [json.dumps(value) for value in values]
        files = {"wandb-history.jsonl": {"offset": offset, "content": content}}
        return self.stream({"files": files, **more}, more.pop("run", "run1"))

    def sweep(self, config: str = CONFIG) -> str:
        return str(self.ask(SWEEP, config=config)["data"]["upsertSweep"]["sweep"]["name"])

    def agent(self, sweep: str) -> str:
        said = self.ask(AGENT, host="h", sweep=sweep)
        return str(said["data"]["createAgent"]["agent"]["id"])

    def beat(self, agent: str, *alive: str) -> list[dict[str, Any]]:
        state = json.dumps(dict.fromkeys(alive, True))
        said = self.ask(BEAT, id=agent, runState=state)["data"]["agentHeartbeat"]["commands"]
        return list(json.loads(said))


@pytest.fixture
def wire(tmp_path):
    made = Wire(tmp_path)
    with contextlib.closing(made.backend), made.http:
        yield made


# Documents.


def test_unknown_operations_are_errors_that_name_them(wire, caplog):
    said = wire.ask("mutation LaunchRocket($a: Int) { launchRocket(input: {a: $a}) { id } }", a=1)
    assert said["data"] == {"launchRocket": None}
    assert "LaunchRocket" in said["errors"][0]["message"]
    assert "LaunchRocket" in caplog.text


@pytest.mark.parametrize(
    "query",
    ["", "{", "query A { viewer { id } } query B { viewer { id } }", "{ viewer { ...Missing } }",
     "fragment F on X { id }", "{ a" * 3000,
     "query Q { viewer { id ...F } } fragment F on X { ...F }",
     "{" + "viewer { id } " * 3000 + "}", "\x00"],
)  # fmt: skip
def test_malformed_and_costly_documents_are_errors(wire, query):
    said = wire.ask(query)
    assert said["data"] is None
    assert said["errors"]


def test_a_failure_of_ours_is_no_500(wire, monkeypatch, caplog):
    monkeypatch.setattr(LocalBackend, "counts", lambda *_: 1 / 0)
    said = wire.ask('{ project(name: "p") { sweep(sweepName: "x") { id } } }')
    assert said["data"]["project"]["sweep"] is None
    sweep = wire.ask(SWEEP, config=CONFIG)
    assert "the server failed" in sweep["errors"][0]["message"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"query": 3}', b"\xff", b'{"variables": []}'])
def test_bodies_that_are_no_requests(wire, body):
    for path in ("/graphql", "/files/local/p/run1/file_stream"):
        assert wire.http.post(path, content=body).status_code in (404, 422)


def test_large_bodies_are_refused(wire):
    body = json.dumps({"query": "{ viewer { id } }", "variables": {"a": "x" * 200_000}})
    assert wire.http.post("/graphql", content=body).status_code == 413
    assert (
        wire.stream(
            {"files": {"output.log": {"offset": 0, "content": ["x" * 200_000]}}}
        ).status_code
        == 413
    )


# Runs.


def test_a_repeated_request_changes_nothing(wire):
    first = wire.upsert(config='{"a": {"value": 1}, "_wandb": {"value": {"t": {}}}}')
    again = wire.upsert()
    assert (first["inserted"], again["inserted"]) == (True, False)
    assert first["bucket"]["id"] == again["bucket"]["id"]
    assert json.loads(again["bucket"]["config"])["a"] == {"value": 1}, "null leaves it as it was"
    for _ in range(2):
        wire.rows({"_step": 0, "loss": 1}, {"_step": 5, "loss": 2})
        wire.rows({"_step": 5, "loss": 2}, {"_step": 6, "loss": 3}, offset=1)
    assert [(row.step, row.values["loss"]) for row in wire.backend.history("run1")] == [
        (0, 1), (5, 2), (6, 3),
    ]  # fmt: skip
    for _ in range(2):
        assert wire.stream({"complete": True, "exitcode": 0}).json() == {}
    assert wire.backend.run("run1").state == "finished"


def test_steps_that_were_there_before_go_on(wire):
    wire.upsert()
    wire.rows({"_step": 0, "a": 1}, {"_step": 1, "a": 2})
    wire.rows({"_step": 0, "a": 3}, {"a": 4}, {"_step": "x", "a": 5}, offset=2)
    assert [row.step for row in wire.backend.history("run1")] == [0, 1, 2, 3, 4]


def test_not_finite_numbers_are_strict_json_outside_of_texts(wire):
    wire.upsert()
    files = {"wandb-history.jsonl": {"offset": 0, "content": ['{"_step":0,"a":NaN,"b":-Infinity}']}}
    assert wire.stream({"files": files}).json() == {}
    values = wire.backend.history("run1")[0].values
    assert math.isnan(values["a"])
    said = wire.ask(
        """query Q($specs: [JSONString!]!) { project(name: "p") { run(name: "run1") {
        sampledHistory(specs: $specs) historyKeys history(samples: 5) summaryMetrics } } }""",
        specs=[json.dumps({"keys": ["a", "b"], "samples": 10})],
    )["data"]["project"]["run"]
    assert said["sampledHistory"] == [[{"a": "NaN", "b": "-Infinity"}]]
    assert said["historyKeys"]["keys"]["a"]["previousValue"] == "NaN"
    assert math.isnan(json.loads(said["history"][0])["a"])
    assert math.isnan(json.loads(said["summaryMetrics"])["a"])


@pytest.mark.parametrize(
    "files",
    [[], {"output.log": 3}, {"output.log": {"offset": -1, "content": []}},
     {"wandb-history.jsonl": {"offset": 0, "content": ["{"]}},
     {"wandb-history.jsonl": {"offset": 0, "content": ["[1]"]}},
     {"wandb-history.jsonl": {"offset": 0, "content": [3]}}],
)  # fmt: skip
def test_malformed_streams_are_refused(wire, files):
    wire.upsert()
    assert wire.stream({"files": files}).status_code == 422
    assert wire.backend.history("run1") == []


def test_too_many_lines(wire, monkeypatch):
    monkeypatch.setattr("tune_bridge.server.wandb.stream.MOST_LINES", 2)
    wire.upsert()
    assert wire.rows({"a": 1}, {"a": 1}, {"a": 1}).status_code == 413


def test_console_lines_are_overwritten(wire):
    wire.upsert()

    def say(offset, *lines):
        stamped = [f"2026-01-01T00:00:00.000001 {line}" for line in lines]
        wire.stream({"files": {"output.log": {"offset": offset, "content": stamped}}})

    say(0, "one", "10%")
    say(1, "100%", "two")
    say(5, "late")
    found = list((wire.folder / "store/wandb/lines").rglob("output"))
    assert found[0].read_text() == "one\n100%\ntwo\n\n\nlate\n"
    say(6, "x" * 3000)
    assert found[0].stat().st_size <= 2_000


def test_the_same_id_in_two_projects(wire):
    wire.upsert()
    other = wire.ask(UPSERT, name="run1", project="q")["data"]["upsertBucket"]
    assert (other["inserted"], other["bucket"]["name"]) == (True, "run1")
    files = {"wandb-history.jsonl": {"offset": 0, "content": ['{"a": 1}']}}
    wire.stream({"files": files}, project="q")
    assert wire.backend.run("run1").rows == 0
    assert wire.stream({}, project="none").status_code == 404


def test_runs_that_fall_silent_have_crashed(tmp_path):
    wire, now = Wire(tmp_path), [1000.0]
    wire.upsert()
    wire.upsert("run2", config='{"_wandb": {"value": {}}}')
    watch = Watch(wire.backend, lambda: now[0])
    watch.heard("run1")
    watch.look()
    assert wire.backend.run("run1").state == "running"
    now[0] += SILENCE + 1
    watch.look()
    watch.look()
    assert wire.backend.run("run1").state == "crashed"
    assert wire.backend.run("run2").state == "crashed", "it was running before this process was"
    wire.upsert()
    assert wire.backend.run("run1").state == "running", "it is back"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 200, "a\nb", "%2e"])
def test_ids_that_cannot_be(wire, name):
    assert wire.ask(UPSERT, name=name, project="p")["errors"]


# Sweeps and agents.


def test_an_agent_from_its_first_sign_of_life_to_the_end(wire):
    sweep = wire.sweep()
    agent = wire.agent(sweep)
    (command,) = wire.beat(agent)
    assert (command["type"], command["program"]) == ("run", "train.py")
    assert 0 <= command["args"]["x"]["value"] <= 1
    run = command["run_id"]
    wire.upsert(run, sweep=sweep)
    assert wire.beat(agent, run) == []
    wire.rows({"_step": 0, "loss": 1.0}, run=run)
    wire.stream({"complete": True, "exitcode": 0}, run)
    (command,) = wire.beat(agent)
    assert command["run_id"] != run
    wire.beat(agent, command["run_id"])
    assert wire.beat(agent) == [{"type": "exit"}], "it has ended without a word"
    states = [run.state for run in wire.backend.runs(sweep)]
    assert states == ["finished", "failed"]


def test_a_run_whose_answer_was_lost_is_given_again(wire):
    sweep = wire.sweep()
    agent = wire.agent(sweep)
    lost: list[Any] = []
    variables = {"id": agent, "runState": "{}"}
    roots = wire.control.wandb._operations
    said = execute(BEAT, variables, roots, lost=lost)["data"]["agentHeartbeat"]["commands"]
    assert wire.beat(agent) == [], "it may be starting"
    for call in lost:
        call()
    assert wire.beat(agent) == json.loads(said)
    assert len(wire.backend.runs(sweep)) == 1


def test_a_sweep_whose_answer_was_lost_is_made_once(wire):
    lost: list[Any] = []
    roots = wire.control.wandb._operations
    said = execute(SWEEP, {"config": CONFIG}, roots, lost=lost)
    for call in lost:
        call()
    known = said["data"]["upsertSweep"]["sweep"]["name"]
    assert wire.sweep() == known
    assert wire.sweep() != known, "asked for a second one"


def test_agents_outlive_the_server(tmp_path):
    wire = Wire(tmp_path)
    with contextlib.closing(wire.backend), wire.http:
        sweep = wire.sweep()
        agent = wire.agent(sweep)
        (command,) = wire.beat(agent)
    again = Wire(tmp_path)
    with contextlib.closing(again.backend), again.http:
        assert again.beat(agent) == [command], "it cannot know whether that has arrived"
        again.upsert(command["run_id"], sweep=sweep)
        assert again.beat(agent, command["run_id"]) == []


def test_an_agent_whose_sweep_is_gone(wire):
    sweep = wire.sweep()
    agent = wire.agent(sweep)
    wire.backend.delete_sweep(sweep)
    body = json.dumps({"query": BEAT, "variables": {"id": agent}})
    assert wire.http.post("/graphql", content=body).status_code == 404
    body = json.dumps({"query": BEAT, "variables": {"id": "nonsense"}})
    assert wire.http.post("/graphql", content=body).status_code == 404


def test_both_ways_of_a_stop(wire):
    sweep = wire.sweep()
    agent = wire.agent(sweep)
    run = wire.beat(agent)[0]["run_id"]
    wire.upsert(run, sweep=sweep)
    wire.controller.sweep(sweep).command("stop_run", run=run)
    assert wire.beat(agent, run) == [{"type": "stop", "run_id": run}]
    assert wire.stream({}, run).json() == {"stopped": True}
    wire.stream({"complete": True, "exitcode": 255}, run)
    kept = wire.backend.run(run)
    assert (kept.state, kept.stopped_early) == ("finished", True)


def test_a_preempted_run_is_given_out_again(wire):
    sweep = wire.sweep()
    agent = wire.agent(sweep)
    run = wire.beat(agent)[0]["run_id"]
    wire.upsert(run, sweep=sweep)
    wire.rows({"_step": 0, "loss": 1.0}, run=run)
    wire.stream({"preempting": True, "complete": True, "exitcode": 1}, run)
    assert wire.beat(agent)[0]["run_id"] == run
    wire.upsert(run, sweep=sweep)
    wire.rows({"_step": 0, "loss": 0.5}, offset=1, run=run)
    assert [row.step for row in wire.backend.history(run)] == [0, 1]


def test_a_metric_of_the_summary_alone_reaches_the_engine(wire):
    sweep = wire.sweep()
    agent = wire.agent(sweep)
    run = wire.beat(agent)[0]["run_id"]
    wire.upsert(run, sweep=sweep)
    summary = {"wandb-summary.json": {"offset": 0, "content": ['{"loss": {"min": 0.25}}']}}
    wire.stream({"files": summary, "complete": True, "exitcode": 0}, run)
    told = [event for event in wire.backend.events(sweep) if event["event"] == "tell"]
    assert [event["result"]["loss"] for event in told] == [0.25]


def test_a_repeated_command_changes_nothing(wire):
    sweep = wire.sweep()
    for state in ("PAUSED", "PAUSED", "RUNNING", "RUNNING", "CANCELED", "CANCELED"):
        assert "errors" not in wire.ask(SWEEP, id=global_id("Sweep", sweep), state=state)
    assert "errors" in wire.ask(SWEEP, id=global_id("Sweep", sweep), state="FLYING")


# Keys, files and addresses.


def test_a_key_is_needed(tmp_path):
    wire = Wire(tmp_path, key=KEY)
    body = json.dumps({"query": "{ viewer { entity } }"})

    def status(**headers: str) -> int:
        return wire.http.post("/graphql", content=body, headers=headers).status_code

    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    assert status() == 401
    for wrong in (basic("api:no"), basic(KEY), "Basic !", f"Basic {KEY}", "Basic"):
        assert status(Authorization=wrong) == 401, wrong
    assert status(Authorization=basic(f"api:{KEY}")) == 200
    assert wire.stream({}).status_code == 401
    assert wire.http.get("/local/p/runs/x").status_code == 401
    assert wire.http.get("/wandb/files/guess").status_code == 404
    assert (
        wire.http.post("/graphql", content=body, headers={"Host": "evil.example"}).status_code
        == 400
    )
    assert status(Origin="http://evil.example", Authorization=basic(f"api:{KEY}")) == 403


FILES = """mutation CreateRunFiles($files: [String!]!) {
  createRunFiles(input: {projectName: "p", runName: "run1", files: $files}) {
    files { name uploadUrl } } }"""
LIST = """{ project(name: "p") { run(name: "run1") { files { edges { node {
  id name directUrl url(upload: true) sizeBytes md5 } } } } } }"""


def test_files_go_by_signed_addresses(tmp_path):
    wire = Wire(tmp_path, key=KEY)
    auth = {"Authorization": "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()}
    wire.ask(UPSERT, auth, name="run1", project="p")
    name = "media/a b/é .html"
    said = wire.ask(FILES, auth, files=[name])["data"]["createRunFiles"]["files"]
    assert wire.http.put(said[0]["uploadUrl"], content=b"<script>").status_code == 200
    assert wire.http.get(said[0]["uploadUrl"]).status_code == 404, "for uploads alone"
    assert wire.http.put(said[0]["uploadUrl"], content=b"x" * 2_000).status_code == 413
    (edge,) = wire.ask(LIST, auth)["data"]["project"]["run"]["files"]["edges"]
    assert (edge["node"]["name"], edge["node"]["sizeBytes"]) == (name, 8)
    got = wire.http.get(edge["node"]["directUrl"])
    assert got.content == b"<script>"
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in got.headers["content-security-policy"]
    assert wire.http.put(edge["node"]["directUrl"], content=b"").status_code == 404
    token = edge["node"]["directUrl"].rpartition("/")[2]
    for wrong in (token[:-1] + ("0" if token[-1] != "0" else "1"), token.partition(".")[0], "x.y"):
        assert wire.http.get(f"/wandb/files/{wrong}").status_code == 404


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "", "a//b", ".", "x" * 2000, "a\0b"]
)
def test_files_stay_in_their_folder(wire, name):
    wire.upsert()
    assert wire.ask(FILES, files=[name])["errors"]


CREATE = """mutation CreateArtifact($input: CreateArtifactInput!) { createArtifact(input: $input) {
  artifact { id state artifactSequence { latestArtifact { id } } } } }"""
MANIFEST = """mutation M($id: ID!) { createArtifactManifest(input: {artifactID: $id}) {
  artifactManifest { id file { id uploadUrl uploadHeaders } } } }"""
CONTENT = """mutation F($input: CreateArtifactFilesInput!) { createArtifactFiles(input: $input) {
  files { edges { node { storagePath uploadUrl } } } } }"""
COMMIT = "mutation C($id: ID!) { commitArtifact(input: {artifactID: $id}) { artifact { id } } }"


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def test_an_artifact_is_what_its_manifest_says(wire):
    given = {
        "artifactCollectionName": "c", "artifactTypeName": "t", "projectName": "p", "digest": "d",
        "aliases": [{"alias": "latest"}],
    }  # fmt: skip

    def create():
        return wire.ask(CREATE, input=given)["data"]["createArtifact"]["artifact"]

    made = create()
    assert made["state"] == "PENDING"
    assert create()["id"] == made["id"], "asked again"
    manifest = {"contents": {"x": {"digest": md5(b"right"), "size": 5}}}
    said = wire.ask(MANIFEST, id=made["id"])["data"]["createArtifactManifest"]["artifactManifest"]
    assert "errors" in wire.ask(COMMIT, id=made["id"]), "nothing has come yet"
    wire.http.put(said["file"]["uploadUrl"], content=json.dumps(manifest))
    assert "errors" in wire.ask(COMMIT, id=made["id"]), "a file is missing"
    asked = {"artifactFiles": [{"artifactID": made["id"], "name": "x", "md5": md5(b"right")}]}

    def address():
        edges = wire.ask(CONTENT, input=asked)["data"]["createArtifactFiles"]["files"]["edges"]
        return edges[0]["node"]["uploadUrl"]

    wire.http.put(address(), content=b"wrong")
    assert "not what" in wire.ask(COMMIT, id=made["id"])["errors"][0]["message"]
    wire.http.put(address(), content=b"right")
    assert address() is None, "it is there"
    for _ in range(2):
        assert "errors" not in wire.ask(COMMIT, id=made["id"])
    again = create()
    assert (again["id"], again["state"]) == (made["id"], "COMMITTED")
    for wrong in ("../x", "", md5(b"x")[:-4], "x" * 100):
        asked["artifactFiles"][0]["md5"] = wrong
        assert wire.ask(CONTENT, input=asked)["errors"], wrong


def test_addresses_that_the_client_prints_lead_on(wire):
    sweep = wire.sweep()
    wire.upsert()
    for path, target in (
        (f"/local/p/sweeps/{sweep}", f"/sweeps/{sweep}"),
        ("/local/p/runs/run1", f"/sweeps/{wire.backend.run('run1').sweep_id}"),
    ):
        answer = wire.http.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (302, target)
        assert wire.http.get(target).status_code == 200
    assert wire.http.get("/local/p/runs/none").status_code == 404
    assert wire.http.post("/sdk/otel/v1/metrics").status_code == 404


def test_projects_of_the_client_are_no_sweeps(wire):
    wire.upsert()
    home = wire.backend.run("run1").sweep_id
    said = wire.ask(
        f'{{ project(name: "p") {{ totalSweeps sweep(sweepName: "{home}") {{ id }} }} }}'
    )
    assert said["data"]["project"] == {"totalSweeps": 0, "sweep": None}
    assert "errors" in wire.ask(AGENT, host="h", sweep=home)


def test_patches_of_a_summary_reach_the_dashboard(wire):
    wire.upsert(summaryMetrics='{"best": 1}')
    wire.backend.apply([PatchRun("run1", {"state": "finished"}, 1e12)])
    assert wire.http.get("/api/runs/run1").json()["summary"] == {"best": 1}


def test_earlier_clients_are_told_the_schema(wire):
    query = """query Probe { A: __type(name: "Mutation") { fields { name } }
      B: __type(name: "CreateArtifactInput") { inputFields { name } }
      C: __type(name: "Nothing") { fields { name } inputFields { name } } }"""
    said = wire.ask(query)["data"]
    assert {"name": "upsertBucket"} in said["A"]["fields"]
    assert {"name": "historyStep"} in said["B"]["inputFields"]
    assert said["C"] == {"fields": [], "inputFields": []}
