"""Benchmarks of the connector's speed and coverage. See README.md in this directory."""
