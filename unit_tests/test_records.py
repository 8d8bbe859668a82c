from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from itertools import permutations
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, FormatChecker

import source_ravan_calcom
from benchmarks.rows import row as benchmark_row
from source_ravan_calcom.bookings.records import (
    CONVERSIONS,
    DEAD,
    FINGERPRINT_BYTES,
    NULLED,
    TRUNCATED,
    as_integer,
    as_text,
    as_time,
    distinct,
    fingerprint,
    fit,
    identity,
    moment,
    old_fingerprint,
    utc_text,
)
from source_ravan_calcom.ravan.failures import Facts
from source_ravan_calcom.ravan.responses import read

ORG = "11111111-2222-4333-8444-aaaaaaaaaaaa"
UTC = timezone.utc

SCHEMA = json.loads(Path(source_ravan_calcom.__file__).with_name("schemas").joinpath("appointments.json").read_text())

MARK = b"mk"
ROW = {"id": "1", "organization_id": ORG, "start_time": "2026-03-25T14:00:00Z", "extra": {"a": [1, "é"], "b": None}}

DOCUMENTED = {
    "id": "bk_1",
    "organization_id": ORG,
    "agent_id": "",
    "attendee_name": "Zoë 😀 Null",
    "attendee_email": "a@example.com",
    "attendee_phone": "+4930123456",
    "attendee_timezone": "Europe/Berlin",
    "start_time": "2026-03-25T14:00:00.000Z",
    "end_time": "2026-03-31T14:30:00Z",
    "duration_minutes": 30,
    "status": "accepted",
}

CONVERTED_TIMES = [
    ("2026-03-25T10:00:00+05:00", "2026-03-25T05:00:00Z"),
    ("2026-03-25T01:00:00.123-0530", "2026-03-25T06:30:00.123Z"),
    ("2026-03-25T10:00:00.123456789+05", "2026-03-25T05:00:00.123456789Z"),
    ("2026-03-25T10:00:00\N{MINUS SIGN}03:00", "2026-03-25T13:00:00Z"),
    ("2026-03-25T10:00:00z", "2026-03-25T10:00:00Z"),
    ("2026-03-25t10:00:00Z", "2026-03-25T10:00:00Z"),
    ("2026-03-25 10:00:00+00:00", "2026-03-25T10:00:00Z"),
    ("2026-03-25T10:00:07", "2026-03-25T10:00:07Z"),
    ("2026-03-25T10:00", "2026-03-25T10:00:00Z"),
    ("2026-03-25T10:00+01:30", "2026-03-25T08:30:00Z"),
    ("2026-03-25T10Z", "2026-03-25T10:00:00Z"),
    ("2026-03-25T10,5Z", "2026-03-25T10:30:00Z"),
    ("2026-03-25T10:30.755Z", "2026-03-25T10:30:45.3Z"),
    ("2026-03-25T10:00:00,5Z", "2026-03-25T10:00:00.5Z"),
    ("20260325T100000Z", "2026-03-25T10:00:00Z"),
    ("20260325T1000+0200", "2026-03-25T08:00:00Z"),
    ("2026-W13-3T10:00Z", "2026-03-25T10:00:00Z"),
    ("2026W133T10Z", "2026-03-25T10:00:00Z"),
    ("2026-084T10:00Z", "2026-03-25T10:00:00Z"),
    ("2024366T10Z", "2024-12-31T10:00:00Z"),
    ("2026-03-25", "2026-03-25T00:00:00Z"),
    ("2026-03-25T24:00:00Z", "2026-03-26T00:00:00Z"),
    (" 2026-03-25T10:00:00Z\n", "2026-03-25T10:00:00Z"),
    ("0950-01-01T00:00:00+01:00", "0949-12-31T23:00:00Z"),
    # A leap second, here and in India.
    ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
    ("2017-01-01T05:29:60.5+05:30", "2016-12-31T23:59:59.5Z"),
    # As Go prints a time.
    ("2026-03-25 14:00:00 +0000 UTC", "2026-03-25T14:00:00Z"),
    ("2026-03-25 14:00:00.5 +0100 CET", "2026-03-25T13:00:00.5Z"),
    ("2026-03-25 14:00:00 +0530 +0530", "2026-03-25T08:30:00Z"),
    ("2026-03-25 14:00:00.000000001 +0000 UTC m=+0.012", "2026-03-25T14:00:00.000000001Z"),
    # Seconds and milliseconds since 1970, as numbers and as text.
    (1774447200, "2026-03-25T14:00:00Z"),
    (1774447200.25, "2026-03-25T14:00:00.25Z"),
    (1774447200000, "2026-03-25T14:00:00Z"),
    (1774447200123.0, "2026-03-25T14:00:00.123Z"),
    ("1774447200", "2026-03-25T14:00:00Z"),
    ("1774447200123", "2026-03-25T14:00:00.123Z"),
    (1, "1970-01-01T00:00:01Z"),
    (4102444799, "2099-12-31T23:59:59Z"),
    (4102444799999, "2099-12-31T23:59:59.999Z"),
]

