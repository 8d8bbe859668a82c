from __future__ import annotations

from datetime import datetime, timedelta, timezone

import jwt
import pytest
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets

from source_ravan_calcom import config
from source_ravan_calcom.config import Config, connection_specification, in_words, title, token_expiry
from source_ravan_calcom.ravan.failures import Failure

ADDRESS = "API URL must be an address like https://api.ravan.ai."
ENCRYPTED = (
    "API URL must begin with https://, so that the Access Token travels encrypted; "
    "http:// is only for an address on this machine."
)
NO_TOKEN = (
    "Access Token holds a line break, a space or another character that a token never has. "
    "Copy it again from Ravan, in one piece."
)


def parsed(**settings) -> Config:
    return Config.parse({"access_token": "t.o.k", "org_ids": ["a"], **settings})


def refusal(**settings) -> str:
    """Why these settings are refused, beside ones that are fine; ``None`` takes one of those away."""
    with pytest.raises(Failure) as caught:
        parsed(**settings)
    assert caught.value.failure_type is FailureType.config_error
    return caught.value.message


def token(**claims) -> str:
    return jwt.encode(claims, "k" * 32)


def ending(**ahead) -> tuple[str, datetime]:
    """A token that ends so far from now, and when that is."""
    ends = (datetime.now(timezone.utc) + timedelta(**ahead)).replace(microsecond=0)
    return token(exp=int(ends.timestamp())), ends


def test_defaults():
    assert parsed() == Config(
        access_token="t.o.k",
        org_ids=("a",),
        statuses=(),
        agent_id=None,
        failing_organizations="fail",
        num_workers=10,
        api_url="https://api.ravan.ai",
        cautions=(),
    )


def test_every_setting_is_taken():
    settings = parsed(
        statuses=["past"],
        agent_id=" g ",
        failing_organizations="skip",
        num_workers=3.0,
        api_url="https://proxy.example/ravan",
    )
    assert (settings.statuses, settings.agent_id, settings.skips) == (("past",), "g", True)
    assert (repr(settings.num_workers), settings.host) == ("3", "proxy.example")
    assert not parsed().skips


@pytest.mark.parametrize("pasted", ["ey.J.w", "  ey.J.w\n", "Bearer ey.J.w", "bearer   ey.J.w ", "\tBEARER\tey.J.w"])
def test_a_pasted_token_is_forgiven_and_masked(pasted):
    assert parsed(access_token=pasted).access_token == "ey.J.w"
    assert "ey.J.w" not in filter_secrets("sent ey.J.w here")


@pytest.mark.parametrize("accepted", ["abc", "a-b._~+/c==", "Bearerabc"])
def test_a_token_may_hold_what_a_header_can_carry(accepted):
    assert parsed(access_token=accepted).access_token == accepted


@pytest.mark.parametrize(
    "pasted", ["two\nlines", "two words", 'quo"ted', "ümlaut", "nul\x00l", "Bearer\nBearer x", "a=b", "a:b"]
)
def test_a_token_that_can_not_be_one_is_refused_without_being_shown(pasted):
    assert refusal(access_token=pasted) == NO_TOKEN


def test_organizations_are_trimmed_and_read_once_in_the_users_order():
    assert parsed(org_ids=[" b", "a", "b "]).org_ids == ("b", "a")


def test_a_repeated_status_is_asked_once_in_the_users_order():
    assert parsed(statuses=["past", "cancelled", "past"]).statuses == ("past", "cancelled")


def test_emptied_optional_settings_are_as_good_as_absent():
    emptied = parsed(statuses=None, agent_id="  ", failing_organizations=None, num_workers=None, api_url=None)
    assert emptied == parsed(agent_id="") == parsed()


