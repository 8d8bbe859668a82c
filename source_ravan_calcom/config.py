"""The user's settings, parsed once: validated against the spec, normalised, refused in words."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import orjson
import requests
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError

from source_ravan_calcom.ravan.failures import Failure, clean

SPEC_FILE = Path(__file__).with_name("spec.json")

FAIL, SKIP = "fail", "skip"
"""The values of Failing Organizations."""

SHOWN_LENGTH = 60
"""How much of a refused value is repeated, in characters."""

CLOCK_DIFFERENCE = timedelta(minutes=10)
"""By how much this machine's clock may be ahead of Ravan's: so long after its end a token is still tried."""

SOON = timedelta(days=7)
"""How long before a token ends this is said."""

_BEARER = re.compile(r"\A\s*(?:Bearer\s+)?(\S.*?)\s*\Z", re.IGNORECASE | re.DOTALL)

# RFC 6750's b64token: what an Authorization header can carry, and what no encoder of logs rewrites, so that
# a token is always masked.
_TOKEN = re.compile(r"\A[A-Za-z0-9\-._~+/]+=*\Z")

_SEPARATOR = re.compile(r"[\s,\x00-\x1f\x7f]")

# What the path is appended to has no query and no fragment, not even empty ones.
_NOT_IN_URL = re.compile(r"[\s\x00-\x1f\x7f?#]")

STATUS_COLUMN_VALUES = frozenset({"accepted", "pending", "rejected", "awaiting_host"})
"""Values of a booking's status that are no filter, though they look like one."""


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
        failing_organizations: ``fail`` or ``skip``.
        num_workers: How many requests are under way at the same time, 1 to 50.
        api_url: Scheme, host and path prefix, without a trailing slash.
        cautions: What is usable and yet probably not meant, in sentences.
    """

    access_token: str
    org_ids: tuple[str, ...]
    statuses: tuple[str, ...]
    agent_id: str | None
    failing_organizations: str
    num_workers: int
    api_url: str
    cautions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Config:
        """Parse what the user configured, and have every form of the token masked from now on.

        Raises:
            Failure: A config error that names every unusable setting by its title, and never its value where that
                is secret.
        """
        # The UI may send an optional setting that was emptied as null.
        given = {name: value for name, value in settings.items() if value is not None}
        fields = connection_specification()["properties"]
        values = {**{name: field.get("default") for name, field in fields.items()}, **given}
        token = _bare(values["access_token"]) if isinstance(values["access_token"], str) else ""
        if token:
            # The CDK masks the value as configured; what is sent is this form of it.
            add_to_secrets(token)
        errors = list(_validator().iter_errors(given))
        as_a_whole = {_name(error) for error in errors if not [*error.path][1:]}  # and not in one entry
        problems = [_in_words(error) for error in errors]
        for name, check in _CHECKS.items():
            if name not in as_a_whole:
                problems += check(values[name])
        if problems:
            raise Failure(" ".join(dict.fromkeys((*problems, *_unknown(given)))))
        return cls(
            access_token=token,
            org_ids=tuple(dict.fromkeys(entry.strip() for entry in values["org_ids"])),
            statuses=tuple(dict.fromkeys(values["statuses"])),
            agent_id=(values["agent_id"] or "").strip() or None,
            failing_organizations=values["failing_organizations"],
            num_workers=int(values["num_workers"]),
            api_url=_bare_url(values["api_url"]),
            cautions=(*_unknown(given), *_expiring(token)),
        )

    @property
    def host(self) -> str:
        """The API's host and port, for messages."""
        return urlsplit(self.api_url).netloc

    @property
    def on_loopback(self) -> bool:
        """Whether the API is on this machine, as the sandbox is."""
        return _is_loopback(urlsplit(self.api_url).hostname or "")

    @property
    def skips(self) -> bool:
        """Whether an organization that can't be read is left out instead of failing the sync."""
        return self.failing_organizations == SKIP

    @property
    def token_expires_at(self) -> datetime | None:
        """When the token expires, or ``None`` where it does not say."""
        return token_expiry(self.access_token)


def token_expiry(token: str) -> datetime | None:
    """When a token expires, or ``None`` where it does not say.

    It is decoded without being trusted: nothing but sentences, and a request saved, depend on it.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        return datetime.fromtimestamp(claims["exp"], timezone.utc)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def in_words(at: datetime) -> str:
    """A point in time as people read it."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d at %H:%M:%S} UTC"


@cache
def _validator() -> Draft7Validator:
    return Draft7Validator(connection_specification())


_TYPE_NAMES = {
    "string": "a text",
    "array": "a list",
    "integer": "a whole number",
}

