"""The source: the protocol's verbs, wired to the endpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any, cast

from airbyte_cdk.models import (
    AirbyteCatalog,
    AirbyteConnectionStatus,
    AirbyteMessage,
    AirbyteStateMessage,
    AirbyteStreamStatus,
    AirbyteStreamStatusReason,
    AirbyteStreamStatusReasonType,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    Status,
    StreamDescriptor,
    SyncMode,
)
from airbyte_cdk.sources import Source
from airbyte_cdk.sources.concurrent_source.concurrent_source import ConcurrentSource
from airbyte_cdk.sources.concurrent_source.thread_pool_manager import ThreadPoolManager
from airbyte_cdk.sources.message import InMemoryMessageRepository
from airbyte_cdk.sources.message.concurrent_repository import ConcurrentMessageRepository
from airbyte_cdk.sources.streams.concurrent.cursor import Cursor, FinalStateCursor
from airbyte_cdk.sources.streams.concurrent.default_stream import DefaultStream
from airbyte_cdk.sources.streams.concurrent.partitions.types import QueueItem
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.stream_status_utils import as_airbyte_message as stream_status

from source_ravan_calcom import appointments, changes, files, logs, organizations
from source_ravan_calcom.api import PATIENT, AppointmentsApi
from source_ravan_calcom.appointments import Attempts, Organization, Sync
from source_ravan_calcom.backlog import Backlog
from source_ravan_calcom.bookings.memory import ChangeCursor, Delivery, SendAll, SendNone
from source_ravan_calcom.check import Check
from source_ravan_calcom.config import Config
from source_ravan_calcom.ravan.failures import Failure
from source_ravan_calcom.line import Line
from source_ravan_calcom.organizations import LastRead, Once, Results
from source_ravan_calcom.report import Policy, SyncReport
from source_ravan_calcom.bookings.windows import Reading

NAME = "source-ravan-calcom"

STREAMS = {appointments.STREAM: appointments.stream, organizations.STREAM: organizations.stream}


class SourceRavanCalcom(Source):
    """Reads the Cal.com appointments of Ravan organizations."""

    # The CDK's own check of the settings names no field; Config's does, and runs in every verb.
    check_config_against_spec = False

    @property
    def name(self) -> str:
        """The connector's name, also its logger's."""
        return NAME

    def configure(self, config: Mapping[str, Any], temp_dir: str) -> Mapping[str, Any]:
        """The settings as they are; the CDK would write them, token included, into a file."""
        return config

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        """Ask every organization for one row, and say in words what can't be read."""
        try:
            return Check(_settings(config, logger), logger).status()
        except Failure as failure:
            return AirbyteConnectionStatus(status=Status.FAILED, message=failure.message)

    def discover(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteCatalog:
        """The two streams; no request is needed for them."""
        _settings(config, logger)
        cursor = FinalStateCursor("", None, InMemoryMessageRepository())
        nothing = Once(cast("Any", None))
        return AirbyteCatalog(streams=[make(nothing, cursor, logger).as_airbyte_stream() for make in STREAMS.values()])

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: list[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """Read every organization, each alone, then say how each was read.

        Raises:
            Failure: After all that could be read was delivered, the summary of what could not.
        """
        settings = _settings(config, logger)
        selected = _selected(catalog)
        if selected:
            yield from _Reader(settings, selected, state, logger).read()

    @classmethod
    def read_config(cls, config_path: str) -> MutableMapping[str, Any]:
        """Read the settings' file, or refuse it in words."""
        with files.refused("configuration", config_path):
            return super().read_config(config_path)

    @classmethod
    def read_catalog(cls, catalog_path: str) -> ConfiguredAirbyteCatalog:
        """Read the configured catalog's file, or refuse it in words."""
        with files.refused("catalog", catalog_path):
            return super().read_catalog(catalog_path)

    @classmethod
    def read_state(cls, state_path: str) -> list[AirbyteStateMessage]:
        """Read the state's file; content that is no state of the protocol is handed on as not understood."""
        with files.refused("state", state_path):
            try:
                return super().read_state(state_path)
            except OSError:
                raise
            except Exception as error:  # whatever the file holds, the parser's errors have no common type
                return [AirbyteStateMessage(type=changes.UNREADABLE, data={"problem": type(error).__name__})]


class _Reader:
    """One ``read``: the streams that were selected, one after the other."""

    def __init__(
        self,
        settings: Config,
        selected: Mapping[str, ConfiguredAirbyteStream],
        state: list[AirbyteStateMessage] | None,
        logger: logging.Logger,
    ) -> None:
        self._settings = settings
        self._selected = selected
        self._logger = logger
        # Records and states go through one queue, so that no state overtakes the records it speaks of.
        self._backlog = Backlog()
        self._queue = cast("Queue[QueueItem]", self._backlog)
        self._messages = ConcurrentMessageRepository(self._queue, InMemoryMessageRepository())
        self._known, self._last_read = self._remembered(state)
        self._first = next(name for name in STREAMS if name in selected)
        self._delivery, self._cursor = self._bookings()
        self._line = Line(
            # Made one by one, and let go when they are done: each holds what it read.
            (Organization(org_id, reading=Reading(settings.statuses)) for org_id in settings.org_ids),
            PATIENT.repetition,
        )
        self._api = AppointmentsApi(settings, PATIENT, logger, self._say_limited)
        self._report = SyncReport(
            self._first,
            settings.org_ids,
            self._policy(),
            isinstance(self._delivery, SendAll),
            logger,
            self._messages.emit_message,
            self._stop,
        )

    def read(self) -> Iterator[AirbyteMessage]:
        """The messages of every selected stream; the closing error comes after all of them."""
        sync = Sync(
            self._first,
            self._settings,
            self._api,
            self._line,
            self._delivery,
            self._backlog,
            self._report,
            self._last_read.known,
            self._logger,
        )
        results = Results(self._settings.org_ids, self._report.outcomes, self._last_read.known)
        if self._first == organizations.STREAM:
            # The accounts are read for its rows alone.
            partitions = Attempts(sync, then=[results])
            yield from self._run(organizations.stream(partitions, self._result_cursor(), self._logger))
        else:
            yield from self._run(appointments.stream(Attempts(sync), self._cursor, self._logger))
            if organizations.STREAM in self._selected:
                yield from self._run(organizations.stream(Once(results), self._result_cursor(), self._logger))
        error = self._report.closing_error()
        if error:
            raise error

    def _run(self, stream: DefaultStream) -> Iterator[AirbyteMessage]:
        # One worker generates the partitions until the last organization is settled; the others read.
        workers = ThreadPoolExecutor(self._settings.num_workers + 1, thread_name_prefix="organization")
        # All partitions may wait at once: the engine's own limit would hang where more than 10,000 do.
        limit = 2 * len(self._settings.org_ids) + self._settings.num_workers + 2
        engine = ConcurrentSource(
            threadpool=ThreadPoolManager(workers, self._logger, max_concurrent_tasks=limit),
            logger=self._logger,
            message_repository=self._messages,
            queue=self._queue,
        )
        try:
            yield from engine.read([stream])
        except AirbyteTracedException:
            if not self._report.closing_error():
                raise

    def _remembered(self, state: list[AirbyteStateMessage] | None) -> tuple[Mapping[str, changes.Known], LastRead]:
        known: Mapping[str, changes.Known] = {}
        streams: Mapping[str, Mapping[str, Any]] = {}
        try:
            streams = changes.stream_states(state)
            known = changes.remembered(streams.get(appointments.STREAM, {}))
        except ValueError as error:
            changes.warn_not_understood(self._logger, str(error))
        last_read = dict(organizations.remembered(streams.get(organizations.STREAM, {})))
        for org_id, each in known.items():
            if each.synced_at:  # the later one: a stream that was not selected for a while has an old state
                last_read[org_id] = max(each.synced_at, last_read.get(org_id, each.synced_at))
        kept = {org_id: last_read[org_id] for org_id in self._settings.org_ids if org_id in last_read}
        return known, LastRead(kept, self._messages)

    def _bookings(self) -> tuple[Delivery, Cursor]:
        """What is done with bookings, and the cursor of their stream."""
        stream = self._selected.get(appointments.STREAM)
        final = FinalStateCursor(appointments.STREAM, None, self._messages)
        if stream is None:
            return SendNone(), final
        if stream.sync_mode is SyncMode.full_refresh:
            return SendAll(), final
        cursor = ChangeCursor(appointments.STREAM, self._settings.org_ids, self._known, self._messages)
        return cursor, cursor

    def _result_cursor(self) -> Cursor:
        if self._selected[organizations.STREAM].sync_mode is SyncMode.full_refresh:
            return FinalStateCursor(organizations.STREAM, None, self._messages)
        return self._last_read

    def _policy(self) -> Policy:
        stream = self._selected.get(appointments.STREAM)
        return Policy(skips=self._settings.skips, overwrites=stream is not None and _overwrites(stream))

    def _stop(self) -> None:
        self._line.close()
        self._api.close()

    def _say_limited(self) -> None:
        reason = AirbyteStreamStatusReason(type=AirbyteStreamStatusReasonType.RATE_LIMITED)
        status = stream_status(StreamDescriptor(name=self._first), AirbyteStreamStatus.RUNNING, [reason])
        self._messages.emit_message(status)


def _settings(config: Mapping[str, Any], logger: logging.Logger) -> Config:
    logs.install()
    settings = Config.parse(config)
    for caution in settings.cautions:
        logger.warning(caution)
    return settings


def _selected(catalog: ConfiguredAirbyteCatalog) -> Mapping[str, ConfiguredAirbyteStream]:
    unknown = sorted({each.stream.name for each in catalog.streams} - STREAMS.keys())
    if unknown:
        raise Failure(
            f"The connection asks for a stream that this source does not have: {', '.join(unknown)}. "
            "Refresh the source schema in the connection."
        )
    return {each.stream.name: each for each in catalog.streams}


def _overwrites(stream: ConfiguredAirbyteStream) -> bool:
    """Whether the destination replaces its table with what this sync delivers.

    A refresh that removes what was there raises the least generation that is kept to the current one. PyAirbyte asks
    for both in every catalog, and merges what an incremental sync sends; the platform offers no incremental sync that
    overwrites.
    """
    if stream.destination_sync_mode is DestinationSyncMode.overwrite:
        return stream.sync_mode is SyncMode.full_refresh
    return bool(stream.minimum_generation_id) and stream.minimum_generation_id == stream.generation_id
