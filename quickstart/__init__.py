"""A local sync into a DuckDB file, through PyAirbyte."""
