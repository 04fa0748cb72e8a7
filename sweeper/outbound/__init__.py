"""The outbound worker: calls providers under a rate limit and behind a circuit breaker."""
