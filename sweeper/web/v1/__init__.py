"""The HTTP API, version 1: addresses under /api/v1, which only gain keys and addresses."""
