"""The version of the installed distribution, whose name differs from the import package's."""

from importlib import metadata

DISTRIBUTION = "jastip-sweeper"  # another project owns the name `sweeper` on the public index


def version() -> str:
    """Return the version; "unknown" in a source tree that is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
