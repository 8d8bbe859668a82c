"""A local sync into a DuckDB file by PyAirbyte."""
