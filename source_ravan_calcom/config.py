"""The user's settings, parsed once: validated against the spec, normalised, refused in words."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError

from source_ravan_calcom.errors import refused_setting

SPEC_FILE = Path(__file__).with_name("spec.json")

_BEARER = re.compile(r"\A\s*(?:Bearer\s+)?(\S.*?)\s*\Z", re.IGNORECASE | re.DOTALL)

# RFC 6750's b64token: what an Authorization header can carry, and what no encoder of logs rewrites, so that
# a token is always masked.
_TOKEN = re.compile(r"\A[A-Za-z0-9\-._~+/]+=*\Z")

_BLANK_INSIDE = re.compile(r"[\s\x00-\x1f\x7f]")


@cache
def connection_specification() -> Mapping[str, Any]:
    """The JSON schema of the settings, as ``spec`` prints it."""
    specification: Mapping[str, Any] = orjson.loads(SPEC_FILE.read_bytes())["connectionSpecification"]
    return specification


def title(name: str) -> str:
    """The title under which the UI shows a setting."""
    return str(connection_specification()["properties"][name]["title"])


@dataclass(frozen=True)
class Config:
    """The settings of one connection, ready to use.

    Attributes:
        access_token: The bare token, without ``Bearer`` and white space.
        org_ids: At least one organization ID, trimmed, each once, in the user's order.
        statuses: The Cal.com filters to read; empty means every booking.
        agent_id: The agent ID that Ravan stamps onto rows, if any.
        num_workers: How many organizations are read at the same time, 1 to 50.
        api_url: Scheme, host and path prefix, without a trailing slash.
    """

    access_token: str
    org_ids: tuple[str, ...]
    statuses: tuple[str, ...]
    agent_id: str | None
    num_workers: int
    api_url: str

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Config:
        """Parse what the user configured, and have every form of the token masked from now on.

        Raises:
            Failure: A config error that names each unusable setting by its title, and never its value
                where that is secret.
        """
        # The UI may send an optional setting that was emptied as null.
        given = {name: value for name, value in settings.items() if value is not None}
        problems = [_in_words(error) for error in _validator().iter_errors(given)]
        if problems:
            raise refused_setting(" ".join(dict.fromkeys(problems)))
        defaults = {name: field.get("default") for name, field in connection_specification()["properties"].items()}
        values = {**defaults, **given}
        return cls(
            access_token=_access_token(values["access_token"]),
            org_ids=tuple(_org_ids(values["org_ids"])),
            statuses=tuple(dict.fromkeys(values["statuses"])),
            agent_id=(values["agent_id"] or "").strip() or None,
            num_workers=int(values["num_workers"]),
            api_url=_api_url(values["api_url"]),
        )

    @property
    def host(self) -> str:
        """The API's host and port, for messages."""
        return urlsplit(self.api_url).netloc

    @property
    def on_loopback(self) -> bool:
        """Whether the API is on this machine, as the sandbox is."""
        return _is_loopback(urlsplit(self.api_url).hostname or "")


@cache
def _validator() -> Draft7Validator:
    return Draft7Validator(connection_specification())


_TYPE_NAMES = {
    "string": "a text",
    "array": "a list",
    "integer": "a whole number",
    "object": "an object with the settings",
}

_PROBLEMS: Mapping[str, Callable[[Any], str]] = {
    "required": lambda names: "is missing",
    "type": lambda name: f"must be {_TYPE_NAMES.get(name, name)}",
    "minLength": lambda length: "must not be empty",
    "minItems": lambda count: "needs at least one entry",
    "enum": lambda values: f"can only hold {', '.join(values)}",
    "minimum": lambda least: f"must be at least {least}",
    "maximum": lambda most: f"must be at most {most}",
    "pattern": lambda pattern: "must be an https address",
}
"""How each rule of the spec that a setting can break is told, after the setting's title."""


def _in_words(error: ValidationError) -> str:
    rule, expected = str(error.validator), error.validator_value
    problem = _PROBLEMS[rule](expected)
    path = [*error.path]
    if rule == "required":
        # One error for each missing name, and only the message says which.
        path = [name for name in connection_specification()["required"] if repr(name) in error.message]
    if not path:
        return f"The configuration {problem}."
    entry = f" entry {int(path[1]) + 1}" if len(path) > 1 else ""
    return f"{title(str(path[0]))}{entry} {problem}."


def _access_token(pasted: str) -> str:
    match = _BEARER.match(pasted)
    token = match.group(1) if match else ""
    if token.lower() in ("", "bearer"):
        raise refused_setting(f"{title('access_token')} must not be empty.")
    # The CDK masks the value as configured; what is sent is this form of it.
    add_to_secrets(token)
    if not _TOKEN.match(token):
        raise refused_setting(
            f"{title('access_token')} holds a line break, a space or another character that a token never has. "
            "Copy it again from Ravan, in one piece."
        )
    return token


def _org_ids(entries: Iterable[str]) -> list[str]:
    org_ids: dict[str, None] = {}
    for number, entry in enumerate(entries, start=1):
        org_id = entry.strip()
        if not org_id:
            raise refused_setting(f"{title('org_ids')} entry {number} must not be empty.")
        if _BLANK_INSIDE.search(org_id):
            raise refused_setting(f"{title('org_ids')} entry {number} holds white space: give one ID per entry.")
        org_ids[org_id] = None
    return list(org_ids)


def _api_url(given: str) -> str:
    url = given.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        hostname, _ = parts.hostname, parts.port
    except ValueError:
        hostname, parts = None, urlsplit("")
    if not hostname or parts.username is not None or parts.query or parts.fragment or _BLANK_INSIDE.search(url):
        raise refused_setting(f"{title('api_url')} must be an address like https://api.ravan.ai.")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(hostname)):
        raise refused_setting(
            f"{title('api_url')} must begin with https://, so that the Access Token travels encrypted; "
            "http:// is only for an address on this machine."
        )
    return url


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
