"""Create and update one Airbyte connection per group of organizations, through Airbyte's public API.

    pip install 'airbyte-api>=0.53,<1'
    export AIRBYTE_CLIENT_ID=… AIRBYTE_CLIENT_SECRET=… AIRBYTE_URL=http://localhost:8000/api/public/v1
    python airbyte_connections.py config.json --workspace ID --destination ID --definition ID --group-size 300

You can run it repeatedly: it writes only changes. ``config.json`` contains the connector's settings for all
organizations. The IDs of the workspace, the destination and the definition are in the addresses of Airbyte's pages; the
definition is the custom connector under Workspace settings > Sources. On Airbyte Cloud, AIRBYTE_URL is
https://api.airbyte.com/v1. Create the client ID and the secret under User settings > Applications.

Each group is a source and a connection named "Ravan Cal.com N". It syncs hourly, a few minutes after the group before,
into its own schema ravan_calcom_N, because two connections must not write to one table. An organization stays in its
group, because the state belongs to the connection. New organizations fill groups with room, then new groups. Removed
ones are removed from their group, and an empty group is paused. Your own changes of a connection are kept.

The API never shows the token of a source, so a new token isn't detected: --token writes it to all sources.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import airbyte_api
import requests
from airbyte_api import api, errors, models

NAME = "Ravan Cal.com"
NAMESPACE = "ravan_calcom"
WITHOUT_ANY = " (no organizations left)"
PAGE = 100
MINUTES_APART = 7

STREAMS = [
    models.StreamConfiguration(
        name="appointments", sync_mode=models.ConnectionSyncModeEnum.INCREMENTAL_DEDUPED_HISTORY
    ),
    # Every version, which gives a history of failures and gaps.
    models.StreamConfiguration(name="organizations", sync_mode=models.ConnectionSyncModeEnum.INCREMENTAL_APPEND),
]


def main() -> None:
    """Update the workspace, and print the changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    for name in ("workspace", "destination", "definition"):
        parser.add_argument(f"--{name}", required=True, metavar="ID")
    parser.add_argument(
        "--group-size", type=positive, required=True, help="maximum number of organizations in one connection"
    )
    parser.add_argument("--token", action="store_true", help="write the Access Token to existing sources, too")
    arguments = parser.parse_args()
    try:
        settings = json.loads(arguments.config.read_text(encoding="utf-8"))
        workspace = Workspace(arguments.workspace, arguments.destination, arguments.definition)
        changes = list(apply(workspace, settings, arguments.group_size, new_token=arguments.token))
    except errors.SDKError as error:
        sys.exit(f"Airbyte refused: {error.status_code} {error.body}")
    except KeyError as error:
        sys.exit(f"{error.args[0]} is missing.")
    except Exception as error:  # the package raises a bare Exception if it gets no token
        sys.exit(str(error))
    print("\n".join(changes) or "Nothing to change.")


def positive(text: str) -> int:
    """Parse a number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


@dataclass
class Group:
    """One source and its connection, if they exist.

    Attributes:
        number: The number in the names.
        org_ids: The organizations that it should read.
        source_id: The source's ID, ``None`` if there is no source yet.
        configuration: The source's settings, as returned by the API.
        connection: The connection, as returned by the API.
    """

    number: int
    org_ids: Sequence[str]
    source_id: str | None = None
    configuration: Mapping[str, Any] | None = None
    connection: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The name of the source and of the connection."""
        return f"{NAME} {self.number}"


def planned(groups: Sequence[Group], org_ids: Sequence[str], size: int) -> list[Group]:
    """Return the groups with every organization in one of them; no organization changes its group."""
    unassigned = dict.fromkeys(org_id.strip() for org_id in org_ids)
    plan = []
    for group in groups:
        kept = [org_id for org_id in group.org_ids if org_id in unassigned]
        for org_id in kept:
            del unassigned[org_id]
        plan.append(Group(group.number, kept, group.source_id, group.configuration, group.connection))
    waiting = list(unassigned)
    last = max((group.number for group in plan), default=0)
    for group in plan:
        room = max(size - len(group.org_ids), 0)
        group.org_ids, waiting = [*group.org_ids, *waiting[:room]], waiting[room:]
    starts = range(0, len(waiting), size)
    return plan + [Group(last + 1 + n, waiting[start : start + size]) for n, start in enumerate(starts)]


def apply(workspace: "Workspace", settings: Mapping[str, Any], size: int, *, new_token: bool) -> Iterator[str]:
    """Update the sources and connections that differ from the plan.

    Yields:
        A line for each change.

    Raises:
        SDKError: Airbyte refused a request.
    """
    for group in planned(workspace.groups(), settings["org_ids"], size):
        wanted = {**settings, "org_ids": list(group.org_ids)}
        if not group.org_ids:
            if workspace.retire(group):
                yield f"{group.name}: paused, because it has no organizations any more"
            continue
        if group.source_id is None:
            group.source_id = workspace.create_source(group.name, wanted)
            yield f"{group.name}: source created, {len(group.org_ids)} organizations"
        elif new_token or shown(wanted) != shown(group.configuration or {}):
            workspace.replace_source(group.source_id, group.name, wanted)
            yield f"{group.name}: settings updated, {len(group.org_ids)} organizations"
        if group.connection is None:
            workspace.create_connection(group)
            yield f"{group.name}: connection created"
        elif workspace.revive(group):
            yield f"{group.name}: resumed"


