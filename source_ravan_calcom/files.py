"""The files of a call, refused in words where they can't be used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airbyte_cdk.utils import AirbyteTracedException

from source_ravan_calcom.ravan.failures import Failure


@contextmanager
def refused(what: str, path: str) -> Iterator[None]:
    """Refuse the file that is read inside, where it can't be.

    Args:
        what: ``configuration``, ``catalog`` or ``state``.
        path: Where it is.

    Raises:
        Failure: A config error that names the file and what is wrong with it.
    """
    try:
        yield
    except OSError as error:
        raise Failure(f"The {what} file {path} can't be read: {error.strerror or 'it failed'}.") from None
    except AirbyteTracedException:
        raise
    except Exception as error:  # the parsers' errors have no common type
        raise Failure(f"The {what} file {path} does not hold a valid {what}{_reason(error, what, path)}.") from None


def _reason(error: Exception, what: str, path: str) -> str:
    if what == "catalog" and _is_discovered(path):
        return (
            ": it is what discover printed. A configured catalog says for each stream how it is synced; the README "
            "shows one"
        )
    cause = error.__context__
    if isinstance(cause, json.JSONDecodeError):
        return f": line {cause.lineno}, column {cause.colno} is not JSON ({cause.msg})"
    return f" ({type(error).__name__})"


def _is_discovered(path: str) -> bool:
    with suppress(OSError, ValueError):
        text = Path(path).read_text(encoding="utf-8")
        return '"supported_sync_modes"' in text and '"sync_mode"' not in text
    return False
