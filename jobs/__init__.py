"""The job package of this platform: its job types, its rules, and what they share."""
