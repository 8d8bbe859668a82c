from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import jwt
import pytest
from jsonschema import Draft7Validator

from source_ravan_calcom.config import (
    Config,
    InvalidConfig,
    connection_specification,
    in_words,
    label,
    load,
    one_line,
    token_expiry,
)

FILTERS = "upcoming, recurring, past, cancelled or unconfirmed"
NOT_A_TOKEN = (
    "Access Token (access_token) is incomplete, or holds a line break, a space or another character that a token "
    "never has. Copy it again from Ravan, in one piece."
)
NOT_AN_ADDRESS = "API URL (api_url) must be an address like https://api.ravan.ai; http is only for this machine."


def parsed(**settings) -> Config:
    return Config.parse({"access_token": "t.o.k", "org_ids": ["a"], **settings})


def refusal(**settings) -> str:
    """Add these settings to valid ones, ``None`` to remove one, and return the error message."""
    with pytest.raises(InvalidConfig) as caught:
        parsed(**settings)
    return str(caught.value)


def token(**claims) -> str:
    return jwt.encode(claims, "k" * 32)


def ending(**ahead) -> tuple[str, datetime]:
    """A token that expires after this time, and its expiry."""
    ends = (datetime.now(timezone.utc) + timedelta(**ahead)).replace(microsecond=0)
    return token(exp=int(ends.timestamp())), ends


def test_required_settings_alone_leave_the_defaults():
    assert parsed() == Config(
        access_token="t.o.k",
        org_ids=("a",),
        statuses=(),
        agent_id=None,
        failing_organizations="fail",
        num_workers=10,
        api_url="https://api.ravan.ai",
        token_expires_at=None,
        cautions=(),
    )


def test_every_setting_is_parsed():
    settings = parsed(
        statuses=["past", "cancelled", "past"],
        agent_id=" g ",
        failing_organizations="skip",
        num_workers=3.0,
        api_url="https://proxy.example/ravan",
    )
    assert (settings.statuses, settings.agent_id, settings.skips) == (("past", "cancelled"), "g", True)
    assert (repr(settings.num_workers), settings.host) == ("3", "proxy.example")
    assert not parsed().skips


def test_normalised_settings_parse_to_the_same_settings_and_fit_the_spec():
    settings = parsed(access_token="Bearer t.o.k", org_ids=["a,b"], statuses=["past"], num_workers=2.0, agent_id=" ")
    assert Config.parse(settings.as_settings()) == settings
    assert Draft7Validator(connection_specification()).is_valid(settings.as_settings())
    assert settings.as_settings()["org_ids"] == ["a", "b"]


@pytest.mark.parametrize("empty", [None, "", " \n"])
def test_an_empty_optional_setting_counts_as_missing(empty):
    names = connection_specification()["properties"].keys() - connection_specification()["required"]
    assert parsed(**dict.fromkeys(names, empty)) == parsed(statuses=[]) == parsed()


@pytest.mark.parametrize("pasted", ["ey.J.w", "  ey.J.w\n", "Bearer ey.J.w", "bearer   ey.J.w ", "\tBEARER\tey.J.w"])
def test_spaces_and_bearer_around_a_pasted_token_are_removed(pasted):
    assert parsed(access_token=pasted).access_token == "ey.J.w"


@pytest.mark.parametrize("accepted", ["abc", "a-b._~+/c==", "Bearerabc"])
def test_a_token_may_contain_any_character_allowed_in_a_header(accepted):
    assert parsed(access_token=accepted).access_token == accepted


@pytest.mark.parametrize(
    "pasted",
    ["s3cret\nlines", "s3cret words", 's3cr"et', "s3crët", "s3c\x00ret", "Bearer\nBearer s3cret", "s3=cret", "Bearer"],
)
def test_an_invalid_token_is_refused_without_being_shown(pasted):
    assert refusal(access_token=pasted) == NOT_A_TOKEN


def test_organization_ids_keep_their_order_and_lose_duplicates():
    assert parsed(org_ids=[" b", "a", "b "]).org_ids == ("b", "a")


@pytest.mark.parametrize("entry", ["a_1", "A1.b-c:d", "1@x", "auth|1", "-a-", "3f2b8c1e-5a4d-4e6f-9b7a-1c2d3e4f5a6b"])
def test_an_organization_id_need_not_be_a_uuid(entry):
    assert parsed(org_ids=[entry]).org_ids == (entry,)


@pytest.mark.parametrize(
    ("url", "on_loopback"),
    [
        ("https://api.ravan.ai/", False),
        (" https://proxy.example:8443/ravan// ", False),
        ("https://bücher.example", False),
        ("https://localhost", True),
        ("http://localhost:80", True),
        ("HTTP://LOCALHOST", True),
        ("http://127.0.0.1:18090", True),
        ("http://[::1]:5", True),
        ("http://[::1]", True),
        ("http://host.docker.internal:18090/api", True),
        ("http://host.containers.internal", True),
    ],
)
def test_an_encrypted_or_a_local_address_is_accepted(url, on_loopback):
    settings = parsed(api_url=url)
    assert (settings.api_url, settings.on_loopback) == (url.strip().rstrip("/"), on_loopback)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.ravan.ai",
        "HTTP://api.ravan.ai",
        "http://127.0.0.1.evil.example",
        "http://10.0.0.1",
        "http://localhost@evil.example",
        "http://localhost\\.evil.example",
        "https://u:s3cret@api.ravan.ai",
        "https:///path",
        "https://h/a b",
        "https://h/?a=b",
        "https://h/#a",
        "https://h?",
        "https://*.example",
        "https://[1:2]",
        "https://[::1:]",
        "ftp://x",
        "api.ravan.ai",
    ],
)
def test_an_invalid_or_unencrypted_address_is_refused_without_being_shown(url):
    assert refusal(api_url=url) == NOT_AN_ADDRESS


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"access_token": None}, "Access Token (access_token) is missing."),
        ({"access_token": " "}, "Access Token (access_token) is missing."),
        ({"org_ids": None}, "Organization IDs (org_ids) is missing."),
        ({"org_ids": []}, "Organization IDs (org_ids) is missing."),
        ({"org_ids": ""}, "Organization IDs (org_ids) is missing."),
        ({"access_token": 5}, "Access Token (access_token) must be text."),
        ({"org_ids": "a"}, "Organization IDs (org_ids) must be a list."),
        ({"org_ids": {"a": 1}}, "Organization IDs (org_ids) must be a list."),
        ({"org_ids": ["a", ""]}, "Organization IDs (org_ids) entry 2 holds no organization ID."),
        ({"org_ids": ["a", " []; "]}, "Organization IDs (org_ids) entry 2 holds no organization ID."),
        ({"org_ids": ["a", 7]}, "Organization IDs (org_ids) entry 2 must be text."),
        ({"org_ids": ["a", ["b"]]}, "Organization IDs (org_ids) entry 2 must be text."),
        (
            {"org_ids": ["x", "1. a 2. b https://x.example/c - \x00 é"]},
            "Organization IDs (org_ids) holds text that can't be an organization ID: "
            "“1.”, “2.”, “https://x.example/c”, “-”, “ ”, “é”.",
        ),
        (
            {"org_ids": ["a/" * 100]},
            f"Organization IDs (org_ids) holds text that can't be an organization ID: “{'a/' * 99}….",
        ),
        (
            {"org_ids": ["a Bearer eyJs3cret.b.c"]},
            "Organization IDs (org_ids) holds an access token, which belongs in Access Token (access_token).",
        ),
        (
            {"org_ids": ["aB x", "aB", " Ab"]},
            "Organization IDs (org_ids) holds “Ab” twice, in upper and lower case. Remove one.",
        ),
        (
            {"statuses": ["past", "accepted"]},
            f"Booking Statuses (statuses) entry 2 can only be {FILTERS}; accepted is a value of the status column.",
        ),
        ({"statuses": ["Past"]}, f"Booking Statuses (statuses) entry 1 can only be {FILTERS}."),
        ({"statuses": [["past"]]}, f"Booking Statuses (statuses) entry 1 can only be {FILTERS}."),
        ({"statuses": "past"}, "Booking Statuses (statuses) must be a list."),
        ({"agent_id": 1}, "Agent ID (agent_id) must be text."),
        (
            {"failing_organizations": "eyJs3cret.b.c"},
            "Failing Organizations (failing_organizations) can only be fail or skip.",
        ),
        ({"api_url": 5}, "API URL (api_url) must be text."),
        ({"agent_id": "\ud800"}, "Agent ID (agent_id) must be text."),
    ],
)
def test_an_invalid_setting_is_refused_with_title_and_key(settings, sentence):
    assert refusal(**settings) == sentence


@pytest.mark.parametrize("number", [0, 51, 2.5, "5", True, float("nan"), float("inf"), [1]])
def test_a_number_outside_the_range_or_with_a_fraction_is_refused(number):
    assert refusal(num_workers=number) == "Concurrent Requests (num_workers) must be a whole number from 1 to 50."


