"""Airbyte source for the Cal.com appointments that Ravan.ai voice agents book."""
