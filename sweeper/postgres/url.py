"""Database URLs as the platform writes them, with Prisma's own parameters."""

from urllib.parse import parse_qsl, unquote

from psycopg.pq import Conninfo
from sqlalchemy import URL

from sweeper.errors import SettingsError

_LIBPQ = frozenset(known.keyword.decode() for known in Conninfo.get_defaults()) - {"options"}


def parse_url(url: str) -> tuple[URL, str | None, bool]:
    """Return *url* as SQLAlchemy's URL, the schema that it names, and whether it is a pooler's.

    Prisma's parameters are applied or dropped; a password may contain any character.
    Raises SettingsError, without the password, for a URL that is not valid.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        message = "database.url is not a Postgres URL, which begins with postgresql://"
        raise SettingsError(message)
    credentials, _, place = rest.rpartition("@")
    location, _, query = place.partition("?")
    address, _, name = location.partition("/")
    user, _, password = credentials.partition(":")
    host, port = _host_and_port(address)
    options = dict(parse_qsl(query))
    parameters = {key: value for key, value in options.items() if key in _LIBPQ}
    made = URL.create(
        "postgresql+psycopg",
        unquote(user) or None,
        unquote(password) or None,
        host,
        port,
        unquote(name) or None,
        parameters,
    )
    pooled = options.get("pgbouncer") == "true" or port == 6543  # noqa: PLR2004 -- Supabase's pooler
    return made, options.get("schema"), pooled


def _host_and_port(address: str) -> tuple[str | None, int | None]:
    host, separator, port = unquote(address).rpartition(":")
    if not separator or port.endswith("]"):
        return unquote(address).strip("[]") or None, None
    if not port.isdigit():
        message = "database.url names a port that is not a number"
        raise SettingsError(message)
    return host.strip("[]") or None, int(port)
