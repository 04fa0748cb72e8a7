"""The service: its supervisor, loops, scheduler and heartbeat."""
