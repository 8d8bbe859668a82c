"""What was sent before, and so what is new: the state of the ``appointments`` stream and its cursor.

No field of the API says when a booking changed. So the state remembers, for each organization, a fingerprint of
every row that its windows held in the last sync that delivered it whole; a row whose fingerprint is not among
them is new or different, and is sent. A row that left the windows is forgotten, and sent once more if it comes
back; merging by primary key makes that harmless.

State::

    {"version": 2, "organizations": {"<org_id>": {
        "sent": "<base64 of the sorted fingerprints, 6 bytes each>",
        "synced_at": "<when its rows were read last, by the connector's clock>",
        "read_at": "<until when everything was seen, by the API's clock>",   # these three: coverage.Covered,
        "covered_from": "<…>" or null,                                       # where anything is claimed
        "statuses": ["<chosen windows>"]                                     # where any are
    }}}

A state of version 1 holds fingerprints of 9 bytes and nothing else. They count; coverage begins now.
"""

from __future__ import annotations

import base64
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from airbyte_cdk.models import AirbyteStateMessage, AirbyteStateType
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.message import MessageRepository
from airbyte_cdk.sources.streams import NO_CURSOR_STATE_KEY
from airbyte_cdk.sources.streams.concurrent.cursor import Cursor
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.types import Record

from source_ravan_calcom.answers import Row
from source_ravan_calcom.coverage import Covered
from source_ravan_calcom.rows import FINGERPRINT_BYTES, fingerprint, moment, utc_text

STATE_VERSION = 2
"""To be raised with any change of :func:`rows.fingerprint` or of the state's form."""

FINGERPRINT_BYTES_BY_VERSION: Mapping[Any, int] = {1: 9, STATE_VERSION: FINGERPRINT_BYTES}

STATES_PER_SYNC = 10
"""About how many states a sync prints that sends something everywhere. A state holds every organization, so a state
after each would make their total grow with the square of the number of organizations."""


@dataclass(frozen=True)
class Known:
    """What is remembered of one organization.

    Attributes:
        sent: The fingerprints of its rows, sorted, in base64: the form in which it is kept.
        synced_at: When they were read; ``None`` from a state of version 1.
        covered: What its coverage goes on from.
    """

    sent: str
    synced_at: datetime | None = None
    covered: Covered | None = None


class Delivery(ABC):
    """Which of an organization's rows are sent, and what is remembered of it."""

    def known(self, org_id: str) -> Known | None:
        """What earlier syncs left, or ``None``."""
        return None

    @abstractmethod
    def unsent(self, org_id: str, rows: list[Row]) -> list[Row]:
        """The rows to send now. Called once for each organization that was read whole."""

    def remember(self, org_id: str, synced_at: datetime, covered: Covered | None) -> None:
        """Keep this beside the rows of :meth:`unsent`, once they are on their way out."""
        return


class SendAll(Delivery):
    """Full refresh: every row, and nothing is remembered."""

    def unsent(self, org_id: str, rows: list[Row]) -> list[Row]:
        """All of them."""
        return rows


class SendNone(Delivery):
    """The stream is not selected: the accounts are read for what they show, and no booking is delivered."""

    def unsent(self, org_id: str, rows: list[Row]) -> list[Row]:
        """None of them."""
        return []


