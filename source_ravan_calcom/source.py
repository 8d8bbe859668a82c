"""The source: the protocol's verbs, wired to the modules that implement them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from airbyte_cdk import models
from airbyte_cdk.sources import Source
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets

from source_ravan_calcom.check import check
from source_ravan_calcom.config import Config, InvalidConfig, connection_specification, load, read_file
from source_ravan_calcom.ravan.failures import clean
from source_ravan_calcom.sync import PRIMARY_KEYS, Sync, catalog, warn_not_understood

NAME = "source-ravan-calcom"
ReadT = TypeVar("ReadT")


class SourceRavanCalcom(Source):
    """Reads the Cal.com appointments of Ravan organizations."""

    @property
    def name(self) -> str:
        """The connector's and its logger's name."""
        return NAME

    def configure(self, config: Mapping[str, Any], temp_dir: str) -> Mapping[str, Any]:
        """Return the settings, normalised; they are not written to a file, because they hold the token."""
        parsed = _or_refused(Config.parse, config)
        # Keep unknown settings, so that each verb can warn about them.
        known = connection_specification()["properties"]
        return {**{name: value for name, value in config.items() if name not in known}, **parsed.as_settings()}

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> models.AirbyteConnectionStatus:
        """Send requests for every organization, and report those that can't be read."""
        return check(_cautioned(config, logger), logger)

    def discover(self, logger: logging.Logger, config: Mapping[str, Any]) -> models.AirbyteCatalog:
        """Return the two streams."""
        _cautioned(config, logger)
        return models.AirbyteCatalog(streams=catalog())

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: models.ConfiguredAirbyteCatalog,
        state: list[models.AirbyteStateMessage] | None = None,
    ) -> Iterator[models.AirbyteMessage]:
        """Read every organization that can be read, then raise a summary of the failures."""
        settings = _cautioned(config, logger)
        if selected := _selected(catalog):
            yield from Sync(settings, selected, _stream_states(state, logger), logger).read()

    @classmethod
    def read_config(cls, config_path: str) -> Any:
        """Read the settings file."""
        return _or_refused(load, config_path, "configuration")

    @classmethod
    def read_catalog(cls, catalog_path: str) -> models.ConfiguredAirbyteCatalog:
        """Read the catalog file."""
        content = _or_refused(load, catalog_path, "catalog")
        try:
            return models.ConfiguredAirbyteCatalogSerializer.load(content)
        except Exception as error:  # the parser's errors have no common type
            problem = clean(str(error).removeprefix("Schema validation failed:\n- "))  # names the field
        fields = content if isinstance(content, dict) else {}
        if "catalog" in fields or '"stream" is a required property' in problem:
            problem = "it is what discover printed. See examples/catalog.json for one that says how to sync each stream"
        elif not isinstance(fields.get("streams"), list):
            problem = "it has no list of streams"
        raise _refused(f"The catalog file {catalog_path} is not a configured catalog: {problem}.")

    @classmethod
    def read_state(cls, state_path: str) -> list[models.AirbyteStateMessage]:
        """Read the state file. Without a valid state, warn and return an empty list."""
        content = _or_refused(read_file, state_path, "state") if state_path else b"[]"
        try:
            return [models.AirbyteStateMessageSerializer.load(each) for each in json.loads(content) or ()]
        except Exception as error:  # the parsers' errors have no common type
            problem = f"it is not a list of the protocol's states ({type(error).__name__})"
            warn_not_understood(logging.getLogger(f"airbyte.{NAME}"), problem)
            return []


def _refused(sentences: str) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=sentences, internal_message=sentences, failure_type=models.FailureType.config_error
    )


def _or_refused(read: Callable[..., ReadT], *arguments: Any) -> ReadT:
    try:
        return read(*arguments)
    except InvalidConfig as error:
        raise _refused(str(error)) from None


def _cautioned(settings: Mapping[str, Any], logger: logging.Logger) -> Config:
    config = _or_refused(Config.parse, settings)
    # The CDK masks only the value as configured, which may begin with “Bearer”.
    add_to_secrets(config.access_token)
    for caution in config.cautions:
        logger.warning(caution)
    return config


def _selected(catalog: models.ConfiguredAirbyteCatalog) -> Mapping[str, models.ConfiguredAirbyteStream]:
    unknown = sorted({each.stream.name for each in catalog.streams} - PRIMARY_KEYS.keys())
    if unknown:
        raise _refused(
            f"The connection selects a stream that this source does not have: {clean(', '.join(unknown))}. "
            "Refresh the source schema in the connection."
        )
    return {each.stream.name: each for each in catalog.streams}


def _stream_states(
    state: list[models.AirbyteStateMessage] | None, logger: logging.Logger
) -> Mapping[str, Mapping[str, Any]]:
    states: dict[str, Mapping[str, Any]] = {}
    for message in state or ():
        if message.stream is None:
            warn_not_understood(logger, "it names no stream")
            return {}
        if message.stream.stream_state is not None:
            states[message.stream.stream_descriptor.name] = vars(message.stream.stream_state)
    return states
