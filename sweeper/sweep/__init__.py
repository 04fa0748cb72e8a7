"""The sweep: scans rules for due rows, enqueues one job for each, and runs a whole pass."""