DELIVERED_TIMES = [
    "2026-03-25T14:00:00Z",
    "2026-03-25T14:00:00.000Z",
    "2026-01-31T23:59:59Z",
    "2026-04-30T00:00:00Z",
    "2028-02-29T00:00:00Z",
    "1970-01-01T00:00:00.001Z",
    "0002-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
]

ZERO_TIMES = [
    "",
    " ",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+05:53",
    "0001-01-01 00:00:00 +0000 UTC",
    "0002-01-01T00:00:00+01:00",
    "0000-00-00 00:00:00",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00.000Z",
    "1970-01-01T01:00:00+01:00",
    0,
    0.0,
    "0",
    -62135596800,
    "-62135596800",
    -62135596800000,
]

UNREADABLE_TIMES = [
    "2026-13-45T99:99:99Z",
    "2026-02-29T10:00:00Z",
    "2026-04-31T10:00:00Z",
    "2026-00-10T10:00:00Z",
    "2026-10-00T10:00:00Z",
    "2026-01-32T10:00:00Z",
    "2026-03-25T24:60:00Z",
    "2026-03-25T24:00:01Z",
    "2026-03-25T25:00:00Z",
    "2026-03-25T10:60:00Z",
    "2026-03-25T10:00:60Z",
    "2026-03-25T23:59:61Z",
    "2026-03-25T23:59:60+01:00",
    "2026-13-45T10:00:00+01:00",
    "2026-03-25T10:00:00+99:00",
    "2026-03-25T10:00:00 CET",
    "9999-12-31T23:59:59-01:00",
    "2026-366",
    "2026-000",
    "2026-W54-1",
    "2026-W13-8",
    "\N{FULLWIDTH DIGIT TWO}026-03-25T10:00:00Z",
    "2026-03-25T1\N{ARABIC-INDIC DIGIT ZERO}:00:00",
    "2026-03-25T10:00:00.Z",
    "2026-03-25T10:00:00ZZ",
    "2026-03-25T10:00:00Z\n2026-03-25T10:00:00Z",
    "2026-03",
    "2026",
    "tomorrow",
    "1e9",
    "20260325100000",
    -1,
    1774447200000000,
    4102444800000,
    1e300,
    [],
    {"seconds": 1774447200},
    True,
    False,
]


@pytest.mark.parametrize(("sent", "delivered"), CONVERTED_TIMES)
def test_a_time_in_another_form_is_delivered_in_utc_without_loss(sent, delivered):
    assert as_time(sent) == (delivered, "")
    assert moment(sent) == moment(delivered) is not None


@pytest.mark.parametrize("time", DELIVERED_TIMES)
def test_a_time_in_utc_is_delivered_unchanged(time):
    assert as_time(time) == (time, "")
    assert moment(time) == datetime.fromisoformat(f"{time[:19]}+00:00").replace(
        microsecond=int(f"{time[20:-1]:0<3}"[:3]) * 1000
    )


@pytest.mark.parametrize("time", ZERO_TIMES)
def test_an_empty_or_zero_time_is_null_without_loss(time):
    assert as_time(time) == (None, "")
    assert moment(time) is None


@pytest.mark.parametrize("time", UNREADABLE_TIMES)
def test_an_ambiguous_or_invalid_time_is_null(time):
    assert as_time(time) == (None, NULLED)
    assert moment(time) is None


