"""The settings: read from a file, validated, normalised. Does not import the CDK, which would take seconds."""

from __future__ import annotations

import base64
import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

FAIL, SKIP = "fail", "skip"  # values of Failing Organizations
SOON = timedelta(days=7)  # a caution is logged this long before the token expires
SHOWN_LENGTH = 200  # characters of an invalid value that an error shows

# For these hosts, http is allowed and no proxy is used. The last two are this machine as seen from a container.
THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]", "host.docker.internal", "host.containers.internal")
NOT_FILTERS = ("accepted", "pending", "rejected", "awaiting_host")  # values of the status column

_API_URL = re.compile(r"(https?)://([\w.-]+|\[[\da-f:.]+])(:\d{1,5})?(/[^\s?#]*)?", re.IGNORECASE)
_BEARER = re.compile(r"\ABearer(?:\s+|\Z)", re.IGNORECASE)
# The characters of RFC 6750. None is escaped in a log, so the CDK can mask a token.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
# Lists of IDs are pasted from sheets, JSON and mails.
_SEPARATORS = re.compile(r"[\s,;\u200b\u2060\ufeff]+")
_WRAPPING = "\"'`“”„‘’‚«»‹›[](){}<>"  # noqa: RUF001
_ORG_ID = re.compile(r"(?=.*[A-Za-z0-9])[\w.:~@|+-]*[\w~@|+-]", re.ASCII)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class InvalidConfig(ValueError):
    """Settings or a file that can't be used. The text is for people, and holds no secret."""


@cache
def connection_specification() -> Mapping[str, Any]:
    """Return the JSON schema of the settings, as ``spec`` prints it."""
    specification: dict[str, Mapping[str, Any]] = json.loads(Path(__file__).with_name("spec.json").read_bytes())
    return specification["connectionSpecification"]


def label(name: str) -> str:
    """Return a setting's title and key: ``Organization IDs (org_ids)``."""
    return f"{connection_specification()['properties'][name]['title']} ({name})"


def in_words(at: datetime) -> str:
    """Format a point in time for a sentence."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d at %H:%M:%S} UTC"


def one_line(text: str, length: int) -> str:
    """Put foreign text on one line of at most ``length`` characters."""
    line = " ".join(_CONTROL_CHARACTERS.sub(" ", text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


@dataclass(frozen=True)
class Config:
    """The settings of one connection, ready to use."""

    access_token: str  # without "Bearer" and white space
    org_ids: tuple[str, ...]  # at least one, each once, in the user's order
    statuses: tuple[str, ...]  # Cal.com's filters; empty for every booking
    agent_id: str | None
    failing_organizations: str
    num_workers: int
    api_url: str  # scheme, host and path prefix, without a trailing slash
    token_expires_at: datetime | None = None  # None if the token does not say
    cautions: tuple[str, ...] = ()  # sentences about probable mistakes

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Config:
        """Validate and normalise the settings, or raise InvalidConfig with a sentence for each problem."""
        if not isinstance(settings, Mapping):
            raise InvalidConfig("The settings must be a JSON object: names and values in curly brackets.")
        specification = connection_specification()
        values: dict[str, Any] = {}
        problems = []
        for name, field in specification["properties"].items():
            value = settings.get(name)
            if value in (None, []) or (isinstance(value, str) and not value.strip()):
                value = field.get("default")
            if value is None and name in specification["required"]:
                problems.append(f"{label(name)} is missing.")
            try:
                typed = None if value is None else _typed(label(name), value, field)
                values[name] = _READERS[name](label(name), typed) if typed and name in _READERS else typed
            except InvalidConfig as error:
                problems.append(str(error))
        cautions = [*_unknown(settings)]
        if problems:
            raise InvalidConfig(" ".join(problems + cautions))
        expires = token_expiry(values["access_token"])
        return cls(**values, token_expires_at=expires, cautions=(*cautions, *_expiry(expires)))

    def as_settings(self) -> dict[str, Any]:
        """Return the settings, normalised, without those that are empty."""
        values = {name: getattr(self, name) for name in connection_specification()["properties"]}
        return {name: [*value] if isinstance(value, tuple) else value for name, value in values.items() if value}

    @property
    def host(self) -> str:
        """The API's host and port."""
        return self.api_url.split("/")[2]

    @property
    def on_loopback(self) -> bool:
        """Whether the API is on this machine, as the sandbox is."""
        return re.sub(r":\d+\Z", "", self.host.lower()) in THIS_MACHINE

    @property
    def skips(self) -> bool:
        """Whether an organization that can't be read is skipped."""
        return self.failing_organizations == SKIP


def token_expiry(token: str) -> datetime | None:
    """Return when a token expires; ``None`` if it does not say. An ``exp`` of 0 means never."""
    try:
        payload = token.split(".")[1]
        ends = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
        return None if isinstance(ends, bool) or ends <= 0 else datetime.fromtimestamp(ends, timezone.utc)
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return None


