"""Tables: what every list of a command looks like, at any width."""