class ChangeCursor(Cursor, Delivery):
    """Remembers what each organization's rows looked like. Safe to use from many threads.

    Args:
        stream: Its name.
        org_ids: The organizations of this sync; the state of any other is dropped.
        known: What :func:`remembered` made of the stream's state.
        messages: Where state messages are put. It must keep their order with the records, because a state
            that is printed before its records would lose them when the process is killed in between.
    """

    def __init__(
        self, stream: str, org_ids: Sequence[str], known: Mapping[str, Known], messages: MessageRepository
    ) -> None:
        self._stream = stream
        self._messages = messages
        self._state_manager = ConnectorStateManager()
        self._lock = threading.Lock()
        self._every = -(-len(org_ids) // STATES_PER_SYNC)
        self._sent_since_state = 0
        self._is_state_due = True
        self._known = {org_id: known[org_id] for org_id in org_ids if org_id in known}
        self._read: dict[str, tuple[str, bool]] = {}
        self._staged: dict[str, tuple[Known, bool]] = {}

    @property
    def state(self) -> MutableMapping[str, Any]:
        """The state that is true now, for the organizations closed so far. A copy."""
        return {
            "version": STATE_VERSION,
            "organizations": {org_id: _encoded(known) for org_id, known in self._known.items()},
        }

    def known(self, org_id: str) -> Known | None:
        """What earlier syncs left, or ``None``."""
        return self._known.get(org_id)

    def unsent(self, org_id: str, rows: list[Row]) -> list[Row]:
        """The rows whose fingerprint is new."""
        known = self._known.get(org_id)
        sent = _unpacked(known.sent) if known else frozenset()
        marks = [fingerprint(row) for row in rows]
        unsent = [row for row, mark in zip(rows, marks, strict=True) if mark not in sent]
        self._read[org_id] = _packed(set(marks)), bool(unsent)
        return unsent

    def remember(self, org_id: str, synced_at: datetime, covered: Covered | None) -> None:
        """Keep this beside the rows of :meth:`unsent`, once they are on their way out."""
        packed, sends = self._read.pop(org_id)
        self._staged[org_id] = Known(packed, synced_at, covered), sends

    def observe(self, record: Record) -> None:
        """Nothing: a record counts only when its whole organization was delivered."""

    def close_partition(self, partition: Partition) -> None:
        """All of the organization's rows are on their way out: remember it, and print a state when due.

        An organization that this partition did not deliver keeps its old state.
        """
        slice_ = partition.to_slice()
        if not slice_ or not slice_["has_delivered"]:
            return
        with self._lock:
            org_id = slice_["org_id"]
            self._known[org_id], sends = self._staged.pop(org_id)
            self._is_state_due = True
            self._sent_since_state += sends
            if self._sent_since_state >= self._every:
                self._print_state()

    def ensure_at_least_one_state_emitted(self) -> None:
        """The last state of the sync, unless the last one printed already said it all."""
        with self._lock:
            if self._is_state_due:
                self._print_state()

    def should_be_synced(self, record: Record) -> bool:
        """Always: which rows are sent was decided before they became records."""
        return True

    def _print_state(self) -> None:
        # The copy in `state` matters: the message is serialized later, in another thread.
        self._state_manager.update_state_for_stream(self._stream, None, self.state)
        self._messages.emit_message(self._state_manager.create_state_message(self._stream, None))
        self._sent_since_state = 0
        self._is_state_due = False


_LAST = datetime.max.replace(tzinfo=timezone.utc) - timedelta(milliseconds=1)
"""After which no moment is left in the calendar."""

UNREADABLE = AirbyteStateType.LEGACY
"""The type of the state message that stands for a file which holds no state; no version of this connector writes it."""


def stream_states(state: Iterable[AirbyteStateMessage] | None) -> Mapping[str, Mapping[str, Any]]:
    """The saved state of each stream by its name.

    Raises:
        ValueError: It is none of this connector's, with what is wrong about it.
    """
    states: dict[str, Mapping[str, Any]] = {}
    for message in state or ():
        if message.type is not AirbyteStateType.STREAM or message.stream is None:
            kind = message.type.value if message.type else "without a type"
            seen = "it names no stream" if kind == AirbyteStateType.STREAM.value else f"it is {kind}, not STREAM"
            raise ValueError((message.data or {}).get("problem") or seen)
        if message.stream.stream_state is not None:
            states[message.stream.stream_descriptor.name] = vars(message.stream.stream_state)
    return states


def warn_not_understood(logger: logging.Logger, problem: str) -> None:
    """Say once that a saved state could not be used, and what that means."""
    logger.warning(
        f"The saved state was not understood ({problem}), so every booking is read and sent again. "
        "Nothing is lost; a destination that merges by primary key ends up the same."
    )


def remembered(stream_state: Mapping[str, Any]) -> Mapping[str, Known]:
    """What a saved state of the stream remembers, by organization.

    Raises:
        ValueError: It is not ours, with what is wrong about it.
    """
    if not stream_state or NO_CURSOR_STATE_KEY in stream_state:
        return {}  # a first sync, or the end of a full refresh: nothing is remembered
    version = stream_state.get("version")
    is_number = isinstance(version, (int, float)) and not isinstance(version, bool)
    if not is_number or version not in FINGERPRINT_BYTES_BY_VERSION:
        seen = f"version {version}" if isinstance(version, int) else "no version"
        raise ValueError(f"it has {seen}, this connector writes version {STATE_VERSION}")
    organizations = stream_state.get("organizations")
    if not isinstance(organizations, Mapping):
        raise ValueError("it holds no organizations")
    size = FINGERPRINT_BYTES_BY_VERSION[version]
    known: dict[str, Known] = {}
    for org_id, entry in organizations.items():
        try:
            known[org_id] = _decoded(entry if size == FINGERPRINT_BYTES else {"sent": _shortened(entry, size)})
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"its entry for organization {org_id} is damaged") from None
    return known


def later_than(floor: datetime | None, now: datetime) -> datetime:
    """Now, or just after what was said before: a clock may be set back, and a newer version must stay the newer."""
    return now if floor is None else max(now, min(floor, _LAST) + timedelta(milliseconds=1))


def _encoded(known: Known) -> dict[str, Any]:
    entry: dict[str, Any] = {"sent": known.sent}
    if known.synced_at:
        entry["synced_at"] = utc_text(known.synced_at)
    if known.covered:
        entry["read_at"] = utc_text(known.covered.read_at)
        entry["covered_from"] = utc_text(known.covered.covered_from) if known.covered.covered_from else None
        if known.covered.statuses:
            entry["statuses"] = list(known.covered.statuses)
    return entry


def _decoded(entry: Mapping[str, Any]) -> Known:
    if len(base64.b64decode(entry["sent"], validate=True)) % FINGERPRINT_BYTES:
        raise ValueError
    covered = None
    if "read_at" in entry:
        covered_from = entry["covered_from"]
        statuses = entry.get("statuses", [])
        if not all(isinstance(status, str) for status in statuses):
            raise ValueError
        covered = Covered(
            _point(entry["read_at"]), None if covered_from is None else _point(covered_from), tuple(statuses)
        )
    return Known(entry["sent"], _point(entry["synced_at"]) if "synced_at" in entry else None, covered)


def _point(text: Any) -> datetime:
    at = moment(text)
    if at is None:
        raise ValueError
    return at


def _shortened(packed: str, size: int) -> str:
    """Fingerprints of ``size`` bytes cut to ours: a shorter one is the beginning of a longer one."""
    return _packed(mark[:FINGERPRINT_BYTES] for mark in _unpacked(packed, size))


def _packed(marks: Iterable[bytes]) -> str:
    return base64.b64encode(b"".join(sorted(marks))).decode()


def _unpacked(packed: str, size: int = FINGERPRINT_BYTES) -> frozenset[bytes]:
    content = base64.b64decode(packed, validate=True)
    if len(content) % size:
        raise ValueError
    return frozenset(content[start : start + size] for start in range(0, len(content), size))