def test_a_time_finer_than_nanoseconds_is_truncated():
    assert as_time("2026-03-25T10:00:00.1234567894Z") == ("2026-03-25T10:00:00.123456789Z", TRUNCATED)
    assert as_time("2026-03-25T10:00:00.1234567890Z") == ("2026-03-25T10:00:00.123456789Z", "")


@given(
    local=st.datetimes(min_value=datetime(2, 1, 2), max_value=datetime(9998, 1, 1)),
    offset=st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
@example(datetime(2026, 1, 31), 0)
def test_every_offset_is_converted(local, offset):
    at = local.replace(microsecond=local.microsecond // 1000 * 1000, tzinfo=timezone(timedelta(minutes=offset)))
    if at == datetime(1970, 1, 1, tzinfo=UTC):
        return
    assert moment(at.isoformat()) == at
    assert moment(utc_text(at)) == at
    assert as_time(utc_text(at)) == (utc_text(at), "")


@given(at=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2999, 12, 31)))
def test_every_day_of_the_calendar_is_recognised_as_documented(at):
    time = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    row = {**DOCUMENTED, "start_time": time, "end_time": time}
    assert fit(row, ORG) == ()
    assert row["start_time"] is row["end_time"] is time


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-03-25T10:00:00+05:00", datetime(2026, 3, 25, 5, tzinfo=UTC)),
        ("2026-03-25T10:00:00.5Z", datetime(2026, 3, 25, 10, microsecond=500_000, tzinfo=UTC)),
        ("2026-03-25T10:00:00.0409Z", datetime(2026, 3, 25, 10, microsecond=40_000, tzinfo=UTC)),
        (None, None),
    ],
)
def test_a_parsed_time_is_exact_to_the_millisecond(time, expected):
    assert moment(time) == expected


def test_generated_times_are_in_utc_with_milliseconds():
    at = datetime(2026, 3, 25, 10, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))
    assert utc_text(at) == "2026-03-25T09:00:00.123Z"


@pytest.mark.parametrize(
    ("sent", "delivered", "lost"),
    [
        ("", "", ""),
        ("null", "null", ""),
        ("a\0b\0", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}", TRUNCATED),
        (15551234567, "15551234567", ""),
        (15551234567.0, "15551234567", ""),
        (-0.0, "0", ""),
        (1.5, "1.5", ""),
        (1e22, "1e+22", ""),
        (2**64 - 1, "18446744073709551615", ""),
        (True, "true", ""),
        ({"last": "B\0", "first": ["A", None]}, r'{"first":["A",null],"last":"B\u0000"}', ""),
        ([], "[]", ""),
    ],
)
def test_any_value_becomes_text_as_digits_or_json(sent, delivered, lost):
    assert as_text(sent) == (delivered, lost)


@pytest.mark.parametrize(
    ("sent", "delivered", "lost"),
    [
        (0, 0, ""),
        (-30, -30, ""),
        (30.0, 30, ""),
        ("30", 30, ""),
        (" +30.00 ", 30, ""),
        ("-5", -5, ""),
        ("", None, ""),
        (" ", None, ""),
        (30.5, None, NULLED),
        ("30.5", None, NULLED),
        ("30 min", None, NULLED),
        ("1e400", None, NULLED),
        ("\N{ARABIC-INDIC DIGIT THREE}", None, NULLED),
        (1e300, None, NULLED),
        (2**63 - 1, 2**63 - 1, ""),
        (2**63, None, NULLED),
        ("9223372036854775808", None, NULLED),
        (True, None, NULLED),
        ([30], None, NULLED),
    ],
)
def test_an_integer_is_a_whole_number_of_64_bits(sent, delivered, lost):
    assert as_integer(sent) == (delivered, lost)


def test_every_declared_column_has_the_conversion_to_its_type():
    conversions = {"string": as_text, "integer": as_integer, "date-time": as_time}
    types = {name: each.get("format") or each["type"][1] for name, each in SCHEMA["properties"].items()}
    own = {"organization_id", "synced_at"}
    assert {name: conversions[kind] for name, kind in types.items() if name not in own} == CONVERSIONS


@pytest.mark.parametrize("sample", [DOCUMENTED, benchmark_row(0, ORG)], ids=["DOCUMENTED", "benchmarks/rows.py"])
def test_a_sample_row_has_every_column_that_ravan_sends(sample):
    assert {*sample} == {*CONVERSIONS, "organization_id"}


