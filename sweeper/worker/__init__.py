"""The worker: fetches messages, handles them in batches, and completes, retries or dead-letters."""
