"""The queue: pgmq's statements, the wire format, dead letters, and what the queues hold."""
