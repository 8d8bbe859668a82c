from __future__ import annotations

import pytest
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets

from source_ravan_calcom import config
from source_ravan_calcom.config import Config, connection_specification
from source_ravan_calcom.errors import Failure


def parsed(**settings) -> Config:
    return Config.parse({"access_token": "t.o.k", "org_ids": ["a"], **settings})


def refusal(settings) -> str:
    with pytest.raises(Failure) as caught:
        Config.parse(settings)
    assert caught.value.failure_type is FailureType.config_error
    return caught.value.message


def test_defaults():
    assert parsed() == Config("t.o.k", ("a",), (), None, 10, "https://api.ravan.ai")


@pytest.mark.parametrize("pasted", ["ey.J.w", "  ey.J.w\n", "Bearer ey.J.w", "bearer   ey.J.w ", "\tBEARER\tey.J.w"])
def test_a_pasted_token_is_forgiven_and_masked(pasted):
    assert parsed(access_token=pasted).access_token == "ey.J.w"
    assert "ey.J.w" not in filter_secrets("sent ey.J.w here")


def test_organizations_are_trimmed_and_read_once_in_the_users_order():
    assert parsed(org_ids=[" b", "a", "b "]).org_ids == ("b", "a")


def test_a_repeated_status_is_asked_once():
    assert parsed(statuses=["past", "past"]).statuses == ("past",)


def test_emptied_optional_settings_are_as_good_as_absent():
    assert parsed(statuses=None, agent_id="  ", num_workers=None, api_url=None) == parsed()


@pytest.mark.parametrize(
    "url",
    [
        "https://api.ravan.ai/",
        " https://proxy.example/ravan ",
        "http://localhost:80",
        "http://127.9.9.9",
        "http://[::1]:5",
    ],
)
def test_an_api_url_that_is_safe_is_accepted(url):
    assert parsed(api_url=url).api_url == url.strip().rstrip("/")


def test_only_an_address_on_this_machine_is_on_loopback():
    assert parsed(api_url="http://[::1]:5").on_loopback
    assert not parsed().on_loopback


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"org_ids": ["a"]}, "Access Token is missing."),
        ({"access_token": "ey.J.w"}, "Organization IDs is missing."),
        ({}, "Access Token is missing. Organization IDs is missing."),
        ({"access_token": "", "org_ids": ["a"]}, "Access Token must not be empty."),
        ({"access_token": " Bearer ", "org_ids": ["a"]}, "Access Token must not be empty."),
        ({"access_token": 5, "org_ids": ["a"]}, "Access Token must be a text."),
        ({"access_token": "ey.J.w", "org_ids": []}, "Organization IDs needs at least one entry."),
        ({"access_token": "ey.J.w", "org_ids": "a"}, "Organization IDs must be a list."),
        ({"access_token": "ey.J.w", "org_ids": ["a", ""]}, "Organization IDs entry 2 must not be empty."),
        ({"access_token": "ey.J.w", "org_ids": ["a", " "]}, "Organization IDs entry 2 must not be empty."),
        ({"access_token": "ey.J.w", "org_ids": ["a", 7]}, "Organization IDs entry 2 must be a text."),
        (
            {"access_token": "ey.J.w", "org_ids": ["a b"]},
            "Organization IDs entry 1 holds white space: give one ID per entry.",
        ),
        (
            {"access_token": "ey.J.w", "org_ids": ["a"], "statuses": ["accepted"]},
            "Booking Statuses entry 1 can only hold upcoming, recurring, past, cancelled, unconfirmed.",
        ),
        ({"access_token": "ey.J.w", "org_ids": ["a"], "statuses": "past"}, "Booking Statuses must be a list."),
        ({"access_token": "ey.J.w", "org_ids": ["a"], "agent_id": 1}, "Agent ID must be a text."),
        ({"access_token": "ey.J.w", "org_ids": ["a"], "num_workers": 0}, "Concurrent Requests must be at least 1."),
        ({"access_token": "ey.J.w", "org_ids": ["a"], "num_workers": 51}, "Concurrent Requests must be at most 50."),
        (
            {"access_token": "ey.J.w", "org_ids": ["a"], "num_workers": "5"},
            "Concurrent Requests must be a whole number.",
        ),
        (
            {"access_token": "ey.J.w", "org_ids": ["a"], "num_workers": True},
            "Concurrent Requests must be a whole number.",
        ),
        ({"access_token": "ey.J.w", "org_ids": ["a"], "api_url": "ftp://x"}, "API URL must be an https address."),
    ],
)
def test_a_bad_setting_is_refused_by_its_title(settings, sentence):
    assert refusal(settings) == sentence


@pytest.mark.parametrize(
    "url", ["http://api.ravan.ai", "http://127.0.0.1.evil.example", "http://10.0.0.1", "HTTP://api.ravan.ai"]
)
def test_the_token_never_travels_unencrypted(url):
    assert "must" in refusal({"access_token": "ey.J.w", "org_ids": ["a"], "api_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "https://u:p@api.ravan.ai",
        "http://localhost@evil.example",
        "https://",
        "https://[x",
        "https://h/?a=b",
        "https://h:x",
    ],
)
def test_a_malformed_api_url_is_refused(url):
    assert refusal({"access_token": "ey.J.w", "org_ids": ["a"], "api_url": url}).startswith("API URL must")


@pytest.mark.parametrize("token", ["two\nlines", "two words", 'quo"ted', "ümlaut", "nul\x00l", "Bearer\nBearer x"])
def test_a_token_that_can_not_be_one_is_refused_without_being_shown(token):
    sentence = refusal({"access_token": token, "org_ids": ["a"]})
    assert sentence.startswith("Access Token holds a line break, a space or another character")
    assert token not in sentence


def test_every_rule_of_the_spec_can_be_told_in_words():
    rules = {"type", "enum", "minItems", "minLength", "minimum", "maximum", "pattern", "required"}
    fields = connection_specification()["properties"].values()
    annotations = {"title", "description", "order", "examples", "default", "items", "group", "always_show"}
    used = {key for field in fields for part in (field, field.get("items", {})) for key in part}
    used -= annotations | {"pattern_descriptor", "airbyte_secret", "airbyte_hidden"}
    assert used | {"required"} == set(config._PROBLEMS) == rules


def test_settings_of_the_platform_are_ignored():
    assert parsed(__injected_declarative_manifest={}) == parsed()
