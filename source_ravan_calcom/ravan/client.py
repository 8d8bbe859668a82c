"""Ravan's ``GET /api/v1/calcom/appointments``: one request → the rows of one window, or a failure in words.

What an answer means stands in :mod:`source_ravan_calcom.ravan.responses`, how an exchange is bounded in ``transport``, when
requests may leave in ``pace``, and who asks again in ``line``. The CDK's ``HttpClient`` sends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from time import monotonic

import requests
from airbyte_cdk.sources.streams.http import HttpClient
from airbyte_cdk.sources.streams.http.error_handlers import ErrorHandler, ErrorResolution, ResponseAction
from airbyte_cdk.sources.streams.http.requests_native_auth import TokenAuthenticator

from source_ravan_calcom import answers, errors, transport
from source_ravan_calcom.ravan.responses import Problem, Row
from source_ravan_calcom.config import Config, in_words
from source_ravan_calcom.ravan.failures import Facts, OrganizationFailure
from source_ravan_calcom.line import Repetition, Waiting
from source_ravan_calcom.ravan.throttle import Pace
from source_ravan_calcom.bookings.windows import MAX_LIMIT

PATH = "/api/v1/calcom/appointments"

_YEAR = 365 * 24 * 60 * 60.0


@dataclass(frozen=True)
class Patience:
    """How long to wait for an answer and how often to ask again. All times are in seconds.

    Attributes:
        connect: For the connection to be made.
        silence: For the next byte of an answer.
        answer: For the whole answer, its headers included, however steadily it drips.
        limited: Without any request getting through a rate limit, until the sync gives up.
        repetition: Of a request that failed.
        whole: For all organizations together; ``None`` where there is no hurry.
    """

    connect: float
    silence: float
    answer: float
    limited: float
    repetition: Repetition
    whole: float | None = None


PATIENT = Patience(
    connect=10,
    silence=30,
    answer=45,
    limited=300,
    repetition=Repetition(retries=4, first_wait=1, longest_wait=60, total=120),
)
"""For ``read``: nobody waits at a screen, and a passing fault should cost only time."""

IMPATIENT = Patience(
    connect=5,
    silence=10,
    answer=12,
    limited=40,
    repetition=Repetition(retries=1, first_wait=1, longest_wait=3, total=20),
    whole=45,
)
"""For ``check``: a person waits for it. With the last answer it takes less than a minute."""


@dataclass(frozen=True)
class Answer:
    """The rows of one window.

    Attributes:
        rows: As Ravan sent them, in its order.
        at: The API's time when it answered, from the answer's ``Date``; the connector's own where there is none.
        began: The API's time before the request was sent.
    """

    rows: list[Row]
    at: datetime
    began: datetime


class _Once(ErrorHandler):
    """The client sends once and judges nothing: it would wait in the thread, and log the body of an answer."""

    max_retries = 0
    max_time = None

    def interpret_response(self, response: requests.Response | Exception | None) -> ErrorResolution:
        if isinstance(response, Exception):
            raise response
        return ErrorResolution(ResponseAction.SUCCESS)


class AppointmentsApi:
    """The endpoint, for one token. Safe to use from many threads.

    Args:
        config: The user's settings.
        patience: How long to wait.
        logger: Told about pauses, and about rows that do not add up.
        on_pause: Called when a rate limit pauses all requests.
    """

    def __init__(
        self, config: Config, patience: Patience, logger: logging.Logger, on_pause: Callable[[], None] = lambda: None
    ) -> None:
        self._config = config
        self._patience = patience
        self._logger = logger
        self._pace = Pace(config.num_workers, logger, on_pause)
        self._until = monotonic() + patience.whole if patience.whole else None
        # A proxy from the environment must not see a token that is meant for this machine.
        session = transport.Session(config.num_workers, patience.answer, trusts_environment=not config.on_loopback)
        session.headers["User-Agent"] = "source-ravan-calcom"
        session.auth = TokenAuthenticator(config.access_token)
        transport.mask_proxy_passwords(config.api_url)
        self._session = session
        self._repaired: set[str] = set()

    @property
    def retries(self) -> int:
        """How often a request that failed is sent again."""
        return self._patience.repetition.retries

    def close(self) -> None:
        """Let no request leave any more, and whoever waits for it go."""
        self._pace.close()

    def ask(self, organization: Waiting, status: str | None = None, limit: int = MAX_LIMIT) -> Answer:
        """Ask once for the rows of one window, when it is time for a request to leave.

        Args:
            organization: Whose bookings are asked for; its requests are counted.
            status: One of Cal.com's filters, or ``None`` for an unfiltered request.
            limit: At most this many rows, 1 to 200.

        Raises:
            OrganizationFailure: The kind and the sentence of what went wrong.
        """
        facts = Facts(organization.org_id, host=self._config.host, tries=organization.tries + 1)
        left_at = self._pace.turn(self._until)
        if left_at is None:
            too_late = replace(facts, code="HTTP 429", detail="its turn did not come in time")
            raise OrganizationFailure(errors.RATE_LIMITED, too_late)
        organization.requests += 1
        clock = datetime.now(timezone.utc)
        try:
            response = self._send(organization.org_id, status, limit)
            answer = answers.read(response.status_code, response.content, organization.org_id)
            if isinstance(answer, Problem):
                raise self._failure(answer, facts, response, left_at)
            self._pace.succeeded(left_at)
        except transport.AnswerTooLarge as error:
            raise OrganizationFailure(errors.WRONG_SHAPE, replace(facts, code=error.code, detail=str(error))) from None
        except requests.RequestException as error:
            words, internal = transport.words(error), f"{type(error).__name__}: {error}"
            raise OrganizationFailure(errors.UNREACHABLE, replace(facts, detail=words, internal=internal)) from None
        finally:
            self._pace.ended(left_at)
        organization.answered()
        self._mention(answer, organization.org_id)
        at, elapsed = _date(response), timedelta(seconds=monotonic() - left_at)
        # The header counts whole seconds, rounded down, so the difference errs on the early side.
        return Answer(answer.rows, at or datetime.now(timezone.utc), at - elapsed if at else clock)

    def _send(self, org_id: str, status: str | None, limit: int) -> requests.Response:
        params = {"org_id": org_id, "limit": str(limit)}
        if status:
            params["status"] = status
        if self._config.agent_id:
            params["agent_id"] = self._config.agent_id
        # A client of its own for each request: it remembers those that failed.
        client = HttpClient(
            name="appointments",
            logger=self._logger,
            error_handler=_Once(),
            session=self._session,
            request_timeout=(self._patience.connect, self._patience.silence),
        )
        # Streamed for the client, which shows the bodies of all others in its debug log.
        url, streamed = self._config.api_url + PATH, {"stream": True}
        return client.send_request("GET", url, params=params, request_kwargs=streamed)[1]

    def _failure(
        self, problem: Problem, facts: Facts, response: requests.Response, left_at: float
    ) -> OrganizationFailure:
        kind, detail, ask_again = problem.kind, problem.detail, problem.kind.ask_again
        expires = self._config.token_expires_at
        if kind is errors.RATE_LIMITED:
            detail, ask_again = self._limited(response, left_at)
        else:
            self._pace.succeeded(left_at)
        if kind is errors.TOKEN_REFUSED and expires and expires < datetime.now(timezone.utc):
            kind, detail = errors.TOKEN_EXPIRED, in_words(expires)
        facts = replace(facts, code=problem.code, detail=detail, said=problem.said)
        return OrganizationFailure(kind, facts, ask_again=ask_again)

    def _limited(self, response: requests.Response, left_at: float) -> tuple[str, bool]:
        """Pause for a 429; returns the words for giving up, and whether to ask again instead."""
        retry_after = _retry_after(response)
        since = self._pace.refused(left_at, retry_after)
        if retry_after and retry_after > self._patience.limited:
            until = datetime.now(timezone.utc) + timedelta(seconds=retry_after)
            return f"it asks to wait until {in_words(until)}", False
        if since > self._patience.limited:
            return f"no request got through for {since / 60:.0f} minutes", False
        return "the limit was reached", True

    def _mention(self, answer: answers.Rows, org_id: str) -> None:
        if answer.count is not None and answer.count != len(answer.rows):
            counts = answer.count if isinstance(answer.count, int) else "something else"
            self._logger.warning(
                f"Organization {org_id}: Ravan returned {len(answer.rows)} rows but counts {counts}. "
                "The rows returned are delivered."
            )
        if answer.repaired and org_id not in self._repaired:
            self._repaired.add(org_id)
            self._logger.warning(
                f"Organization {org_id}: a text held half a character. It is delivered with � in its place."
            )


def _date(response: requests.Response) -> datetime | None:
    """The API's time, from the answer's ``Date`` header."""
    return _http_date(response.headers.get("Date", ""))


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that an answer's Retry-After asks to wait, as a number or a date: none below 0, a year at most."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        at = _http_date(value)
        if at is None:
            return None
        # Both times are by the API's clock, where it tells its own.
        seconds = (at - (_date(response) or datetime.now(timezone.utc))).total_seconds()
    return min(max(seconds, 0.0), _YEAR) if seconds == seconds else None  # noqa: PLR0124  NaN is no time


def _http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