def test_a_documented_row_gets_its_organization_and_nothing_else():
    row = {**DOCUMENTED, "organization_id": ORG.upper(), "new": {"a": "\0"}}
    assert fit(row, ORG) == ()
    assert row == {**DOCUMENTED, "new": {"a": "\0"}}
    assert list(row) == [*DOCUMENTED, "new"]


@pytest.mark.parametrize("column", CONVERSIONS)
@pytest.mark.parametrize("odd", ["\0", 7, 7.0, 2**63, True, {"a": 1}, [], " ", "2026-03-25T14:00:00Z\n"])
def test_an_undocumented_value_among_documented_ones_is_converted(column, odd):
    row = {**DOCUMENTED, column: odd}
    delivered, lost = CONVERSIONS[column](odd)
    assert fit(row, ORG) == (((column, lost),) if lost else ())
    assert row == {**DOCUMENTED, column: delivered}
    assert type(row[column]) is type(delivered)


def test_two_times_in_one_value_are_not_a_documented_time():
    row = {**DOCUMENTED, "start_time": "2026-03-25T14:00:00Z\n2026-03-25T14:30:00Z", "end_time": ""}
    assert fit(row, ORG) == (("start_time", NULLED),)
    assert row == {**DOCUMENTED, "start_time": None, "end_time": None}


@pytest.mark.parametrize("column", CONVERSIONS)
def test_null_and_missing_columns_are_unchanged(column):
    row = {**DOCUMENTED, column: None}
    assert fit(row, ORG) == ()
    assert row == {**DOCUMENTED, column: None}
    del row[column]
    assert fit(row, ORG) == ()
    assert column not in row


def test_lost_values_of_a_row_are_returned_by_column():
    row = {**DOCUMENTED, "attendee_name": "A\0", "start_time": "soon", "duration_minutes": "30 min", "status": 5}
    assert fit(row, ORG) == (
        ("attendee_name", TRUNCATED),
        ("start_time", NULLED),
        ("duration_minutes", NULLED),
    )
    assert (row["attendee_name"], row["status"]) == ("A\N{REPLACEMENT CHARACTER}", "5")


TEXTS = st.text(
    st.one_of(st.sampled_from("\0aZ0159 é\u2028\n-:+.TZW"), st.characters(codec=None, exclude_categories=())),
    max_size=25,
)
SENT_TIMES = st.sampled_from([*(time for time, _ in CONVERTED_TIMES), *DELIVERED_TIMES, *ZERO_TIMES, *UNREADABLE_TIMES])
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, SENT_TIMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
ROWS = st.builds(
    lambda documented, odd: {**documented, **odd},
    st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in DOCUMENTED.items()}),
    st.dictionaries(st.sampled_from([*CONVERSIONS, "undeclared", "ID"]), VALUES),
)
FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value) -> bool:
    """Whether a value is a date and time of RFC 3339 in UTC that every destination can read."""
    if not isinstance(value, str):
        return True
    datetime.fromisoformat(value[:19])
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", value, re.ASCII) is not None


def assert_fits(row) -> None:
    """Check a delivered row against the schema, and that databases can store its declared columns."""
    Draft7Validator(SCHEMA, format_checker=FORMATS).validate(row)
    for name in row.keys() & SCHEMA["properties"].keys():
        value = row[name]
        assert not re.search("[\0\ud800-\udfff]", value or "") if not isinstance(value, int) else abs(value) < 2**63


def is_good(column: str, value) -> bool:
    """Whether a value has the type of its column without conversion."""
    if isinstance(value, str) and (
        "\0" in value or value[:4] in ("0000", "0001") or value.startswith("1970-01-01T00:00:00")
    ):
        return False
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= 2**63):
        return False
    return Draft7Validator(SCHEMA, format_checker=FORMATS).is_valid({column: value})