def shown(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the API shows."""
    return {name: value for name, value in configuration.items() if name not in ("access_token", "sourceType")}


class Workspace:
    """The sources and connections in a workspace that this program created."""

    def __init__(self, workspace_id: str, destination_id: str, definition_id: str) -> None:
        url = os.environ["AIRBYTE_URL"].rstrip("/")
        credentials = models.SchemeClientCredentials(
            client_id=os.environ["AIRBYTE_CLIENT_ID"],
            client_secret=os.environ["AIRBYTE_CLIENT_SECRET"],
            token_url=f"{url}/applications/token",
        )
        self._api = airbyte_api.AirbyteAPI(
            security=models.Security(client_credentials=credentials), server_url=url, client=requests.Session()
        )
        self._workspace_id = workspace_id
        self._destination_id = destination_id
        self._definition_id = definition_id

    def groups(self) -> list[Group]:
        """Return the existing groups, ordered by number."""
        sources = self._all(self._api.sources.list_sources, api.ListSourcesRequest)
        connections = {
            connection["sourceId"]: connection
            for connection in self._all(self._api.connections.list_connections, api.ListConnectionsRequest)
            if connection["destinationId"] == self._destination_id
        }
        groups = []
        for source in sources:
            named = re.fullmatch(rf"{re.escape(NAME)} (\d+)", source["name"])
            if named and source["definitionId"] == self._definition_id:
                settings = source["configuration"]
                connection = connections.get(source["sourceId"])
                groups.append(Group(int(named[1]), settings["org_ids"], source["sourceId"], settings, connection))
        return sorted(groups, key=lambda group: group.number)

    def _all(self, fetch, request) -> list[dict[str, Any]]:
        # Raw responses, because the package parses a custom connector's settings as those of another one.
        found: list[dict[str, Any]] = []
        while True:
            response = fetch(request(workspace_ids=[self._workspace_id], limit=PAGE, offset=len(found)))
            page = response.raw_response.json()["data"]
            found += page
            if len(page) < PAGE:
                return found

    def create_source(self, name: str, settings: Mapping[str, Any]) -> str:
        """Create a source, and return its ID."""
        request = models.SourceCreateRequest(
            name=name,
            workspace_id=self._workspace_id,
            definition_id=self._definition_id,
            configuration=cast("Any", settings),  # the package has no type for custom connectors
        )
        return self._api.sources.create_source(request).raw_response.json()["sourceId"]

    def replace_source(self, source_id: str, name: str, settings: Mapping[str, Any]) -> None:
        """Replace all settings of a source."""
        request = models.SourcePutRequest(name=name, configuration=cast("Any", settings))
        self._api.sources.put_source(api.PutSourceRequest(source_id=source_id, source_put_request=request))

    def create_connection(self, group: Group) -> None:
        """Create a connection that syncs both streams every hour."""
        minute = MINUTES_APART * group.number % 60
        self._api.connections.create_connection(
            models.ConnectionCreateRequest(
                name=group.name,
                source_id=str(group.source_id),
                destination_id=self._destination_id,
                configurations=models.StreamConfigurationsInput(streams=STREAMS),
                schedule=models.AirbyteAPIConnectionSchedule(
                    schedule_type=models.ScheduleTypeEnum.CRON, cron_expression=f"0 {minute} * * * ? UTC"
                ),
                namespace_definition=models.NamespaceDefinitionEnum.CUSTOM_FORMAT,
                namespace_format=f"{NAMESPACE}_{group.number}",
                status=models.ConnectionStatusEnum.ACTIVE,
            )
        )

    def retire(self, group: Group) -> bool:
        """Pause a connection and mark it in its name; return whether that was a change."""
        if group.connection is None or group.connection["name"].endswith(WITHOUT_ANY):
            return False
        self._patch(group, name=group.name + WITHOUT_ANY, status=models.ConnectionStatusEnum.INACTIVE)
        return True

    def revive(self, group: Group) -> bool:
        """Resume a connection that this program paused, not one paused by hand; return whether that was a change."""
        if group.connection is None or not group.connection["name"].endswith(WITHOUT_ANY):
            return False
        self._patch(group, name=group.name, status=models.ConnectionStatusEnum.ACTIVE)
        return True

    def _patch(self, group: Group, **changes: Any) -> None:
        assert group.connection
        request = models.ConnectionPatchRequest(**changes)
        self._api.connections.patch_connection(
            api.PatchConnectionRequest(connection_id=group.connection["connectionId"], connection_patch_request=request)
        )


if __name__ == "__main__":
    main()
