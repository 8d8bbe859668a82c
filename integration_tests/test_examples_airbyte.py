"""``examples/airbyte_connections.py`` with a stand-in for Airbyte's public API, run by the command in its header."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
from aiohttp import web
from airbyte_api import models, utils

from integration_tests.examples import Example, commands
from sandbox import serving

INSTALL, EXPORT, RUN = commands("airbyte_connections.py")
SETTINGS = {"access_token": "secret-token", "failing_organizations": "skip"}
STREAMS = {"appointments": "incremental_deduped_history", "organizations": "incremental_append"}


class Airbyte:
    """A stand-in for the public API with one workspace. Each request body is validated by the client package's model.

    Attributes:
        changes: The requests that changed something, in order.
    """

    def __init__(self) -> None:
        self.sources: dict[str, dict] = {}
        self.connections: dict[str, dict] = {}
        self.changes: list[str] = []
        self.refusal: str | None = None
        self._ids = (f"id-{number}" for number in count())

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/api/public/v1/applications/token", self._token)
        app.router.add_get("/api/public/v1/sources", self._list)
        app.router.add_get("/api/public/v1/connections", self._list)
        app.router.add_post("/api/public/v1/sources", self._create_source)
        app.router.add_put("/api/public/v1/sources/{id}", self._put_source)
        app.router.add_post("/api/public/v1/connections", self._create_connection)
        app.router.add_patch("/api/public/v1/connections/{id}", self._patch_connection)
        return app

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if (form["client_id"], form["client_secret"]) != ("…", "…"):
            return web.Response(status=401)
        return web.json_response({"access_token": "bearer", "token_type": "Bearer", "expires_in": 180})

    async def _list(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer bearer"
        assert request.query["workspaceIds"] == "ID"
        things = self.sources if request.path.endswith("sources") else self.connections
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        return web.json_response({"data": [shown(thing) for thing in list(things.values())[offset : offset + limit]]})

    async def _create_source(self, request: web.Request) -> web.Response:
        body = await self._judged(request, models.SourceCreateRequest)
        assert body["definitionId"] == "ID"
        source_id = next(self._ids)
        new = {**body, "sourceId": source_id, "sourceType": "custom", "createdAt": 1}
        self.sources[source_id] = new
        return web.json_response(shown(new))

    async def _put_source(self, request: web.Request) -> web.Response:
        source = self.sources[request.match_info["id"]]
        source.update(await self._judged(request, models.SourcePutRequest))
        return web.json_response(shown(source))

    async def _create_connection(self, request: web.Request) -> web.Response:
        body = await self._judged(request, models.ConnectionCreateRequest)
        assert body["sourceId"] in self.sources
        connection_id = next(self._ids)
        new = {**body, "connectionId": connection_id, "createdAt": 1, "workspaceId": "ID", "tags": []}
        self.connections[connection_id] = new
        return web.json_response(new)

    async def _patch_connection(self, request: web.Request) -> web.Response:
        connection = self.connections[request.match_info["id"]]
        connection.update(await self._judged(request, models.ConnectionPatchRequest))
        return web.json_response(connection)

    async def _judged(self, request: web.Request, model) -> dict[str, Any]:
        """The body, which the model must not change; the settings of a custom connector are not compared."""
        assert request.headers["Authorization"] == "Bearer bearer"
        if self.refusal:
            raise web.HTTPForbidden(text=self.refusal)
        body = await request.json()
        understood = json.loads(utils.marshal_json(model.from_dict(body), model))
        assert {**understood, "configuration": None} == {**body, "configuration": None}
        self.changes.append(f"{request.method} {model.__name__}")
        return body


def shown(thing: dict) -> dict:
    """The object as the API returns it, with secrets masked."""
    if "configuration" not in thing:
        return thing
    return {**thing, "configuration": {**thing["configuration"], "access_token": "**********"}}


@pytest.fixture
def airbyte():
    return Airbyte()


@pytest.fixture
def run(tmp_path, airbyte):
    """Run the commands in the header with these organizations and this group size; return the output."""
    example = Example(tmp_path / "example", "airbyte_connections.py")
    assert example.run(INSTALL).returncode == 0
    assert "http://localhost:8000" in EXPORT
    assert RUN.endswith("--group-size 300")
    with serving(airbyte) as url:

        def run(org_ids: list[str], size: int = 3, more: str = "") -> str:
            (example.directory / "config.json").write_text(json.dumps({**SETTINGS, "org_ids": org_ids}))
            export = EXPORT.replace("http://localhost:8000", url)
            done = example.run(f"{export}; {RUN.replace('300', str(size))} {more}")
            assert "secret-token" not in done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            assert bool(done.returncode) == bool(done.stderr)
            return done.stdout + done.stderr

        yield run


def groups(airbyte: Airbyte) -> dict[str, list[str]]:
    return {source["name"]: source["configuration"]["org_ids"] for source in airbyte.sources.values()}


def test_each_group_gets_one_connection_and_keeps_its_organizations(run, airbyte):
    org_ids = [f"org-{number}" for number in range(7)]
    assert len(run(org_ids).splitlines()) == 6
    made = {"Ravan Cal.com 1": org_ids[:3], "Ravan Cal.com 2": org_ids[3:6], "Ravan Cal.com 3": org_ids[6:]}
    assert groups(airbyte) == made
    for connection in airbyte.connections.values():
        source = airbyte.sources[connection["sourceId"]]
        number = source["name"].split()[-1]
        assert source["configuration"]["access_token"] == "secret-token"
        assert source["configuration"]["failing_organizations"] == "skip"
        assert connection["name"] == source["name"]
        assert connection["status"] == "active"
        assert connection["namespaceDefinition"] == "custom_format"
        assert connection["namespaceFormat"] == f"ravan_calcom_{number}"
        assert {each["name"]: each["syncMode"] for each in connection["configurations"]["streams"]} == STREAMS
    crons = {connection["schedule"]["cronExpression"] for connection in airbyte.connections.values()}
    assert crons == {"0 7 * * * ? UTC", "0 14 * * * ? UTC", "0 21 * * * ? UTC"}

    changes = list(airbyte.changes)
    assert run(org_ids) == "Nothing to change.\n"
    assert airbyte.changes == changes

    # Two organizations are added and one is removed: the others keep their group, and only changed sources are written.
    airbyte.changes.clear()
    org_ids.remove("org-4")
    run([*reversed(org_ids), "new-1", "new-2"])
    assert groups(airbyte) == {
        "Ravan Cal.com 1": ["org-0", "org-1", "org-2"],
        "Ravan Cal.com 2": ["org-3", "org-5", "new-1"],
        "Ravan Cal.com 3": ["org-6", "new-2"],
    }
    assert airbyte.changes == ["PUT SourcePutRequest"] * 2
    assert {source["configuration"]["access_token"] for source in airbyte.sources.values()} == {"secret-token"}


def test_an_empty_group_is_paused_and_a_group_paused_by_hand_stays_paused(run, airbyte):
    run(["a", "b", "c"], 1)
    first, second, third = airbyte.connections.values()
    second["status"] = "inactive"
    run(["b", "c"], 1)
    assert (first["status"], first["name"]) == ("inactive", "Ravan Cal.com 1 (no organizations left)")
    assert run(["b", "c"], 1) == "Nothing to change.\n"
    assert (second["status"], third["status"]) == ("inactive", "active")
    run(["b", "c", "a"], 1)
    assert (first["status"], first["name"]) == ("active", "Ravan Cal.com 1")
    assert len(airbyte.connections) == 3


def test_an_interrupted_run_is_completed_all_pages_are_read_and_a_new_token_is_written(run, airbyte):
    org_ids = [f"org-{number}" for number in range(101)]
    run(org_ids, 1)
    airbyte.connections.popitem()
    airbyte.changes.clear()
    assert run(org_ids, 1) == "Ravan Cal.com 101: connection created\n"
    assert airbyte.changes == ["POST ConnectionCreateRequest"]
    run(org_ids, 1, "--token")
    assert airbyte.changes[1:] == ["PUT SourcePutRequest"] * 101


@pytest.mark.parametrize("size", [0, -5])
def test_an_invalid_group_size_is_refused(run, airbyte, size):
    assert f"argument --group-size: invalid positive value: '{size}'" in run(["a"], size)
    assert airbyte.changes == []


def test_a_refused_request_is_printed_as_a_one_line_error(run, airbyte):
    airbyte.refusal = "quota reached"
    assert run(["a"]) == "Airbyte refused: 403 quota reached\n"
