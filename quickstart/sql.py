"""``python -m quickstart.sql FILE [QUERY]``: run SQL on a DuckDB file, and print the results as tables.

Without a query, statements that end in a semicolon are read from standard input.
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
        The exit code: 0, or 1 if the file can't be opened or a query fails.
    """
    parser = argparse.ArgumentParser(prog="quickstart.sql", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("query", nargs="?", metavar="QUERY")
    arguments = parser.parse_args()
    if not arguments.file.exists():
        print(f"{arguments.file} does not exist. To create sandbox.duckdb: make sync", file=sys.stderr)
        return 1
    failed = False
    try:
        with duckdb.connect(str(arguments.file)) as connection:
            for statement in [arguments.query] if arguments.query else _typed():
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
    """Yield the statements from standard input, with a prompt on a terminal."""
    typing = sys.stdin.isatty()
    if typing:
        import readline  # noqa: F401, PLC0415  adds arrow keys and history to input()

        print("Tables: ravan_calcom.appointments, ravan_calcom.organizations. End a query with ; and exit with Ctrl-D.")
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