_PROBLEMS: Mapping[str, Callable[[Any], str]] = {
    "required": lambda names: "is missing",
    "type": lambda name: f"must be {_TYPE_NAMES.get(name, name)}",
    "minLength": lambda length: "must not be empty",
    "minItems": lambda count: "needs at least one entry",
    "enum": lambda values: f"can only be {', '.join(values[:-1])} or {values[-1]}",
    "minimum": lambda least: f"must be at least {least}",
    "maximum": lambda most: f"must be at most {most}",
    "pattern": lambda pattern: "must be an https address",
}
"""How each rule of the spec that a setting can break is told, after the setting's title."""


def _name(error: ValidationError) -> str:
    """The setting that an error is about."""
    if error.validator == "required":
        # One error for each missing name, and only the message says which.
        return next(str(name) for name in connection_specification()["required"] if repr(name) in error.message)
    return str(error.path[0])


def _in_words(error: ValidationError) -> str:
    name, rule = _name(error), str(error.validator)
    problem = _PROBLEMS[rule](error.validator_value)
    path = [*error.path]
    entry = f" entry {int(path[1]) + 1}" if len(path) > 1 else ""
    shown = ""
    if isinstance(error.instance, (str, int, float)) and error.instance != "" and not _is_secret(name, error.instance):
        shown = f" is “{clean(str(error.instance), SHOWN_LENGTH)}”, but"
    sentence = f"{title(name)}{entry}{shown} {problem}."
    if name == "statuses" and error.instance in STATUS_COLUMN_VALUES:
        sentence = f"{sentence[:-1]}; {error.instance} is a value of the status column."
    return sentence


def _is_secret(name: str, value: Any) -> bool:
    holds_login = name == "api_url" and "@" in str(value)
    return holds_login or bool(connection_specification()["properties"][name].get("airbyte_secret"))


def _bare(pasted: str) -> str:
    match = _BEARER.match(pasted)
    return match.group(1) if match else ""


def _check_token(pasted: str) -> Iterator[str]:
    token = _bare(pasted)
    if token.lower() in ("", "bearer"):
        yield f"{title('access_token')} must not be empty."
    elif not _TOKEN.match(token):
        yield (
            f"{title('access_token')} holds a line break, a space or another character that a token never has. "
            "Copy it again from Ravan, in one piece."
        )
    elif (ends := token_expiry(token)) and ends < datetime.now(timezone.utc) - CLOCK_DIFFERENCE:
        yield f"{title('access_token')} expired on {in_words(ends)}. Paste a valid token into it."


def _check_org_ids(entries: list[Any]) -> Iterator[str]:
    first: dict[str, tuple[int, str]] = {}
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, str):
            continue  # the spec's rules name it
        org_id = entry.strip()
        if not org_id:
            yield f"{title('org_ids')} entry {number} must not be empty."
        elif _SEPARATOR.search(org_id):
            yield (
                f"{title('org_ids')} entry {number} is “{clean(org_id, SHOWN_LENGTH)}”, which holds white space or a "
                "comma: give one ID per entry."
            )
        else:
            other, spelled = first.setdefault(org_id.lower(), (number, org_id))
            if spelled != org_id:
                yield (
                    f"{title('org_ids')} entries {other} and {number} differ only in upper and lower case, which an "
                    "organization ID does not: remove one of them."
                )


def _bare_url(given: str) -> str:
    return given.strip().rstrip("/")


def _check_api_url(given: str) -> Iterator[str]:
    url = _bare_url(given)
    try:
        parts = urlsplit(url)
        hostname, _ = parts.hostname, parts.port
        # What the HTTP library would refuse later, in its own words.
        requests.Request("GET", url).prepare()
        (hostname or "").encode("idna")
    except (ValueError, requests.RequestException):
        hostname, parts = None, urlsplit("")
    if not hostname or parts.username is not None or _NOT_IN_URL.search(url):
        yield f"{title('api_url')} must be an address like https://api.ravan.ai."
    elif parts.scheme != "https" and not _is_loopback(hostname):
        yield (
            f"{title('api_url')} must begin with https://, so that the Access Token travels encrypted; "
            "http:// is only for an address on this machine."
        )


_CHECKS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "access_token": _check_token,
    "org_ids": _check_org_ids,
    "api_url": _check_api_url,
}
"""What the spec can't express, by setting: each yields a sentence for each problem."""


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _unknown(given: Mapping[str, Any]) -> Iterator[str]:
    known = list(connection_specification()["properties"])
    for name in given:
        if name in known or name.startswith("__"):  # the platform's own begin so
            continue
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {title(close[0])} (`{close[0]}`)?" if close else ", which is ignored."
        yield f"Unknown setting {clean(name, SHOWN_LENGTH)}{hint}"


def _expiring(token: str) -> Iterator[str]:
    ends = token_expiry(token)
    if ends and ends < datetime.now(timezone.utc) + SOON:
        yield f"{title('access_token')} expires on {in_words(ends)}. Paste a new token into it before then."
