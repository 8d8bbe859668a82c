"""Ravan's ``GET /api/v1/calcom/appointments``: one request → the rows of one window, or a named failure.

The CDK's ``HttpClient`` sends, waits and tries again; this module says what an answer means (with the tables of
:mod:`source_ravan_calcom.errors`) and how patient to be.
"""

from __future__ import annotations

import logging
import random
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any

import orjson
import requests
import urllib3.exceptions
from airbyte_cdk.sources.streams.http import HttpClient
from airbyte_cdk.sources.streams.http.error_handlers import (
    BackoffStrategy,
    ErrorHandler,
    ErrorResolution,
    ResponseAction,
)
from airbyte_cdk.sources.streams.http.requests_native_auth import TokenAuthenticator
from airbyte_cdk.utils import AirbyteTracedException
from requests.adapters import HTTPAdapter

from source_ravan_calcom import errors
from source_ravan_calcom.config import Config
from source_ravan_calcom.errors import Failure, Kind

PATH = "/api/v1/calcom/appointments"

MAX_LIMIT = 200
"""The most rows an answer can hold; the contract turns a larger ``limit`` into 50."""

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Far above what 200 rows need; an endless answer must not fill the memory."""

_CHUNK_BYTES = 256 * 1024

Row = dict[str, Any]


@dataclass(frozen=True)
class Patience:
    """How long to wait for an answer and how often to ask again. All times are in seconds.

    Attributes:
        connect: For the connection to be made.
        silence: For the next byte of an answer.
        answer: For the whole answer, however steadily it drips.
        retries: How often a request is repeated.
        first_wait: Before the first repetition; each further one waits twice as long, with jitter.
        first_wait_rate_limited: The same after a 429 that names no time. Cal.com counts requests by the
            minute, so all waits together outlast one.
        longest_wait: The most that one wait takes, whatever Retry-After asks for.
        total: After which no request is repeated any more.
    """

    connect: float
    silence: float
    answer: float
    retries: int
    first_wait: float
    first_wait_rate_limited: float
    longest_wait: float
    total: int


PATIENT = Patience(
    connect=10,
    silence=30,
    answer=45,
    retries=4,
    first_wait=1,
    first_wait_rate_limited=6,
    longest_wait=60,
    total=120,
)
"""For ``read``: nobody waits at a screen, and a passing fault should cost only time."""

IMPATIENT = Patience(
    connect=5,
    silence=10,
    answer=12,
    retries=1,
    first_wait=1,
    first_wait_rate_limited=1,
    longest_wait=3,
    total=20,
)
"""For ``check``: a person waits for it, a dozen dead organizations included."""


class AccessToken(TokenAuthenticator):
    """Signs every attempt, until Ravan refuses the token: then no further request leaves."""

    def __init__(self, token: str) -> None:
        super().__init__(token=token)
        self._refusal: Failure | None = None
        self._lock = threading.Lock()

    def __call__(self, request: Any) -> Any:
        if self._refusal:
            raise self._refusal
        return super().__call__(request)

    def refuse(self, failure: Failure) -> Failure:
        """Remember the first refusal and return it: one sentence for the whole sync."""
        with self._lock:
            self._refusal = self._refusal or failure
            return self._refusal


class _Session(requests.Session):
    """A session that takes a redirect for an answer, and does not even look where it points."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class AppointmentsApi:
    """The endpoint, for one token. Safe to use from many threads.

    Args:
        config: The user's settings.
        patience: How long to wait and how often to ask again.
        logger: Told about every repetition, and about rows that do not add up.
    """

    def __init__(self, config: Config, patience: Patience, logger: logging.Logger) -> None:
        self._config = config
        self._patience = patience
        self._logger = logger
        self._token = AccessToken(config.access_token)
        self._session = _Session()
        self._session.auth = self._token
        self._session.headers["User-Agent"] = "source-ravan-calcom"
        # A proxy from the environment must not see a token that is meant for this machine.
        self._session.trust_env = not config.on_loopback
        adapter = HTTPAdapter(pool_maxsize=config.num_workers)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def rows(self, org_id: str, status: str | None = None, limit: int = MAX_LIMIT) -> list[Row]:
        """Ask once for the rows of one window, repeating as patiently as this API was made to.

        Args:
            org_id: The organization whose bookings are asked for.
            status: One of Cal.com's filters, or ``None`` for an unfiltered request.
            limit: At most this many rows, 1 to 200.

        Returns:
            The rows as Ravan sent them, in its order.

        Raises:
            Failure: The kind and the sentence of what went wrong, after the last repetition.
        """
        exchange = _Exchange(self._config, self._patience, self._logger, org_id)
        # A client of its own for each exchange: it carries the organization that its errors are about.
        # The connections are the session's, and shared.
        client = HttpClient(
            name=errors.STREAM,
            logger=self._logger,
            error_handler=exchange,
            backoff_strategy=exchange,
            session=self._session,
            request_timeout=(self._patience.connect, self._patience.silence),
        )
        params = {"org_id": org_id, "limit": str(limit)}
        if status:
            params["status"] = status
        if self._config.agent_id:
            params["agent_id"] = self._config.agent_id
        failure = None
        try:
            client.send_request(
                "GET",
                self._config.api_url + PATH,
                params=params,
                # Streamed, so that the exchange bounds the answer, and so that no debug log shows its body.
                request_kwargs={"allow_redirects": False, "stream": True},
            )
        except AirbyteTracedException as error:
            failure = error if isinstance(error, Failure) else exchange.failure
            if failure is None:
                raise
        if failure is None:
            return exchange.rows
        raise self._token.refuse(failure) if failure.kind.stops_sync else failure


class _Exchange(ErrorHandler, BackoffStrategy):
    """One request and its repetitions: judges each answer and keeps the rows or the last failure."""

    def __init__(self, config: Config, patience: Patience, logger: logging.Logger, org_id: str) -> None:
        self._config = config
        self._patience = patience
        self._logger = logger
        self._org_id = org_id
        self._tries = 0
        self._seen = ""
        self.rows: list[Row] = []
        self.failure: Failure | None = None

    @property
    def max_retries(self) -> int:
        return self._patience.retries

    @property
    def max_time(self) -> int:
        return self._patience.total

    def interpret_response(self, response: requests.Response | Exception | None) -> ErrorResolution:
        """Read the answer into ``rows``, or say whether to ask again.

        Raises:
            Failure: Where asking again can't help. Raised here rather than left to the client, which would
                log the body of the answer.
        """
        self._tries += 1
        try:
            if isinstance(response, requests.Response):
                self.rows = self._rows(response)
                return ErrorResolution(ResponseAction.SUCCESS)
            raise self._unreachable(response or ConnectionError())
        except Failure as failure:
            self.failure = failure
        if self.failure.kind.action is ResponseAction.FAIL:
            raise self.failure
        return ErrorResolution(self.failure.kind.action, self.failure.failure_type, self.failure.message)

    def backoff_time(
        self, response_or_exception: requests.Response | requests.RequestException | None, attempt_count: int
    ) -> float:
        """Seconds until the request is repeated: what Retry-After asks for, else exponential with jitter."""
        wait = _retry_after(response_or_exception)
        if wait is None:
            limited = self.failure is not None and self.failure.kind is errors.RATE_LIMITED
            first = self._patience.first_wait_rate_limited if limited else self._patience.first_wait
            wait = first * 2 ** (attempt_count - 1) * random.uniform(0.75, 1.25)  # noqa: S311
        wait = min(wait, self._patience.longest_wait)
        if attempt_count <= self._patience.retries:
            self._logger.info(
                f"Organization {self._org_id}: {self._seen}. "
                f"Asking again in {max(wait, 1):.0f} s (try {attempt_count + 1} of {self.max_retries + 1})."
            )
        # The client waits one second more than it is told, and takes zero for "no answer".
        return max(wait - 1, 0.001)

    def _rows(self, response: requests.Response) -> list[Row]:
        try:
            with closing(response):
                content = self._content(response)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            body = None
        kind, self._seen, said = errors.judge(response.status_code, body)
        if kind:
            raise self._failed(kind, said=said)
        if body is None:
            raise self._failed(errors.NOT_JSON, _kind_of_text(content))
        return self._checked_rows(body)

    def _content(self, response: requests.Response) -> bytearray:
        deadline = monotonic() + self._patience.answer
        content = bytearray()
        # read1 returns what has arrived, where read would wait for a full chunk however slowly it drips.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            content += chunk
            if monotonic() > deadline:
                raise TimeoutError
            if len(content) > MAX_BODY_BYTES:
                self._seen = f"HTTP {response.status_code}"
                raise self._failed(errors.WRONG_SHAPE, f"it is larger than {MAX_BODY_BYTES >> 20} MB")
        return content

    def _checked_rows(self, body: Any) -> list[Row]:
        if not isinstance(body, dict):
            raise self._misshapen("it", body, "an object")
        data = body.get("data")
        if not isinstance(data, dict):
            raise self._misshapen("“data”", data, "an object", missing="data" not in body)
        echo = data.get("org_id")
        if echo not in (None, "") and not self._is_own(echo):
            raise self._failed(errors.OTHER_TENANT, "the bookings of another organization")
        rows = data.get("appointments")
        if rows is None and "appointments" in data:
            rows = []
        if not isinstance(rows, list):
            raise self._misshapen("“appointments”", rows, "a list", missing="appointments" not in data)
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, dict):
                raise self._misshapen(f"row {number}", row, "an object")
            owner = row.get("organization_id")
            if owner != self._org_id and owner not in (None, "") and not self._is_own(owner):
                raise self._failed(errors.OTHER_TENANT, f"a booking of another organization in row {number}")
        count = data.get("count")
        if count is not None and count != len(rows):
            self._logger.warning(
                f"Organization {self._org_id}: Ravan returned {len(rows)} rows but counts "
                f"{count if isinstance(count, int) else 'something else'}. The rows returned are delivered."
            )
        return rows

    def _is_own(self, org_id: Any) -> bool:
        # Organization IDs are UUIDs in every documented example, and the case of a UUID carries nothing.
        return isinstance(org_id, str) and org_id.strip().lower() == self._org_id.lower()

    def _misshapen(self, name: str, value: Any, expected: str, missing: bool = False) -> Failure:
        seen = "missing" if missing else f"{_JSON_NAMES[type(value)]}, not {expected}"
        return self._failed(errors.WRONG_SHAPE, f"{name} is {seen}")

    def _unreachable(self, error: Exception) -> Failure:
        self._seen = errors.connection_words(error)
        return self._failed(errors.UNREACHABLE, self._seen, internal=f"{type(error).__name__}: {error}")

    def _failed(self, kind: Kind, detail: str = "", said: str = "", internal: str = "") -> Failure:
        if kind is errors.TOKEN_REFUSED:
            detail = errors.token_expiry(self._config.access_token)
        sentence = kind.sentence.format(
            org_id=self._org_id,
            code=self._seen,
            detail=detail,
            host=self._config.host,
            tries="once" if self._tries == 1 else f"{self._tries} times",
            said=errors.quoted(said),
        )
        facts = f"{kind.name}: {self._seen}; GET {PATH}, organization {self._org_id}, try {self._tries}"
        if internal:
            facts += f"; {errors.clean(internal, errors.MESSAGE_LENGTH)}"
        return Failure(kind, sentence, facts, self._org_id)


_JSON_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def _kind_of_text(content: bytearray) -> str:
    start = content[:256].lstrip().lower()
    if not start:
        return "the body is empty"
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page"
    if start.startswith((b"{", b"[")):
        return "it is cut short or broken JSON"
    return "it is some other text"


def _retry_after(answer: object) -> float | None:
    """Seconds that an answer's Retry-After asks to wait, given as seconds or as a date; never negative."""
    value = answer.headers.get("Retry-After", "").strip() if isinstance(answer, requests.Response) else ""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        if at.tzinfo is None:
            at = at.replace(tzinfo=timezone.utc)
        seconds = (at - datetime.now(timezone.utc)).total_seconds()
    return max(seconds, 0.0) if seconds == seconds else None  # noqa: PLR0124  NaN is no time
