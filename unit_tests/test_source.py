"""Tests of the protocol's verbs and their files."""

from __future__ import annotations

import importlib
import json
from datetime import datetime, timezone

import pytest
from airbyte_cdk.models import (
    AirbyteStateMessage,
    AirbyteStateType,
    AirbyteStreamState,
    FailureType,
    StreamDescriptor,
    SyncMode,
)
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets

import source_ravan_calcom
from sandbox.accounts import Account, Booking
from source_ravan_calcom.bookings.records import CONVERSIONS, CURSOR_FIELD
from source_ravan_calcom.source import SourceRavanCalcom
from source_ravan_calcom.sync import SCHEMAS
from unit_tests.syncs import BOTH, LOGGER, ORG, OVER, URL, catalog, lines, read, response, state

INCOMPLETE = {"org_ids": []}


def test_the_package_exports_the_source_as_airbytes_tools_look_for_it():
    module = importlib.import_module("source_ravan_calcom")
    assert module.SourceRavanCalcom is SourceRavanCalcom
    assert source_ravan_calcom.__all__ == ["SourceRavanCalcom"]
    with pytest.raises(AttributeError):
        _ = source_ravan_calcom.SourceRavanCalendly


def test_discover_returns_both_streams_with_their_keys_and_their_cursor(settings, http):
    streams = SourceRavanCalcom().discover(LOGGER, settings).streams
    assert [stream.name for stream in streams] == [*BOTH]
    appointments, organizations = streams
    assert appointments.source_defined_primary_key == [["organization_id"], ["id"]]
    assert organizations.source_defined_primary_key == [["organization_id"]]
    for stream in streams:
        assert stream.supported_sync_modes == [SyncMode.full_refresh, SyncMode.incremental]
        assert (stream.source_defined_cursor, stream.default_cursor_field) == (True, ["synced_at"])
        assert stream.is_resumable
    assert http.call_count == 0


@pytest.mark.parametrize("stream", BOTH)
def test_every_column_has_a_nullable_type_and_a_description(stream):
    schema = json.loads((SCHEMAS / f"{stream}.json").read_text())
    assert schema["additionalProperties"] is True, "schemas: additional fields of Ravan must be allowed"
    for name, column in schema["properties"].items():
        where = f"schemas/{stream}.json, column {name}"
        assert isinstance(column["type"], list) and len(column["type"]) == 2, f"{where}: type is [null, one type]"
        assert column["type"][0] == "null", f"{where}: null comes first in type, because any value may be missing"
        assert column["description"].endswith("."), f"{where}: a description, in sentences, is missing"
        assert ("format" in column) == ("airbyte_type" in column), f"{where}: a time has format and airbyte_type"
        if "format" in column:
            assert (column["format"], column["airbyte_type"]) == ("date-time", "timestamp_with_timezone"), where


def test_every_column_of_appointments_is_converted_and_sent_by_the_sandbox():
    columns = json.loads((SCHEMAS / "appointments.json").read_text())["properties"].keys() - {CURSOR_FIELD}
    at = datetime(2026, 6, 1, tzinfo=timezone.utc)
    sent = Account("a").row(Booking("b", at, at), "agent").keys()
    assert columns == sent, "schemas/appointments.json, and Account.row in sandbox/accounts.py"
    converted = CONVERSIONS.keys() | {"organization_id"}
    assert columns == converted, "schemas/appointments.json, and CONVERSIONS in bookings/records.py"


@pytest.mark.parametrize("verb", ["check", "discover", "read", "configure"])
def test_invalid_settings_are_refused_by_every_verb_without_a_request(http, tmp_path, verb):
    source = SourceRavanCalcom()
    with pytest.raises(AirbyteTracedException) as refused:
        if verb == "configure":
            source.configure(INCOMPLETE, str(tmp_path))
        elif verb == "read":
            list(source.read(LOGGER, INCOMPLETE, catalog()))
        else:
            getattr(source, verb)(LOGGER, INCOMPLETE)
    assert refused.value.message == "Access Token (access_token) is missing. Organization IDs (org_ids) is missing."
    assert refused.value.failure_type is FailureType.config_error
    assert http.call_count == 0


@pytest.mark.parametrize("verb", ["check", "discover", "read"])
def test_a_setting_that_is_probably_a_mistake_causes_a_warning_of_every_verb(http, settings, caplog, verb):
    http.get(URL, json=response())
    given = {**settings, "org_id": "x"}
    if verb == "read":
        read(given)
    else:
        getattr(SourceRavanCalcom(), verb)(LOGGER, given)
    assert lines(caplog, "WARNING") == ["Unknown setting org_id; did you mean Organization IDs (org_ids)?"]


def test_configure_returns_the_settings_normalised_and_writes_no_file(tmp_path, settings):
    given = {**settings, "access_token": " Bearer some.jwt.token ", "agent_id": None, "later": 1}
    configured = SourceRavanCalcom().configure(given, str(tmp_path))
    assert configured["access_token"] == "some.jwt.token"
    assert configured["later"] == 1, "it is kept, so that the verb can warn of it"
    assert "agent_id" not in configured
    assert list(tmp_path.iterdir()) == []


def test_the_token_is_masked_both_as_pasted_and_as_sent(http, settings):
    http.get(URL, json=response())
    SourceRavanCalcom().check(LOGGER, {**settings, "access_token": " Bearer some.jwt.token "})
    assert "some.jwt.token" not in filter_secrets("sent some.jwt.token")


def test_an_unknown_stream_is_named(settings):
    error = read(settings, catalog("appointments", "bookings")).error
    assert error.message == (
        "The connection selects a stream that this source does not have: bookings. "
        "Refresh the source schema in the connection."
    )
    assert error.failure_type is FailureType.config_error


