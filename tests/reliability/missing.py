"""The error of a phase for which this machine lacks something."""


class MissingError(Exception):
    """What a phase needs is not on this machine."""