@pytest.mark.parametrize(
    ("url", "on_loopback"),
    [
        ("https://api.ravan.ai/", False),
        (" https://proxy.example:8443/ravan// ", False),
        ("https://bücher.example", False),
        ("https://localhost", True),
        ("http://localhost:80", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:5", True),
    ],
)
def test_an_api_url_that_is_safe_is_accepted(url, on_loopback):
    assert parsed(api_url=url).api_url == url.strip().rstrip("/")
    assert parsed(api_url=url).on_loopback is on_loopback


@pytest.mark.parametrize(
    "url", ["http://api.ravan.ai", "http://127.0.0.1.evil.example", "http://10.0.0.1", "HTTP://api.ravan.ai"]
)
def test_the_token_never_travels_unencrypted(url):
    assert refusal(api_url=url) in (ENCRYPTED, f"API URL is “{url}”, but must be an https address.")


@pytest.mark.parametrize(
    "url",
    [
        "https://u:s3cret@api.ravan.ai",
        "http://localhost@evil.example",
        "https://@api.ravan.ai",
        "https:///path",
        "https://[x",
        "https://h:x",
        "https://h:99999",
        "https://h/a b",
        "https://h/?a=b",
        "https://h/#a",
        "https://h?",
        "https://h#",
        "https://*.example",
        "https://%zz",
        "https://a..b",
        f"https://{'a' * 64}.example",
    ],
)
def test_an_api_url_that_no_request_could_use_is_refused_without_being_shown(url):
    assert refusal(api_url=url) == ADDRESS


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"access_token": None}, "Access Token is missing."),
        ({"org_ids": None}, "Organization IDs is missing."),
        ({"access_token": ""}, "Access Token must not be empty."),
        ({"access_token": " "}, "Access Token must not be empty."),
        ({"access_token": " Bearer "}, "Access Token must not be empty."),
        ({"access_token": 5}, "Access Token must be a text."),
        ({"org_ids": []}, "Organization IDs needs at least one entry."),
        ({"org_ids": "a"}, "Organization IDs is “a”, but must be a list."),
        ({"org_ids": {"a": 1}}, "Organization IDs must be a list."),
        ({"org_ids": ["a", ""]}, "Organization IDs entry 2 must not be empty."),
        ({"org_ids": ["a", " "]}, "Organization IDs entry 2 must not be empty."),
        ({"org_ids": ["a", 7]}, "Organization IDs entry 2 is “7”, but must be a text."),
        ({"org_ids": ["a", ["b"]]}, "Organization IDs entry 2 must be a text."),
        (
            {"org_ids": ["x", "a\tb"]},
            "Organization IDs entry 2 is “a b”, which holds white space or a comma: give one ID per entry.",
        ),
        (
            {"org_ids": ["a,b"]},
            "Organization IDs entry 1 is “a,b”, which holds white space or a comma: give one ID per entry.",
        ),
        (
            {"org_ids": ["aB", "x", "aB", " Ab"]},
            "Organization IDs entries 1 and 4 differ only in upper and lower case, which an organization ID does not: "
            "remove one of them.",
        ),
        (
            {"statuses": ["past", "accepted"]},
            "Booking Statuses entry 2 is “accepted”, but can only be upcoming, recurring, past, cancelled or "
            "unconfirmed; accepted is a value of the status column.",
        ),
        (
            {"statuses": ["Past"]},
            "Booking Statuses entry 1 is “Past”, but can only be upcoming, recurring, past, cancelled or unconfirmed.",
        ),
        ({"statuses": "past"}, "Booking Statuses is “past”, but must be a list."),
        ({"agent_id": 1}, "Agent ID is “1”, but must be a text."),
        ({"failing_organizations": "ignore"}, "Failing Organizations is “ignore”, but can only be fail or skip."),
        ({"num_workers": 0}, "Concurrent Requests is “0”, but must be at least 1."),
        ({"num_workers": 51}, "Concurrent Requests is “51”, but must be at most 50."),
        ({"num_workers": "5"}, "Concurrent Requests is “5”, but must be a whole number."),
        ({"num_workers": 2.5}, "Concurrent Requests is “2.5”, but must be a whole number."),
        ({"num_workers": True}, "Concurrent Requests is “True”, but must be a whole number."),
        ({"api_url": "ftp://x"}, "API URL is “ftp://x”, but must be an https address."),
        ({"api_url": "ftp://u:s3cret@x"}, "API URL must be an https address."),
        ({"api_url": "a\nb" * 30}, f"API URL is “{'a ' + 'ba ' * 19}…”, but must be an https address."),
    ],
)
def test_a_bad_setting_is_refused_by_its_title_and_its_value_where_that_is_no_secret(settings, sentence):
    assert refusal(**settings) == sentence


@pytest.mark.parametrize("status", ["accepted", "pending", "rejected", "awaiting_host"])
def test_a_value_of_the_status_column_is_known_for_what_it_is(status):
    assert refusal(statuses=[status]).endswith(f"; {status} is a value of the status column.")