# Files.

FILES = {
    "configuration": SourceRavanCalcom.read_config,
    "catalog": SourceRavanCalcom.read_catalog,
    "state": SourceRavanCalcom.read_state,
}


def refusal(noun, path) -> str:
    with pytest.raises(AirbyteTracedException) as refused:
        FILES[noun](str(path))
    assert refused.value.failure_type is FailureType.config_error
    return refused.value.message


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a file and returns its path."""

    def file(content):
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return file


@pytest.mark.parametrize("noun", FILES)
def test_a_missing_file_is_named(noun, tmp_path):
    path = tmp_path / "file.json"
    assert refusal(noun, path) == f"The {noun} file {path} can't be read: No such file or directory."


@pytest.mark.parametrize("noun", ["configuration", "catalog"])
def test_a_file_that_is_not_json_is_named_with_the_place_of_the_mistake(noun, file):
    path = file('{\n  "a": 1,\n}')
    assert refusal(noun, path).startswith(
        f"The {noun} file {path} is not valid JSON: Trailing comma at line 2, column 9."
    )


def test_a_configuration_file_is_read_unchanged(file, settings):
    assert SourceRavanCalcom.read_config(str(file(settings))) == settings


def configured(**stream):
    return {"streams": [{"stream": {"name": "appointments", "json_schema": {}, "supported_sync_modes": []}, **stream}]}


MODES = {"sync_mode": "incremental", "destination_sync_mode": "append_dedup"}


def test_a_configured_catalog_is_read(file):
    catalog = SourceRavanCalcom.read_catalog(str(file(configured(**MODES))))
    assert [each.stream.name for each in catalog.streams] == ["appointments"]


STREAM = {"name": "appointments", "json_schema": {}, "supported_sync_modes": ["foo"]}
SUPPORTING_FOO = {"streams": [{"stream": STREAM, **MODES}]}
DISCOVERED = {"streams": [{"name": "appointments", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "it has no list of streams"),
        ({"catalog": DISCOVERED}, "it is what discover printed"),
        (DISCOVERED, "it is what discover printed. See examples/catalog.json"),
        (
            configured(**{**MODES, "sync_mode": "inc"}),
            '"inc" is not one of ["full_refresh", "incremental"] (instance_path=\'streams/0/sync_mode\')',
        ),
        (configured(sync_mode="incremental"), '"destination_sync_mode" is a required property'),
        (SUPPORTING_FOO, '"foo" is not one of ["full_refresh", "incremental"]'),
        (
            configured(**MODES, cursor_field=7),
            "7 is not of type \"list\" (instance_path='streams/0/cursor_field').",
        ),
    ],
)
def test_a_file_that_is_not_a_configured_catalog_is_named_with_the_reason(file, content, problem):
    path = file(content)
    assert refusal("catalog", path).startswith(f"The catalog file {path} is not a configured catalog: {problem}")


@pytest.mark.parametrize(
    "content", ["{", "7", '{"appointments": {}}', '[{"type": "STREAM", "stream": 5}]', '["x"]', '[{"type": "NEW"}]']
)
def test_an_invalid_state_file_causes_one_warning_and_a_full_read(file, caplog, content):
    assert SourceRavanCalcom.read_state(str(file(content))) == []
    [warning] = lines(caplog, "WARNING")
    assert warning.startswith("The saved state was not understood (")
    assert ", so every booking is read and sent again. " in warning


@pytest.mark.parametrize("content", ["[]", "{}", "null"])
def test_an_empty_state_file_is_a_first_sync(file, caplog, content):
    assert SourceRavanCalcom.read_state(str(file(content))) == []
    assert lines(caplog, "WARNING") == []


def test_no_state_file_is_a_first_sync():
    assert SourceRavanCalcom.read_state("") == []


def test_a_state_file_is_read(file, http, settings):
    http.get(URL, json=response(OVER))
    saved = read(settings).saved()
    descriptor = {"name": "appointments"}
    path = file([{"type": "STREAM", "stream": {"stream_descriptor": descriptor, "stream_state": saved}}])
    [read_state] = SourceRavanCalcom.read_state(str(path))
    assert read(settings, state=[read_state]).rows() == []


# States.


@pytest.mark.parametrize(
    "message",
    [
        AirbyteStateMessage(type=AirbyteStateType.LEGACY, data={"a": 1}),
        AirbyteStateMessage(type=AirbyteStateType.STREAM),
        AirbyteStateMessage(),
    ],
)
def test_a_state_of_another_type_causes_one_warning_and_a_full_read(http, settings, caplog, message):
    http.get(URL, json=response(OVER))
    assert len(read(settings, state=[message]).rows()) == 1
    [warning] = lines(caplog, "WARNING")
    assert warning.startswith("The saved state was not understood (it names no stream), so every booking is read")


def test_a_state_without_content_is_a_first_sync(http, settings, caplog):
    http.get(URL, json=response(OVER))
    empty = AirbyteStreamState(stream_descriptor=StreamDescriptor(name="appointments"))
    before = [AirbyteStateMessage(type=AirbyteStateType.STREAM, stream=empty)]
    assert len(read(settings, state=before).rows()) == 1
    assert lines(caplog, "WARNING") == []


def test_the_state_of_an_organization_that_was_removed_is_dropped(http, settings):
    http.get(URL, json=response(OVER))
    before = [state("appointments", version=2, organizations={"gone": {"sent": ""}})]
    assert [*read(settings, state=before).saved()["organizations"]] == [ORG]
