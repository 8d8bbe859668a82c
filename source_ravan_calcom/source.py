"""The source: the protocol's verbs, wired to the endpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue
from typing import Any, cast

from airbyte_cdk.models import (
    AirbyteCatalog,
    AirbyteConnectionStatus,
    AirbyteMessage,
    AirbyteStateMessage,
    ConfiguredAirbyteCatalog,
    Status,
    SyncMode,
    TraceType,
    Type,
)
from airbyte_cdk.sources import Source
from airbyte_cdk.sources.concurrent_source.concurrent_source import ConcurrentSource
from airbyte_cdk.sources.concurrent_source.thread_pool_manager import ThreadPoolManager
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.message import InMemoryMessageRepository
from airbyte_cdk.sources.message.concurrent_repository import ConcurrentMessageRepository
from airbyte_cdk.sources.streams.concurrent.cursor import Cursor, FinalStateCursor
from airbyte_cdk.sources.streams.concurrent.partitions.types import QueueItem
from airbyte_cdk.utils import AirbyteTracedException

from source_ravan_calcom import appointments, logs
from source_ravan_calcom.api import IMPATIENT, PATIENT, AppointmentsApi
from source_ravan_calcom.appointments import Organization
from source_ravan_calcom.backlog import Backlog
from source_ravan_calcom.changes import ChangeCursor, warn_not_understood
from source_ravan_calcom.config import Config
from source_ravan_calcom.errors import STREAM, Failure, refused_setting
from source_ravan_calcom.report import SyncReport


class SourceRavanCalcom(Source):
    """Reads the Cal.com appointments of Ravan organizations."""

    # The CDK's own check of the settings names no field; Config's does, and runs in every verb.
    check_config_against_spec = False

    @property
    def name(self) -> str:
        """The connector's name, also its logger's."""
        return "source-ravan-calcom"

    def configure(self, config: Mapping[str, Any], temp_dir: str) -> Mapping[str, Any]:
        """The settings as they are; the CDK would write them, token included, into a file."""
        return config

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        """Ask every organization for one row; one line for each that can't be read, as ``read`` would say it."""
        logs.install()
        try:
            settings = Config.parse(config)
        except Failure as failure:
            return AirbyteConnectionStatus(status=Status.FAILED, message=failure.message)
        api = AppointmentsApi(settings, IMPATIENT, logger)

        def refusal(org_id: str) -> str | None:
            try:
                for status in settings.statuses or (None,):
                    api.rows(org_id, status, limit=1)
            except Failure as failure:
                return failure.message
            return None

        with ThreadPoolExecutor(max_workers=settings.num_workers) as pool:
            refusals = [sentence for sentence in pool.map(refusal, settings.org_ids) if sentence]
        if refusals:
            # A refused token is the same sentence for every organization.
            return AirbyteConnectionStatus(status=Status.FAILED, message="\n".join(dict.fromkeys(refusals)))
        return AirbyteConnectionStatus(status=Status.SUCCEEDED)

    def discover(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteCatalog:
        """The one stream there is."""
        Config.parse(config)
        cursor = FinalStateCursor(STREAM, None, InMemoryMessageRepository())
        return AirbyteCatalog(streams=[appointments.stream([], cursor, logger).as_airbyte_stream()])

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: list[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """Read every organization, each alone.

        Raises:
            Failure: After all that could be read was delivered, the summary of what could not.
        """
        logs.install()
        settings = Config.parse(config)
        mode = _sync_mode(catalog)
        if mode is None:
            return
        # Records and states go through one queue, so that no state overtakes the records it speaks of.
        backlog = Backlog()
        queue = cast("Queue[QueueItem]", backlog)
        messages = ConcurrentMessageRepository(queue, InMemoryMessageRepository())
        cursor: Cursor = FinalStateCursor(STREAM, None, messages)
        if mode is SyncMode.incremental:
            manager = _state_manager(state, logger)
            cursor = ChangeCursor(settings.org_ids, manager.get_stream_state(STREAM, None), manager, messages, logger)
        report = SyncReport(logger, len(settings.org_ids))
        api = AppointmentsApi(settings, PATIENT, logger)
        # Made one by one, and let go when they are done: a partition holds what it read.
        partitions = (
            Organization(org_id, settings.statuses, api, cursor, backlog, report, logger) for org_id in settings.org_ids
        )
        # The worker that generates the partitions is done with it at once and reads then, so that no more requests
        # are under way than the user allows; with a single one, all partitions must be allowed to wait.
        workers = ThreadPoolExecutor(max_workers=settings.num_workers, thread_name_prefix="organization")
        engine = ConcurrentSource(
            threadpool=ThreadPoolManager(workers, logger, max_concurrent_tasks=len(settings.org_ids) + 2),
            logger=logger,
            message_repository=messages,
            queue=queue,
        )
        try:
            for message in engine.read([appointments.stream(partitions, cursor, logger)]):
                # What stopped the whole sync is said once, as its closing error.
                if message.type is not Type.TRACE or not _is_said_at_the_end(message, report):
                    yield message
        except AirbyteTracedException:
            failure = report.summary()
            if failure is None:
                raise
            report.say_totals()
            raise failure from None
        report.say_totals()

    @classmethod
    def read_config(cls, config_path: str) -> MutableMapping[str, Any]:
        """Read the settings' file, or refuse it in words."""
        with _in_words("configuration", config_path):
            return super().read_config(config_path)

    @classmethod
    def read_catalog(cls, catalog_path: str) -> ConfiguredAirbyteCatalog:
        """Read the configured catalog's file, or refuse it in words."""
        with _in_words("catalog", catalog_path):
            return super().read_catalog(catalog_path)

    @classmethod
    def read_state(cls, state_path: str) -> list[AirbyteStateMessage]:
        """Read the state's file; content that is no state of the protocol is as good as none."""
        with _in_words("state", state_path):
            try:
                return super().read_state(state_path)
            except OSError:
                raise
            except Exception as error:  # whatever the file holds, the parser's errors have no common type
                warn_not_understood(logging.getLogger(logs.LOGGER_NAMES[-1]), type(error).__name__)
                return []


def _sync_mode(catalog: ConfiguredAirbyteCatalog) -> SyncMode | None:
    unknown = sorted({each.stream.name for each in catalog.streams} - {STREAM})
    if unknown:
        raise refused_setting(
            f"The connection asks for a stream that this source does not have: {', '.join(unknown)}. "
            "Refresh the source schema in the connection."
        )
    return next((each.sync_mode for each in catalog.streams), None)


def _state_manager(state: list[AirbyteStateMessage] | None, logger: logging.Logger) -> ConnectorStateManager:
    try:
        return ConnectorStateManager(state)
    except (ValueError, AttributeError) as error:
        warn_not_understood(logger, type(error).__name__)
        return ConnectorStateManager()


def _is_said_at_the_end(message: AirbyteMessage, report: SyncReport) -> bool:
    trace, stopped_by = message.trace, report.stopped_by
    if not (trace and trace.type is TraceType.ERROR and trace.error and stopped_by):
        return False
    return bool(trace.error.message == stopped_by.message)


@contextmanager
def _in_words(what: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refused_setting(f"The {what} file {path} can't be read: {error.strerror or 'it failed'}.") from None
    except AirbyteTracedException:
        raise
    except Exception as error:  # the parsers' errors have no common type
        raise refused_setting(
            f"The {what} file {path} does not hold a valid {what} ({type(error).__name__})."
        ) from None