@pytest.mark.parametrize("number", [1, 50])
def test_the_ends_of_the_range_are_accepted(number):
    assert parsed(num_workers=number).num_workers == number


@pytest.mark.parametrize("status", ["accepted", "pending", "rejected", "awaiting_host"])
def test_a_value_of_the_status_column_is_named_as_such(status):
    assert refusal(statuses=[status]).endswith(f"; {status} is a value of the status column.")


@pytest.mark.parametrize("settings", [[], "text", 5, None])
def test_settings_that_are_not_an_object_are_refused(settings):
    with pytest.raises(InvalidConfig, match="must be a JSON object"):
        Config.parse(settings)


def test_all_problems_are_reported_together_and_each_once():
    sentence = refusal(
        access_token="s3cret token",
        org_ids=["a", "b/c"],
        statuses=["past", "accepted"],
        num_workers=0,
        api_url="http://h",
        org_id="x",
    )
    parts = [
        "Organization IDs (org_ids) holds text that can't be an organization ID: “b/c”.",
        "Booking Statuses (statuses) entry 2 can only be",
        "Concurrent Requests (num_workers) must be",
        NOT_A_TOKEN,
        NOT_AN_ADDRESS,
        "Unknown setting org_id; did you mean Organization IDs (org_ids)?",
    ]
    assert [sentence.count(part) for part in parts] == [1] * len(parts)
    assert sentence.endswith(f" {parts[-1]}")
    assert "s3cret" not in sentence


@pytest.mark.parametrize(
    ("name", "caution"),
    [
        ("org_id", "Unknown setting org_id; did you mean Organization IDs (org_ids)?"),
        ("ORG_IDS", "Unknown setting ORG_IDS; did you mean Organization IDs (org_ids)?"),
        ("Access Token", "Unknown setting Access Token; did you mean Access Token (access_token)?"),
        ("zzz\n", "Unknown setting zzz, which is ignored."),
        ("z" * 201, f"Unknown setting {'z' * 199}…, which is ignored."),
    ],
)
def test_an_unknown_setting_is_a_caution_with_a_suggestion(name, caution):
    assert parsed(**{name: "x"}).cautions == (caution,)


def test_settings_of_the_platform_are_ignored():
    assert parsed(__injected_declarative_manifest={}) == parsed()


@pytest.mark.parametrize("ahead", [{"days": -900}, {"minutes": -1}])
def test_an_expired_token_is_a_caution_because_the_api_decides(ahead):
    expired, ended = ending(**ahead)
    settings = parsed(access_token=expired, zzz=1)
    assert settings.token_expires_at == ended
    assert settings.cautions == (
        "Unknown setting zzz, which is ignored.",
        f"Access Token (access_token) expired on {in_words(ended)}, by this machine's clock. "
        "Paste a new one if Ravan refuses it.",
    )


@pytest.mark.parametrize("ahead", [{"minutes": 5}, {"days": 6, "hours": 23}])
def test_a_token_that_expires_within_a_week_is_a_caution(ahead):
    soon, ends = ending(**ahead)
    assert parsed(access_token=soon).cautions == (
        f"Access Token (access_token) expires on {in_words(ends)}. Paste a new one before then.",
    )


@pytest.mark.parametrize(
    "lasting",
    ["opaque", "a.b.c", token(), token(exp=253402300799), ending(days=7, hours=1)[0]],
    ids=["opaque", "no JWT", "no expiry", "the last second of the calendar", "a week"],
)
def test_a_token_with_a_late_or_no_expiry_is_no_caution(lasting):
    assert parsed(access_token=lasting).cautions == ()


def test_times_are_in_utc():
    assert token_expiry(token(exp=1000000000)) == datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone.utc)
    assert in_words(datetime(2001, 9, 9, 7, 16, 40, tzinfo=timezone(timedelta(hours=5.5)))) == (
        "2001-09-09 at 01:46:40 UTC"
    )


@pytest.mark.parametrize(
    "claim",
    [0, -1, 0.0, True, False, "soon", "1000000000", None, [], {}, 1e300, -1e18, float("nan"), float("inf"), 10**13],
)
def test_an_invalid_expiry_counts_as_none(claim):
    settings = parsed(access_token=jwt.api_jws.encode(json.dumps({"exp": claim}).encode(), "k" * 32))
    assert (settings.token_expires_at, settings.cautions) == (None, ())