def test_all_problems_are_told_in_one_go_and_each_once():
    sentence = refusal(
        access_token="s3cret token",
        org_ids=["a", "", 7, "A", "b c"],
        statuses=["accepted"],
        num_workers=0,
        api_url="http://h",
        org_id="x",
    )
    told = [
        "Organization IDs entry 2 must not be empty.",
        "Organization IDs entry 3 is “7”, but must be a text.",
        "Organization IDs entries 1 and 4 differ only in upper and lower case",
        "Organization IDs entry 5 is “b c”, which holds white space or a comma",
        "Booking Statuses entry 1 is “accepted”",
        "Concurrent Requests is “0”, but must be at least 1.",
        NO_TOKEN,
        ENCRYPTED,
        "Unknown setting org_id; did you mean Organization IDs (`org_ids`)?",
    ]
    assert [sentence.count(part) for part in told] == [1] * len(told)
    assert sentence.endswith(f" {told[-1]}")
    assert "s3cret" not in sentence


@pytest.mark.parametrize(
    ("name", "caution"),
    [
        ("org_id", "Unknown setting org_id; did you mean Organization IDs (`org_ids`)?"),
        ("ORG_IDS", "Unknown setting ORG_IDS; did you mean Organization IDs (`org_ids`)?"),
        ("Access Token", "Unknown setting Access Token; did you mean Access Token (`access_token`)?"),
        ("zzz\n", "Unknown setting zzz, which is ignored."),
        ("z" * 61, f"Unknown setting {'z' * 59}…, which is ignored."),
    ],
)
def test_an_unknown_setting_is_a_caution_with_a_suggestion(name, caution):
    assert parsed(**{name: "x"}).cautions == (caution,)


def test_settings_of_the_platform_are_ignored():
    assert parsed(__injected_declarative_manifest={}) == parsed()


def test_a_token_that_has_expired_is_refused_in_words():
    expired, ended = ending(minutes=-11)
    assert refusal(access_token=expired) == (f"Access Token expired on {in_words(ended)}. Paste a valid token into it.")


@pytest.mark.parametrize("ahead", [{"minutes": -9}, {"minutes": 5}, {"days": 6, "hours": 23}])
def test_a_token_that_ends_soon_or_by_our_clock_alone_is_a_caution(ahead):
    soon, ends = ending(**ahead)
    settings = parsed(access_token=soon, zzz=1)
    assert settings.token_expires_at == ends
    assert settings.cautions == (
        "Unknown setting zzz, which is ignored.",
        f"Access Token expires on {in_words(ends)}. Paste a new token into it before then.",
    )


@pytest.mark.parametrize(
    "lasting",
    ["opaque", "a.b.c", token(), token(exp=253402300799), ending(days=7, hours=1)[0]],
    ids=["opaque", "no JWT", "no end", "the last second of the calendar", "a week"],
)
def test_a_token_that_lasts_or_does_not_say_is_no_caution(lasting):
    assert parsed(access_token=lasting).cautions == ()


def test_the_end_of_a_token_is_in_utc():
    assert token_expiry(token(exp=1000000000)) == datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone.utc)
    assert in_words(datetime(2001, 9, 9, 7, 16, 40, tzinfo=timezone(timedelta(hours=5.5)))) == (
        "2001-09-09 at 01:46:40 UTC"
    )


@pytest.mark.parametrize("claim", ["soon", None, [], 1e300, float("nan"), -1e18])
def test_a_nonsensical_end_says_nothing(claim, monkeypatch):
    monkeypatch.setattr(jwt, "decode", lambda *_, **__: {"exp": claim})
    assert token_expiry("a.b.c") is None


def test_titles_are_as_the_ui_shows_them():
    assert title("num_workers") == "Concurrent Requests"


def test_every_rule_of_the_spec_can_be_told_in_words():
    rules = {"type", "enum", "minItems", "minLength", "minimum", "maximum", "pattern", "required"}
    fields = connection_specification()["properties"].values()
    annotations = {"title", "description", "order", "examples", "default", "items", "group", "always_show"}
    used = {key for field in fields for part in (field, field.get("items", {})) for key in part}
    used -= annotations | {"pattern_descriptor", "airbyte_secret", "airbyte_hidden"}
    assert used | {"required"} == set(config._PROBLEMS) == rules
