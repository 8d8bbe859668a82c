"""The source: the protocol's verbs, wired to the modules that implement them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

from airbyte_cdk.models import (
    AirbyteCatalog,
    AirbyteConnectionStatus,
    AirbyteMessage,
    AirbyteStateMessage,
    AirbyteStateMessageSerializer,
    AirbyteStateType,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteCatalogSerializer,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    FailureType,
    SyncMode,
)
from airbyte_cdk.sources import Source
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets

from source_ravan_calcom.check import Check
from source_ravan_calcom.config import Config, InvalidConfig, connection_specification, load
from source_ravan_calcom.ravan.failures import clean
from source_ravan_calcom.sync import PRIMARY_KEYS, Sync, catalog, warn_not_understood

NAME = "source-ravan-calcom"
ReadT = TypeVar("ReadT")


class SourceRavanCalcom(Source):
    """Reads the Cal.com appointments of Ravan organizations."""

    @property
    def name(self) -> str:
        """The connector's name, also its logger's."""
        return NAME

    def configure(self, config: Mapping[str, Any], temp_dir: str) -> Mapping[str, Any]:
        """Return the settings as the connector uses them, not written into ``temp_dir``: they hold the token.

        Raises:
            AirbyteTracedException: A config error that names every setting that can't be used.
        """
        parsed = _or_refused(Config.parse, config)
        # Keep unknown settings, so that each verb can warn about them.
        known = connection_specification()["properties"]
        return {**{name: value for name, value in config.items() if name not in known}, **parsed.as_settings()}

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        """Send one request to every organization, and report the organizations that can't be read."""
        return Check(_cautioned(config, logger), logger).status()

    def discover(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteCatalog:
        """Return the two streams; no request is needed for them."""
        _cautioned(config, logger)
        return AirbyteCatalog(streams=catalog())

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: list[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """Read every organization, then report how each was read.

        Raises:
            AirbyteTracedException: After all organizations that can be read, with a summary of the failures.
        """
        settings = _cautioned(config, logger)
        selected = _selected(catalog)
        if selected:
            yield from Sync(settings, selected, _stream_states(state, logger), logger).read()

    @classmethod
    def read_config(cls, config_path: str) -> MutableMapping[str, Any]:
        """Read the settings' file, or raise a config error that names the file and its mistake."""
        settings: MutableMapping[str, Any] = _or_refused(load, config_path, "configuration")
        return settings

    @classmethod
    def read_catalog(cls, catalog_path: str) -> ConfiguredAirbyteCatalog:
        """Read the configured catalog's file, or raise a config error that names the file and its mistake."""
        content = _or_refused(load, catalog_path, "catalog")
        try:
            return ConfiguredAirbyteCatalogSerializer.load(content)
        except Exception:  # the parser's errors have no common type
            problem = _catalog_problem(content)
        raise _refused(f"The catalog file {catalog_path} is not a configured catalog: {problem}.")

    @classmethod
    def read_state(cls, state_path: str) -> list[AirbyteStateMessage]:
        """Read the state's file. Content that is no state is reported, and everything is read again.

        Raises:
            AirbyteTracedException: The file can't be read.
        """
        if not state_path:
            return []
        try:
            content = load(state_path, "state")
            return [AirbyteStateMessageSerializer.load(each) for each in content or ()]
        except InvalidConfig as error:
            if isinstance(error.__context__, OSError):
                raise _refused(str(error)) from None
            problem = "it is not JSON"
        except Exception as error:  # the parser's errors have no common type
            problem = f"it is not a list of the protocol's states ({type(error).__name__})"
        warn_not_understood(logging.getLogger(f"airbyte.{NAME}"), problem)
        return []


def _refused(sentences: str) -> AirbyteTracedException:
    return AirbyteTracedException(message=sentences, internal_message=sentences, failure_type=FailureType.config_error)


def _or_refused(read: Callable[..., ReadT], *arguments: Any) -> ReadT:
    try:
        return read(*arguments)
    except InvalidConfig as error:
        raise _refused(str(error)) from None


def _cautioned(settings: Mapping[str, Any], logger: logging.Logger) -> Config:
    config = _or_refused(Config.parse, settings)
    # The CDK masks the value as configured, which may hold more than what is sent.
    add_to_secrets(config.access_token)
    for caution in config.cautions:
        logger.warning(caution)
    return config


def _selected(catalog: ConfiguredAirbyteCatalog) -> Mapping[str, ConfiguredAirbyteStream]:
    unknown = sorted({each.stream.name for each in catalog.streams} - PRIMARY_KEYS.keys())
    if unknown:
        raise _refused(
            f"The connection selects a stream that this source does not have: {clean(', '.join(unknown))}. "
            "Refresh the source schema in the connection."
        )
    return {each.stream.name: each for each in catalog.streams}


def _stream_states(state: list[AirbyteStateMessage] | None, logger: logging.Logger) -> Mapping[str, Mapping[str, Any]]:
    """The saved state of each stream by its name."""
    states: dict[str, Mapping[str, Any]] = {}
    for message in state or ():
        if message.type is not AirbyteStateType.STREAM or message.stream is None:
            kind = message.type.value if message.type else "without a type"
            found = "it names no stream" if message.type is AirbyteStateType.STREAM else f"it is {kind}, not STREAM"
            warn_not_understood(logger, found)
            return {}
        if message.stream.stream_state is not None:
            states[message.stream.stream_descriptor.name] = vars(message.stream.stream_state)
    return states


def _catalog_problem(content: Any) -> str:
    """Why a file is no configured catalog: the stream and its value, if possible."""
    fields = content if isinstance(content, dict) else {}
    streams = fields.get("streams")
    if "catalog" in fields or any("supported_sync_modes" in each for each in _objects(streams)):
        return (
            "it is what discover printed. A configured catalog says for each stream how it is synced; the README shows "
            "one"
        )
    if not isinstance(streams, list):
        return "it has no list of streams"
    modes = [mode.value for mode in SyncMode]
    for each in _objects(streams):
        stream = next(iter(_objects([each.get("stream")])), {})
        supported = stream.get("supported_sync_modes")
        given = [("sync_mode", each.get("sync_mode"), modes)]
        given += [
            ("destination_sync_mode", each.get("destination_sync_mode"), [mode.value for mode in DestinationSyncMode])
        ]
        given += [("supported_sync_modes", mode, modes) for mode in (supported if isinstance(supported, list) else [])]
        for field, value, known in given:
            if value not in known:
                name, shown = clean(str(stream.get("name"))), clean(repr(value))
                return f"{field} of stream {name} is {shown}, but can only be {' or '.join(known)}"
    return "a field is missing or has another type than the protocol's"


def _objects(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []
