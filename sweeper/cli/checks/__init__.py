"""What `sweeper doctor` finds, and its checks of the login."""