@pytest.mark.parametrize("payload", [b"[]", b"5", b"\xff", b"{", b""])
def test_a_token_without_claims_has_no_expiry(payload):
    assert token_expiry(jwt.api_jws.encode(payload, "k" * 32)) is None


@pytest.mark.parametrize("length", range(4))
def test_a_token_is_decoded_with_any_padding(length):
    assert token_expiry(token(exp=1000000000, sub="x" * length))


def test_sentences_name_a_setting_by_title_and_key():
    assert label("org_ids") == "Organization IDs (org_ids)"


def test_quoted_text_is_put_on_one_line_and_shortened():
    assert one_line("bad\r\n\x1b[1mnow\u2028\ud800\x85" + "x" * 500, 20) == "bad [1mnow xxxxxxxx…"
    assert one_line("  a \t b ", 3) == "a b"
    assert one_line("abcd", 3) == "ab…"


def test_settings_are_read_with_the_standard_library_alone():
    """A mistake is reported without waiting for the import of the CDK, which takes seconds."""
    script = (
        "import sys; before = {*sys.modules}; import source_ravan_calcom.config; "
        "print(*{name.split('.')[0] for name in {*sys.modules} - before} - sys.stdlib_module_names)"
    )
    printed = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["source_ravan_calcom"]


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a file and returns its path."""

    def write(content: str | bytes):
        file = tmp_path / "config.json"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def unreadable(path, *noun: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        load(path, *noun)
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_is_read_with_and_without_a_byte_order_mark(encoding, written):
    assert load(written('{"agent_id": "bücher"}'.encode(encoding))) == {"agent_id": "bücher"}


@pytest.mark.parametrize(
    ("content", "line", "column", "mistake"),
    [
        ('{\n  "a": 1,\n}', 2, 9, "Trailing comma"),
        ('{"a": 1,}', 1, 8, "Trailing comma"),
        ('{"a": [\n  "b",\n\n  "c" ,\n\n]}', 4, 7, "Trailing comma"),
        ("{,}", 1, 2, "Trailing comma"),
        ('["a",, "b"]', 1, 6, "Expecting value"),
        ('{\n  "a": 1\n  "b": 2\n}', 3, 3, "Expecting ',' delimiter"),
        ('{"a": ["b", "c" }', 1, 17, "Expecting ',' delimiter"),
        ('{"a": 1', 1, 8, "Expecting ',' delimiter"),
        ("", 1, 1, "Expecting value"),
        ("{'a': 1}", 1, 2, "Expecting property name enclosed in double quotes"),
        ('{"a": “b”}', 1, 7, "Expecting value"),
        ('{"a" 1}', 1, 6, "Expecting ':' delimiter"),
        ('{"a": "b\n"}', 1, 9, "Invalid control character"),
        ('{"a": "b}', 1, 7, "Unterminated string starting"),
        ('{"a": 1}\n}', 2, 1, "Extra data"),
    ],
)
def test_a_mistake_in_json_is_named_with_its_line_and_column(content, line, column, mistake, written):
    file = written(content)
    assert unreadable(file) == (
        f"The configuration file {file} is not valid JSON: {mistake} at line {line}, column {column}."
    )


@pytest.mark.parametrize("content", [b'{"a": "\xff"}', b"[" * 100_000, b"[" + b"9" * 5_000 + b"]"])
def test_invalid_content_without_a_position_is_refused(content, written):
    file = written(content)
    assert unreadable(file) == f"The configuration file {file} is not valid JSON in UTF-8."


def test_the_content_of_a_refused_file_is_not_quoted(written):
    assert "s3cret" not in unreadable(written('{"access_token": "s3cret" "org_ids": []}'))


def test_a_missing_file_is_named(tmp_path):
    file = tmp_path / "x.json"
    assert unreadable(file, "catalog") == f"The catalog file {file} can't be read: No such file or directory."


def test_a_directory_in_place_of_a_file_is_named(tmp_path):
    assert unreadable(tmp_path, "state") == f"The state file {tmp_path} can't be read: Is a directory."


def test_an_unreadable_file_is_refused_with_the_user_id_that_needs_permission(written):
    file, user = written("{}"), os.geteuid()
    file.chmod(0)
    os.seteuid(user or 1000)  # root may read everything
    try:
        sentence = unreadable(file)
    finally:
        os.seteuid(user)
    assert sentence == (
        f"The configuration file {file} can't be read: user ID {user or 1000}, the connector's, needs read permission."
    )
