"""Monitoring: the status, the backlog, the audit, health, statistics and metrics."""
