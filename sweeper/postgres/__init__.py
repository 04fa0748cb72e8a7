"""Postgres: connections and transactions, URLs, errors, the clock, and an embedded server."""
