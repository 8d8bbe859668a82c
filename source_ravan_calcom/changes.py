"""The incremental cursor: what was sent before, and so what is new.

No field of the API says when a booking changed. So the state remembers, for each organization, a fingerprint of
every row that its windows held in the last sync that delivered it whole; a row whose fingerprint is not among
them is new or different, and is sent. A row that left the windows is forgotten, and sent once more if it comes
back; merging by primary key makes that harmless.

State::

    {"version": 1, "organizations": {"<org_id>": "<base64 of the sorted fingerprints, 9 bytes each>"}}

A fingerprint is 72 bits of BLAKE2b over the row's fields in a fixed order, 12 characters in the state. A changed row
is taken for an unchanged one only if it meets one of the organization's at most 1,200 fingerprints by chance: less
than 3 in 10^19.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol, cast

import orjson
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.message import MessageRepository
from airbyte_cdk.sources.streams import NO_CURSOR_STATE_KEY
from airbyte_cdk.sources.streams.concurrent.cursor import Cursor
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.types import Record

from source_ravan_calcom.api import Row
from source_ravan_calcom.errors import STREAM

STATE_VERSION = 1
"""To be raised with any change of :func:`fingerprint` or of the state's form."""

FINGERPRINT_BYTES = 9

STATES_PER_SYNC = 10
"""About how many states one sync prints. A state holds every organization, so a state after each would make their
total grow with the square of the number of organizations."""


def fingerprint(row: Row) -> bytes:
    """9 bytes that change when any field of the row does, whatever the order of its fields."""
    content = orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
    return blake2b(content, digest_size=FINGERPRINT_BYTES).digest()


class _Delivery(Protocol):
    """What the cursor wants to know of a partition that was closed."""

    org_id: str
    fingerprints: Iterable[bytes] | None


class ChangeCursor(Cursor):
    """Remembers what each organization's rows looked like. Safe to use from many threads.

    Args:
        org_ids: The organizations of this sync; the state of any other is dropped.
        stream_state: The stream's state from the last sync, as the platform kept it.
        state_manager: Makes the state messages.
        messages: Where state messages are put. It must keep their order with the records, because a state
            that is printed before its records would lose them when the process is killed in between.
        logger: Told once about a state that is not understood.
    """

    def __init__(
        self,
        org_ids: Sequence[str],
        stream_state: Mapping[str, Any],
        state_manager: ConnectorStateManager,
        messages: MessageRepository,
        logger: logging.Logger,
    ) -> None:
        self._state_manager = state_manager
        self._messages = messages
        self._lock = threading.Lock()
        self._every = -(-len(org_ids) // STATES_PER_SYNC) or 1
        self._closed_since_state = 0
        self._is_state_due = True
        try:
            sent = _decoded(stream_state)
        except ValueError as error:
            warn_not_understood(logger, str(error))
            sent = {}
        self._sent = {org_id: sent[org_id] for org_id in org_ids if org_id in sent}

    @property
    def state(self) -> MutableMapping[str, Any]:
        """The state that is true now, for the organizations closed so far. A copy."""
        return {"version": STATE_VERSION, "organizations": dict(self._sent)}

    def sent(self, org_id: str) -> frozenset[bytes]:
        """The fingerprints of the organization's rows that were sent before."""
        packed = base64.b64decode(self._sent.get(org_id, ""))
        return frozenset(
            packed[start : start + FINGERPRINT_BYTES] for start in range(0, len(packed), FINGERPRINT_BYTES)
        )

    def observe(self, record: Record) -> None:
        """Nothing: a record counts only when its whole organization was delivered."""

    def close_partition(self, partition: Partition) -> None:
        """All of the organization's rows are on their way out: remember them, and print a state when due.

        A partition without fingerprints was given up, and its organization keeps its old state.
        """
        delivery = cast("_Delivery", partition)
        if delivery.fingerprints is None:
            return
        with self._lock:
            packed = b"".join(sorted(delivery.fingerprints))
            self._sent[delivery.org_id] = base64.b64encode(packed).decode()
            self._closed_since_state += 1
            self._is_state_due = True
            if self._closed_since_state >= self._every:
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
        self._state_manager.update_state_for_stream(STREAM, None, self.state)
        self._messages.emit_message(self._state_manager.create_state_message(STREAM, None))
        self._closed_since_state = 0
        self._is_state_due = False


def warn_not_understood(logger: logging.Logger, problem: str) -> None:
    """Say once that a saved state could not be used, and what that means."""
    logger.warning(
        f"The saved state was not understood ({problem}), so every booking is read and sent again. "
        "Nothing is lost; a destination that merges by primary key ends up the same."
    )


def _decoded(stream_state: Mapping[str, Any]) -> Mapping[str, str]:
    """Check a saved state.

    Raises:
        ValueError: It is not ours, with what is wrong about it.
    """
    if not stream_state or NO_CURSOR_STATE_KEY in stream_state:
        return {}  # a first sync, or the end of a full refresh: nothing is remembered
    version = stream_state.get("version")
    if version != STATE_VERSION:
        seen = f"version {version}" if isinstance(version, int) else "no version"
        raise ValueError(f"it has {seen}, this connector writes version {STATE_VERSION}")
    organizations = stream_state.get("organizations")
    if not isinstance(organizations, Mapping):
        raise ValueError("it holds no organizations")
    for org_id, packed in organizations.items():
        try:
            whole = len(base64.b64decode(packed, validate=True)) % FINGERPRINT_BYTES == 0
        except (binascii.Error, TypeError, ValueError):
            whole = False
        if not whole:
            raise ValueError(f"its entry for organization {org_id} is damaged")
    return organizations
