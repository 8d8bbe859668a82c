"""``python -m quickstart.sql FILE [QUERY]``: run SQL on a DuckDB file, and print the results as tables.

Without a query, statements are read from standard input, each up to its semicolon.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb


def main() -> int:
    """Parse the command line and run the queries.

    Returns:
        The exit code: 0, or 1 when the file can't be opened or the query that was given fails.
    """
    parser = argparse.ArgumentParser(prog="quickstart.sql", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("query", nargs="?", metavar="QUERY")
    asked = parser.parse_args()
    if not asked.file.exists():
        print(f"There is no file {asked.file}; make sync makes sandbox.duckdb.", file=sys.stderr)
        return 1
    failed = False
    try:
        with duckdb.connect(str(asked.file)) as connection:
            for statement in [asked.query] if asked.query else _typed():
                failed = not _run(connection, statement) or failed
    except duckdb.Error as error:
        print(error, file=sys.stderr)
        return 1
    return int(failed)


def _run(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    try:
        result = connection.sql(statement)
        if result is not None:
            print(result)
    except duckdb.Error as error:
        print(error, file=sys.stderr)
        return False
    return True


def _typed() -> Iterator[str]:
    """The statements on standard input, with a prompt where a person types them."""
    typing = sys.stdin.isatty()
    if typing:
        import readline  # noqa: F401, PLC0415  gives input() arrow keys and history

        print(
            "Tables: ravan_calcom.appointments, ravan_calcom.organizations. End a query with ; and leave with Ctrl-D."
        )
    lines: list[str] = []
    while True:
        try:
            lines.append(input(("sql> " if not lines else "...> ") if typing else ""))
        except EOFError:
            break
        except KeyboardInterrupt:
            print()
            break
        if lines[-1].rstrip().endswith(";"):
            yield "\n".join(lines)
            lines = []
    if "".join(lines).strip():
        yield "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
