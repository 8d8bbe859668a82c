"""Ravan's appointments endpoint: requests, rate limit, responses, failures. Knows nothing of streams or state."""
