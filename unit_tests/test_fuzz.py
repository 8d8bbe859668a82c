"""Tests that any response leads to rows or a named error: never a crash, a lost row or another organization's row."""

from __future__ import annotations

import copy
import json

import orjson
import requests_mock
from airbyte_cdk.models import AirbyteMessageSerializer
from hypothesis import given
from hypothesis import strategies as st

from source_ravan_calcom.bookings.records import distinct
from unit_tests.syncs import ORG, URL, read
from unit_tests.test_records import assert_fits

CONFIG = {"access_token": "some.jwt.token", "org_ids": [ORG], "api_url": "http://127.0.0.1:9", "num_workers": 1}

ROW = {
    "id": "b1",
    "organization_id": ORG,
    "agent_id": "",
    "attendee_name": "A",
    "start_time": "2026-03-25T14:00:00Z",
    "end_time": "2026-03-25T14:30:00Z",
    "duration_minutes": 30,
    "status": "accepted",
}
BODY = {
    "success": True,
    "message": "Appointments retrieved",
    "data": {"appointments": [ROW, {**ROW, "id": "b2"}], "count": 2, "org_id": ORG, "agent_id": ""},
}

TEXTS = st.one_of(
    st.text("aZ9é\u2028\x00\n{}%", max_size=6), st.sampled_from([ORG, "", "b1", "2026-01-01T10:00:00+05:00"])
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)


def paths(value, path=()):
    """The paths of all values in the documented body."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


def put(body, path, value):
    if not path:
        return value
    changed = copy.deepcopy(body)
    target = changed
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return changed


def outcome(status: int, content: bytes):
    """The rows of a read, and the failure that ended it, if any."""
    with requests_mock.Mocker() as http:
        http.get(URL, content=content, status_code=status)
        synced = read(CONFIG)
    for message in synced.messages:
        orjson.dumps(AirbyteMessageSerializer.dump(message))
    return synced.rows(), synced.error


def assert_rows_or_named_error(status, body):
    content = json.dumps(body).encode()
    rows, error = outcome(status, content)
    if error:
        assert rows == []
        assert error.message.startswith(
            ("1 of 1 organization failed: 1 ", "Ravan refused the Access Token (", "Ravan limits the rate of")
        )
        return
    assert status // 100 == 2
    sent = orjson.loads(content)["data"]["appointments"] or []
    assert len(rows) == len(distinct(sent)[0]), "no row is lost"
    for row in rows:
        assert row["organization_id"] == ORG, "no row is another organization's"
        assert_fits(row)


@given(path=st.sampled_from(list(paths(BODY))), value=VALUES)
def test_any_value_anywhere_in_a_response_leads_to_rows_or_a_named_error(path, value):
    assert_rows_or_named_error(200, put(BODY, path, value))


@given(
    status=st.sampled_from([200, 204, 301, 400, 401, 403, 404, 409, 418, 422, 429, 500, 502, 503]),
    body=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["success", "message", "code", "error", "data", "details"], VALUES)
    ),
)
def test_any_error_body_with_any_status_leads_to_rows_or_a_named_error(status, body):
    assert_rows_or_named_error(status, body)


@given(content=st.binary(max_size=60), cut=st.integers(0, 400))
def test_random_bytes_and_cut_responses_lead_to_a_named_error(content, cut):
    whole = json.dumps(BODY).encode()
    for body in (content, whole[: min(cut, len(whole) - 1)]):
        rows, error = outcome(200, body)
        assert rows == []
        assert error.message.startswith(
            (
                "1 of 1 organization failed: 1 not JSON. Ravan",
                "1 of 1 organization failed: 1 responded in another shape. Ravan",
            )
        )
