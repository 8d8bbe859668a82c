from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_ravan_calcom.bookings.records import (
    DEAD,
    FINGERPRINT_BYTES,
    as_utc,
    fingerprint,
    identity,
    is_dead,
    is_utc,
    moment,
    normalise,
    utc_text,
)
from unit_tests.conftest import ORG

UTC = timezone.utc

ROW = {"id": "1", "organization_id": ORG, "start_time": "2026-03-25T14:00:00Z", "extra": {"a": [1, "é"], "b": None}}

CONVERTED = [
    ("2026-03-25T10:00:00+05:00", "2026-03-25T05:00:00Z"),
    ("2026-03-25T01:00:00.123-0530", "2026-03-25T06:30:00.123Z"),
    ("2026-03-25T10:00:00.123456789+05", "2026-03-25T05:00:00.123456789Z"),
    ("2026-03-25T10:00:00z", "2026-03-25T10:00:00Z"),
    ("2026-03-25t10:00:00Z", "2026-03-25T10:00:00Z"),
    ("2026-03-25 10:00:00+00:00", "2026-03-25T10:00:00Z"),
    ("2026-03-25T10:00:07", "2026-03-25T10:00:07Z"),
    ("2026-03-25T10:00", "2026-03-25T10:00:00Z"),
    ("2026-03-25T10:00+01:30", "2026-03-25T08:30:00Z"),
    (" 2026-03-25T10:00:00Z\n", "2026-03-25T10:00:00Z"),
    ("0950-01-01T00:00:00+01:00", "0949-12-31T23:00:00Z"),
]

DELIVERED = [
    "2026-03-25T14:00:00Z",
    "2026-03-25T14:00:00.000Z",
    "2026-01-31T23:59:59Z",
    "2028-02-29T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    None,
]

UNREADABLE = [
    "2026-13-45T99:99:99Z",
    "2026-02-29T10:00:00Z",
    "2026-00-10T10:00:00Z",
    "2026-10-00T10:00:00Z",
    "2026-01-32T10:00:00Z",
    "2026-03-25T24:60:00Z",
    "2026-03-25T10:60:00Z",
    "2026-03-25T10:00:60Z",
    "0000-01-01T00:00:00Z",
    "2026-13-45T10:00:00+01:00",
    "2026-03-25T10:00:00+99:00",
    "0001-01-01T00:00:00+05:00",
    "9999-12-31T23:59:59-01:00",
    "\N{FULLWIDTH DIGIT TWO}026-03-25T10:00:00Z",
    "2026-03-25T1\N{ARABIC-INDIC DIGIT ZERO}:00:00",
    "2026-03-25T10:00:00.Z",
    "2026-03-25T10:00:00,5Z",
    "2026-03-25T10:00:00ZZ",
    "2026-03-25",
    "tomorrow",
    " ",
    1774447200,
    [],
    False,
]


@pytest.mark.parametrize(("given_time", "expected"), CONVERTED)
def test_a_time_that_can_be_read_leaves_in_utc(given_time, expected):
    assert as_utc(given_time) == expected
    assert not is_utc(given_time)
    assert is_utc(expected)


@pytest.mark.parametrize("time", DELIVERED)
def test_a_time_in_utc_leaves_as_it_came(time):
    assert is_utc(time)
    assert as_utc(time) is time


@pytest.mark.parametrize("time", UNREADABLE)
def test_a_time_that_can_not_be_read_leaves_as_it_came(time):
    assert not is_utc(time)
    assert as_utc(time) is time
    assert moment(time) is None


def test_an_empty_time_is_none():
    assert as_utc("") is None
    assert moment("") is moment(None) is None


@given(
    local=st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),
    offset=st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_every_offset_is_converted(local, offset):
    at = local.replace(microsecond=local.microsecond // 1000 * 1000, tzinfo=timezone(timedelta(minutes=offset)))
    assert moment(at.isoformat()) == at
    assert moment(utc_text(at)) == at
    assert is_utc(utc_text(at))


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-03-25T10:00:00+05:00", datetime(2026, 3, 25, 5, tzinfo=UTC)),
        ("2026-03-25T10:00:00.5Z", datetime(2026, 3, 25, 10, microsecond=500_000, tzinfo=UTC)),
        ("2026-03-25T10:00:00.0409Z", datetime(2026, 3, 25, 10, microsecond=40_000, tzinfo=UTC)),
    ],
)
def test_a_moment_is_exact_to_the_millisecond(time, expected):
    assert moment(time) == expected


def test_our_own_times_are_in_utc_with_milliseconds():
    at = datetime(2026, 3, 25, 10, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))
    assert utc_text(at) == "2026-03-25T09:00:00.123Z"


def test_a_row_gets_its_organization_and_null_times_and_nothing_else():
    row = {"id": "1", "organization_id": "", "start_time": "", "attendee_phone": "", "extra": {"deep": [1, "é"]}}
    assert normalise(row, ORG) == 0
    assert row == {
        "id": "1",
        "organization_id": ORG,
        "start_time": None,
        "attendee_phone": "",
        "extra": {"deep": [1, "é"]},
    }


def test_both_times_of_a_row_are_converted_and_those_that_can_not_be_read_are_counted():
    row = {"organization_id": ORG.upper(), "start_time": "2026-03-25T10:00:00+05:00", "end_time": "tomorrow"}
    assert normalise(row, ORG) == 1
    assert row == {
        "organization_id": ORG,
        "start_time": "2026-03-25T05:00:00Z",
        "end_time": "tomorrow",
    }
    assert normalise({"start_time": 7, "end_time": []}, ORG) == 2


@pytest.mark.parametrize(
    ("row", "uid"), [({"id": "u"}, "u"), ({"id": ""}, None), ({"id": 5}, None), ({"id": None}, None), ({}, None)]
)
def test_a_booking_is_known_by_its_uid(row, uid):
    assert identity(row) == uid


def test_a_fingerprint_does_not_hang_on_the_order_of_fields():
    shuffled = {"extra": {"b": None, "a": [1, "é"]}, **dict(reversed(ROW.items()))}
    assert list(shuffled) != list(ROW)
    assert fingerprint(shuffled) == fingerprint(ROW)
    assert len(fingerprint(ROW)) == FINGERPRINT_BYTES == 6


@pytest.mark.parametrize(
    "change", [{"id": "2"}, {"start_time": None}, {"extra": {"a": [1, "e"], "b": None}}, {"new": None}]
)
def test_a_fingerprint_changes_with_any_field(change):
    assert fingerprint({**ROW, **change}) != fingerprint(ROW)


def test_fingerprints_are_the_beginnings_of_those_that_version_1_kept():
    # blake2b with 9 bytes over the sorted JSON, computed once; another value would send everybody's bookings again.
    assert fingerprint({"b": 1, "a": "é"}).hex() == "eb13817209ca"


def test_what_does_not_take_place_is_cancelled_or_rejected():
    assert {"cancelled", "rejected"} == DEAD


@pytest.mark.parametrize("status", [["cancelled"], {"value": "cancelled"}, 5, None, "accepted"])
def test_a_status_that_is_no_text_is_not_a_dead_one(status):
    assert not is_dead({"status": status})
    assert is_dead({"status": "cancelled"})
