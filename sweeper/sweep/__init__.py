"""The sweep: scan rules for due rows, enqueue one job for each, and process the jobs."""
