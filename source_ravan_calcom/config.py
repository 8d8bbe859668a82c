"""The settings: read from a file, validated, normalised. Without the CDK, whose import takes seconds."""

from __future__ import annotations

import base64
import difflib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache, partial
from pathlib import Path
from typing import Any

FAIL, SKIP = "fail", "skip"  # of Failing Organizations
SOON = timedelta(days=7)  # so long before a token expires, a caution says so
SHOWN_LENGTH = 60  # characters of a refused value that are repeated

# Every default that API URL has had, the current one last. Airbyte stores the default in each source: append a new one
# here when spec.json gets it, and sources that store an earlier one use the new one.
API_URLS = ("https://api.ravan.ai",)
# The hosts that requests reach unencrypted and without a proxy; the last two lead out of a container.
THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]", "host.docker.internal", "host.containers.internal")
NOT_FILTERS = ("accepted", "pending", "rejected", "awaiting_host")  # values of the status column

_API_URL = re.compile(r"(https?)://([\w.-]+|\[[\da-f:.]+])(:\d{1,5})?(/[^\s?#]*)?", re.IGNORECASE)
_BEARER = re.compile(r"\ABearer(?:\s+|\Z)", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750; no encoder of logs rewrites it, so it is always masked
_JWT_BEGINS = "eyJ"
# Lists of IDs are pasted from sheets, JSON and mails, with invisible spaces, quotes and brackets.
_SEPARATORS = re.compile(r"[\s,;\u200b\u2060\ufeff]+")
_WRAPPING = "\"'`“”„‘’‚«»‹›[](){}<>"  # noqa: RUF001
_ORG_ID = re.compile(r"(?=.*[A-Za-z0-9])[\w.:~@|+-]*[\w~@|+-]", re.ASCII)
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class InvalidConfig(ValueError):
    """Settings or a file that can't be used; the text is complete sentences for a person, without secret values."""


@cache
def connection_specification() -> Mapping[str, Any]:
    """Return the JSON schema of the settings, as ``spec`` prints it."""
    specification: dict[str, Mapping[str, Any]] = json.loads(Path(__file__).with_name("spec.json").read_bytes())
    return specification["connectionSpecification"]


def title(name: str) -> str:
    """Return a setting's title, as the UI shows it: ``Organization IDs``."""
    return str(connection_specification()["properties"][name]["title"])


def label(name: str) -> str:
    """Return a setting's title and key, as sentences name it: ``Organization IDs (org_ids)``."""
    return f"{title(name)} ({name})"


def in_words(at: datetime) -> str:
    """Format a point in time for a sentence."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d at %H:%M:%S} UTC"


def one_line(text: str, length: int) -> str:
    """Put foreign text on one line, without control characters, cut to ``length`` characters."""
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
    token_expires_at: datetime | None = None  # None where the token does not say
    cautions: tuple[str, ...] = ()  # sentences about settings that can be used but are probably mistakes

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Config:
        """Validate and normalise the user's settings, or raise InvalidConfig with a sentence for each problem."""
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
                values[name] = None if value is None else _READERS[name](label(name), value, field)
            except InvalidConfig as error:
                problems.append(str(error))
        cautions = [*_unknown(settings)]
        if problems:
            raise InvalidConfig(" ".join((*problems, *cautions)))
        expires = token_expiry(values["access_token"])
        return cls(**values, token_expires_at=expires, cautions=(*cautions, *_expiry(expires)))

    def as_settings(self) -> dict[str, Any]:
        """Return the settings that were parsed, normalised, without those that are empty."""
        values = {name: getattr(self, name) for name in _READERS}
        return {name: [*value] if isinstance(value, tuple) else value for name, value in values.items() if value}

    @property
    def host(self) -> str:
        """The API's host and port, for messages."""
        return self.api_url.split("/")[2]

    @property
    def on_loopback(self) -> bool:
        """Whether the API is on this machine, as the sandbox is."""
        return re.sub(r":\d+\Z", "", self.host.lower()) in THIS_MACHINE

    @property
    def skips(self) -> bool:
        """Whether an organization that can't be read is skipped instead of failing the sync."""
        return self.failing_organizations == SKIP


def token_expiry(token: str) -> datetime | None:
    """Return when a token expires, or ``None`` where it does not say: an ``exp`` of 0 is none, as in Go's libraries."""
    try:
        payload = token.split(".")[1]
        ends = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
        return None if isinstance(ends, bool) or ends <= 0 else datetime.fromtimestamp(ends, timezone.utc)
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return None


def _expiry(ends: datetime | None) -> Iterator[str]:
    now = datetime.now(timezone.utc)
    if ends and ends < now:  # not refused: this machine's clock may be wrong, and the API decides
        yield (
            f"{label('access_token')} expired on {in_words(ends)}, by this machine's clock. "
            "Paste a new token into it if Ravan refuses this one."
        )
    elif ends and ends < now + SOON:
        yield f"{label('access_token')} expires on {in_words(ends)}. Paste a new token into it before then."


def _unknown(settings: Mapping[str, Any]) -> Iterator[str]:
    known = list(connection_specification()["properties"])
    for name in settings:
        if name not in known and not name.startswith("__"):  # Airbyte's own begin so
            close = difflib.get_close_matches(name.lower(), known, n=1)
            hint = f"; did you mean {label(close[0])}?" if close else ", which is ignored."
            yield f"Unknown setting {one_line(name, SHOWN_LENGTH)}{hint}"


# A reader takes the subject of its sentences, a value, and the part of the spec that describes the value.
# It returns the value as the connector uses it, or raises InvalidConfig.
Field = Mapping[str, Any]
Reader = Callable[[str, Any, Field], Any]


def _refused(subject: str, value: Any, problem: str) -> InvalidConfig:
    showable = isinstance(value, (str, int, float)) and _JWT_BEGINS not in str(value)
    shown = f" is “{one_line(str(value), SHOWN_LENGTH)}”, but" if showable else ""
    return InvalidConfig(f"{subject}{shown} {problem}.")


def _text(subject: str, value: Any, field: Field) -> str:
    if not isinstance(value, str):
        raise _refused(subject, None if field.get("airbyte_secret") else value, "must be a text")
    return value.strip()


def _whole_number(subject: str, value: Any, field: Field) -> int:
    least, most = field["minimum"], field["maximum"]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value % 1 or not least <= value <= most:
        raise _refused(subject, value, f"must be a whole number from {least} to {most}")
    return int(value)


def _choice(subject: str, value: Any, field: Field) -> str:
    *others, last = field["enum"]
    if value not in field["enum"]:
        hint = f"; {value} is a value of the status column" if value in NOT_FILTERS else ""
        raise _refused(subject, value, f"can only be {', '.join(others)} or {last}{hint}")
    return str(value)


def _list(subject: str, values: Any, field: Field, read: Reader) -> tuple[Any, ...]:
    if not isinstance(values, list):
        raise _refused(subject, values, "must be a list")
    taken, problems = [], []
    for number, value in enumerate(values, start=1):
        try:
            taken.append(read(f"{subject} entry {number}", value, field["items"]))
        except InvalidConfig as error:
            problems.append(str(error))
    if problems:
        raise InvalidConfig(" ".join(problems))
    return tuple(dict.fromkeys(taken))


def _access_token(subject: str, value: Any, field: Field) -> str:
    token = _BEARER.sub("", _text(subject, value, field))
    if not _TOKEN.fullmatch(token):
        raise InvalidConfig(
            f"{subject} is incomplete, or holds a line break, a space or another character that a token never has. "
            "Copy it again from Ravan, in one piece."
        )
    return token


def _org_ids(subject: str, value: Any, field: Field) -> tuple[str, ...]:
    spellings: dict[str, str] = {}
    for org_id in (org_id for entry in _list(subject, value, field, _org_ids_in) for org_id in entry):
        if spellings.setdefault(org_id.lower(), org_id) != org_id:
            raise InvalidConfig(f"{subject} holds “{org_id}” twice, in upper and lower case. Remove one.")
    return tuple(spellings.values())


def _org_ids_in(subject: str, value: Any, field: Field) -> tuple[str, ...]:
    pieces = _SEPARATORS.split(_text(subject, value, field))
    org_ids = tuple(filter(None, (piece.strip(_WRAPPING) for piece in pieces)))
    if not org_ids:
        raise InvalidConfig(f"{subject} holds no organization ID.")
    if any(org_id.startswith(_JWT_BEGINS) for org_id in org_ids):
        raise InvalidConfig(f"{subject} holds an access token, which belongs in {label('access_token')}.")
    wrong = ", ".join(f"“{org_id}”" for org_id in org_ids if not _ORG_ID.fullmatch(org_id))
    if wrong:
        raise InvalidConfig(f"{subject} holds text that can't be an organization ID: {one_line(wrong, SHOWN_LENGTH)}.")
    return org_ids


def _api_url(subject: str, value: Any, field: Field) -> str:
    url = _text(subject, value, field).rstrip("/")
    match = _API_URL.fullmatch(url)
    if not match or (match[1].lower() == "http" and match[2].lower() not in THIS_MACHINE):
        # The value is not shown: it may hold a password.
        raise InvalidConfig(f"{subject} must be an address like {field['default']}; http is only for this machine.")
    return str(field["default"]) if url in API_URLS else url


_READERS: Mapping[str, Reader] = {
    "access_token": _access_token,
    "org_ids": _org_ids,
    "statuses": partial(_list, read=_choice),
    "agent_id": _text,
    "failing_organizations": _choice,
    "num_workers": _whole_number,
    "api_url": _api_url,
}


def load(path: str | Path, noun: str = "configuration") -> Any:
    """Read a JSON file, or raise InvalidConfig, which names it “the ``noun`` file” and repeats nothing of it."""
    file = f"The {noun} file {path}"
    try:
        content = Path(path).read_bytes()
        return json.loads(content.decode(json.detect_encoding(content)))
    except OSError as error:
        denied = isinstance(error, PermissionError)
        reason = f"user ID {os.geteuid()}, the connector's, needs read permission" if denied else error.strerror
        raise InvalidConfig(f"{file} can't be read: {reason}.") from None
    except json.JSONDecodeError as error:
        at, mistake = _json_mistake(error.doc, error.pos, error.msg)
        line, column = error.doc.count("\n", 0, at) + 1, at - error.doc.rfind("\n", 0, at)
        raise InvalidConfig(f"{file} is not valid JSON at line {line}, column {column}: {mistake}.") from None
    except (ValueError, RecursionError):
        raise InvalidConfig(f"{file} is not valid JSON in UTF-8.") from None


_MISSING = "a comma or a bracket is missing here"
_JSON_MISTAKES = (  # the parser's message, the text at its position, and what a person is told; the first that matches
    ("", r"\s*\Z", "the file ends here, too early"),
    ("", r"['‘’“”„`]", 'text stands in straight double quotes (")'),  # noqa: RUF001
    ("", r"//|/\*|#", "JSON has no comments, remove this one"),
    ("Expecting ','", "", _MISSING),
    ("Expecting ':'", "", "a colon is missing here"),
    ("Expecting", "", "a name or a value is expected here; text stands in double quotes"),
    ("Invalid control|Unterminated", "", "text needs a closing quote on the same line, and can't hold a tab"),
    ("Extra data", "", "the file must end here, remove the rest"),
    ("", "", "the JSON is damaged here"),
)


def _json_mistake(text: str, at: int, message: str) -> tuple[int, str]:
    """Return where a mistake is, and what it is. The parser points behind a wrong or a missing comma."""
    before = len(text[:at].rstrip())
    comma = at if text.startswith(",", at) else max(before - 1, 0)
    if re.match(r",\s*[}\]]", text[comma:]):
        return comma, "remove this comma, nothing follows it"
    mistake = next(row[2] for row in _JSON_MISTAKES if re.match(row[0], message) and re.match(row[1], text[at:]))
    return (before if mistake is _MISSING else at), mistake