def _expiry(ends: datetime | None) -> Iterator[str]:
    now = datetime.now(timezone.utc)
    if ends and ends < now:  # no error: this machine's clock may be wrong, and the API decides
        remedy = "Paste a new one if Ravan refuses it."
        yield f"{label('access_token')} expired on {in_words(ends)}, by this machine's clock. {remedy}"
    elif ends and ends < now + SOON:
        yield f"{label('access_token')} expires on {in_words(ends)}. Paste a new one before then."


def _unknown(settings: Mapping[str, Any]) -> Iterator[str]:
    known = connection_specification()["properties"]
    for name in settings:
        if name not in known and not name.startswith("__"):  # Airbyte's own settings begin with it
            close = difflib.get_close_matches(name.lower(), known, n=1)
            hint = f"; did you mean {label(close[0])}?" if close else ", which is ignored."
            yield f"Unknown setting {one_line(name, SHOWN_LENGTH)}{hint}"


def _typed(subject: str, value: Any, field: Mapping[str, Any]) -> Any:
    """Check a value against its part of the spec; ``subject`` names it."""
    if field["type"] == "array":
        if not isinstance(value, list):
            raise InvalidConfig(f"{subject} must be a list.")
        entries = [_typed(f"{subject} entry {n}", each, field["items"]) for n, each in enumerate(value, start=1)]
        return tuple(dict.fromkeys(entries))
    if field["type"] == "integer":
        least, most = field["minimum"], field["maximum"]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1 or not least <= value <= most:
            raise InvalidConfig(f"{subject} must be a whole number from {least} to {most}.")
        return int(value)
    if value not in field.get("enum", [value]):
        *others, last = field["enum"]
        hint = f"; {value} is a value of the status column" if value in NOT_FILTERS else ""
        raise InvalidConfig(f"{subject} can only be {', '.join(others)} or {last}{hint}.")
    if not isinstance(value, str) or LONE_SURROGATE.search(value):
        raise InvalidConfig(f"{subject} must be text.")
    if not re.search(field.get("pattern", ""), value):  # only the entries of org_ids have a pattern
        raise InvalidConfig(f"{subject} holds no organization ID.")
    return value.strip()


def _access_token(subject: str, value: str) -> str:
    token = _BEARER.sub("", value)
    if not _TOKEN.fullmatch(token):
        problem = "is incomplete, or holds a line break, a space or another character that a token never has"
        raise InvalidConfig(f"{subject} {problem}. Copy it again from Ravan, in one piece.")
    return token


def _org_ids(subject: str, entries: Iterable[str]) -> tuple[str, ...]:
    pieces = (piece.strip(_WRAPPING) for piece in _SEPARATORS.split(" ".join(entries)))
    org_ids = [piece for piece in pieces if piece]
    if any(org_id.startswith("eyJ") for org_id in org_ids):  # every JWT begins with this
        raise InvalidConfig(f"{subject} holds an access token, which belongs in {label('access_token')}.")
    if wrong := ", ".join(f"“{org_id}”" for org_id in org_ids if not _ORG_ID.fullmatch(org_id)):
        raise InvalidConfig(f"{subject} holds text that can't be an organization ID: {one_line(wrong, SHOWN_LENGTH)}.")
    spellings: dict[str, str] = {}
    for org_id in org_ids:
        if spellings.setdefault(org_id.lower(), org_id) != org_id:
            raise InvalidConfig(f"{subject} holds “{org_id}” twice, in upper and lower case. Remove one.")
    return tuple(spellings.values())


def _api_url(subject: str, value: str) -> str:
    url = value.rstrip("/")
    match = _API_URL.fullmatch(url)
    if not match or not _is_host(match[2]) or (match[1].lower() == "http" and match[2].lower() not in THIS_MACHINE):
        # The value is not shown: it may hold a password.
        raise InvalidConfig(f"{subject} must be an address like https://api.ravan.ai; http is only for this machine.")
    return url


def _is_host(host: str) -> bool:
    try:
        return not host.startswith("[") or bool(IPv6Address(host.strip("[]")))
    except ValueError:
        return False


_READERS = {"access_token": _access_token, "org_ids": _org_ids, "api_url": _api_url}


def read_file(path: str | Path, noun: str) -> bytes:
    """Read a file, or raise InvalidConfig about “the ``noun`` file”."""
    try:
        return Path(path).read_bytes()
    except PermissionError:
        reason = f"user ID {os.geteuid()}, the connector's, needs read permission"
    except OSError as error:
        reason = str(error.strerror)
    raise InvalidConfig(f"The {noun} file {path} can't be read: {reason}.")


def load(path: str | Path, noun: str = "configuration") -> Any:
    """Read a JSON file, or raise InvalidConfig, which shows none of its content."""
    content = read_file(path, noun)
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        # Before Python 3.13 the parser points to the position after a trailing comma.
        before = len(error.doc[: error.pos].rstrip().removesuffix(","))
        if comma := re.compile(r"\s*(,)\s*[}\]]").match(error.doc, before):
            error = json.JSONDecodeError("Trailing comma", error.doc, comma.start(1))
        mistake = f": {error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        mistake = " in UTF-8"
    raise InvalidConfig(f"The {noun} file {path} is not valid JSON{mistake}.")
