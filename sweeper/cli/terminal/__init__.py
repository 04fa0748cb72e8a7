"""What people at a terminal are told: who failed, and how things are."""
