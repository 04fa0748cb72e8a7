"""What the first page of the help says beside the commands, and the manual too: where to begin."""

from sweeper.cli.help.pages import Example

EXIT_CODES = {
    "0": "success",
    "1": "the command failed, or `audit` found a gap",
    "2": "something is typed wrongly, or does not exist",
    "3": "a job failed; it will be retried, or is a dead letter",
    "4": "stopped: too many rows due; nothing was queued",
    "69": "the database, or pgmq in it, cannot be used",
    "78": "the settings are not valid",
    "130, 143": "stopped by Ctrl-C, or by SIGTERM, after which `sweeper run` ends with 0",
}
"""What each exit code of the commands means; scripts rely on them."""

FIRST = (
    Example("sweeper demo", "A whole sweep on a database of its own; touches nothing of yours."),
    Example("sweeper doctor", "What is missing here, and what to type about it."),
    Example("sweeper sweep --dry-run", "What a sweep would do; changes nothing."),
    Example("sweeper status", "How things are now."),
)
"""What a newcomer types first."""

ENVIRONMENT = {
    "DATABASE_URL": "The platform's database: postgresql://USER:PASSWORD@HOST:PORT/NAME.",
    "DIRECT_URL": "The same past a pooler, with the owner's login, for `sweeper migrate`.",
    "SWEEPER_CONFIG": "The settings file, where --config names none.",
    "SWEEPER_SECTION__KEY": "Any setting: SWEEPER_QUEUE__BATCH=100 is batch in [queue].",
    "NO_COLOR": "Where it is set, nothing is coloured.",
}
"""The variables that the commands read."""

FILES = {
    "/etc/sweeper/sweeper.toml": "The settings; all have defaults but the database.",
    "/etc/sweeper/credentials/": "A file for each secret, such as database_url.",
    "/etc/systemd/system/sweeper.service": "The service.",
}
"""The files of an installation."""
