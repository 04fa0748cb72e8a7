"""The domain: what this platform calls stale, and what is done about it."""
