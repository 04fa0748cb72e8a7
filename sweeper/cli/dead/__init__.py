"""`sweeper dead`: its commands, and the options that they share."""