@given(row=ROWS)
@example(row={**DOCUMENTED, "attendee_name": "\ud800\0", "undeclared": "\0"})
@example(row={**DOCUMENTED, "start_time": 2**80, "end_time": "1" * 5000})
def test_any_row_fits_the_schema_after_conversion_and_keeps_valid_values(row):
    found = read(200, json.dumps({"success": True, "data": {"appointments": [row]}}).encode(), Facts(ORG))
    [sent] = found.rows
    row = {**orjson.loads(orjson.dumps(sent))}
    changes = fit(row, ORG)
    assert_fits(row)
    assert {name for name, _ in changes} <= set(CONVERSIONS)
    assert row.keys() == {*sent, "organization_id"}
    for name, value in row.items():
        if name not in SCHEMA["properties"]:
            assert value == sent[name]
            continue
        if name in sent and name in CONVERSIONS and is_good(name, sent[name]):
            assert value == sent[name]
    assert fit(dict(row), ORG) == ()
    assert fingerprint(row, MARK) == fingerprint(orjson.loads(orjson.dumps(row)), MARK)


@pytest.mark.parametrize(
    ("row", "uid"),
    [
        ({"id": "u"}, "u"),
        ({"id": ""}, None),
        ({"id": 5}, "5"),
        ({"id": 12345678901234567890}, "12345678901234567890"),
        ({"id": 5.0}, "5"),
        ({"id": 0}, None),
        ({"id": None}, None),
        ({"id": True}, None),
        ({"id": {"a": 1}}, None),
        ({"id": [1]}, None),
        ({}, None),
    ],
)
def test_a_booking_is_identified_by_its_uid(row, uid):
    assert identity(row) == uid
    fit(row, ORG)
    if uid:
        assert identity(row) == row["id"] == uid


def attendee(email, **more):
    return {**DOCUMENTED, "id": "seats", "attendee_email": email, **more}


def test_of_rows_with_the_same_id_the_first_by_email_is_kept_in_any_order():
    rows = [attendee("c@x"), attendee("a@x", attendee_name="B"), attendee("a@x", attendee_name="A"), {"id": "other"}]
    for sent in permutations(rows):
        kept, left_out = distinct(sent)
        assert kept == {"seats": rows[2], "other": rows[3]}
        assert list(kept) == list(dict.fromkeys(row["id"] for row in sent))
        assert left_out == {"seats": 2}


def test_the_choice_among_rows_with_the_same_id_and_email_depends_on_their_content_only():
    rows = [attendee("a@x", status="cancelled"), attendee("a@x", status="accepted"), attendee("a@x", status=None)]
    assert len({json.dumps(distinct(list(sent))) for sent in permutations(rows)}) == 1


def test_equal_rows_count_as_one_and_none_as_omitted():
    assert distinct([attendee("a@x"), dict(reversed(attendee("a@x").items()))]) == ({"seats": attendee("a@x")}, {})


def test_rows_with_different_ids_are_all_kept():
    for rows in ([{"id": "1"}, {"id": "2"}, {}], [{}, {"id": ""}, {"id": 0}, {"id": [1]}, {"id": "1"}], []):
        kept, left_out = distinct(rows)
        assert [*kept.values()] == rows
        assert left_out == {}


def test_an_id_is_the_same_as_a_number_and_as_text():
    kept, left_out = distinct([{"id": 5, "attendee_email": "b"}, {"id": "5", "attendee_email": "a"}])
    assert kept == {"5": {"id": "5", "attendee_email": "a"}}
    assert left_out == {"5": 1}


def test_a_fingerprint_does_not_depend_on_the_order_of_fields():
    shuffled = {"extra": {"b": None, "a": [1, "é"]}, **dict(reversed(ROW.items()))}
    assert list(shuffled) != list(ROW)
    assert fingerprint(shuffled, MARK) == fingerprint(ROW, MARK)
    assert len(fingerprint(ROW, MARK)) == FINGERPRINT_BYTES == 6


@pytest.mark.parametrize(
    "change", [{"id": "2"}, {"start_time": None}, {"extra": {"a": [1, "e"], "b": None}}, {"new": None}]
)
def test_a_fingerprint_changes_with_any_field(change):
    assert fingerprint({**ROW, **change}, MARK) != fingerprint(ROW, MARK)


def test_fingerprints_are_those_of_saved_states():
    # Computed once; other values would send all users' bookings again.
    assert fingerprint({"b": 1, "a": "é"}, MARK).hex() == "6d6ba1221e6a"
    assert old_fingerprint({"b": 1, "a": "é"}).hex() == "eb13817209ca"


def test_cancelled_and_rejected_bookings_do_not_take_place():
    assert DEAD == ("cancelled", "rejected")
