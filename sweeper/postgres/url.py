"""Database URLs as the platform writes them, with Prisma's own parameters."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo
from sqlalchemy import URL

from sweeper.errors import SettingsError

_KNOWN = Conninfo.get_defaults()
_LIBPQ = frozenset(known.keyword.decode() for known in _KNOWN) - {"options"}
SECRET = frozenset(known.keyword.decode() for known in _KNOWN if known.dispchar == b"*")
"""The parameters that libpq holds for secrets: password, sslpassword and others."""

_DEFAULT_PORT, _SUPABASE_POOLER = 5432, 6543
_PARAMETERS = re.compile(r"[a-z_][\w.-]*=[^&]*(&[a-z_][\w.-]*=[^&]*)*", re.IGNORECASE)


def parse_url(url: str) -> tuple[URL, str | None, bool]:
    """Return *url* as SQLAlchemy's URL, the schema that it names, and whether it is a pooler's.

    Prisma's parameters are applied or dropped; a password may contain any character. Several hosts
    with commas between them are tried in turn, as libpq does.
    Raises SettingsError, without the password, for a URL that is not valid.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        message = "database.url must begin with postgresql://"
        raise SettingsError(message)
    if any(_is_ambiguous(*reading) for reading in _places(rest)):
        message = "database.url has an @ after its ?\nwrite it as %40, also in a password"
        raise SettingsError(message)
    credentials, _, place = rest.rpartition("@")
    location, _, query = place.partition("?")
    address, _, name = location.partition("/")
    user, _, password = credentials.partition(":")
    if re.search("[/?#]", user):
        message = "database.url has / or ? or # in the user's name\nwrite them as %2F, %3F and %23"
        raise SettingsError(message)
    servers = [_host_and_port(one) for one in address.split(",")]
    host, port = servers[0] if len(servers) == 1 else (None, None)
    options = dict(parse_qsl(query))
    parameters = {key: value for key, value in options.items() if key in _LIBPQ}
    if len(servers) > 1:
        parameters["host"] = ",".join(host or "" for host, _ in servers)
        parameters["port"] = ",".join(str(port or _DEFAULT_PORT) for _, port in servers)
    made = URL.create(
        "postgresql+psycopg",
        unquote(user) or None,
        unquote(password) or None,
        host,
        port,
        unquote(name) or None,
        parameters,
    )
    ports = {port for _, port in servers}
    pooled = options.get("pgbouncer") == "true" or _SUPABASE_POOLER in ports
    return made, options.get("schema"), pooled


def _host_and_port(address: str) -> tuple[str | None, int | None]:
    host, separator, port = unquote(address).rpartition(":")
    if not separator or port.endswith("]"):
        return unquote(address).strip("[]") or None, None
    if not re.fullmatch("[0-9]{1,5}", port):
        message = "database.url names a port that is not a number"
        raise SettingsError(message)
    return host.strip("[]") or None, int(port)


def _places(rest: str) -> Iterator[tuple[str, str]]:
    """Yield each way to read *rest*: credentials, if any, and what follows them or their @."""
    yield "", rest
    for found in re.finditer("@", rest):
        yield rest[: found.start()], rest[found.end() :]


def _is_ambiguous(credentials: str, place: str) -> bool:
    """Return whether libpq reads *place* as a host, a database and parameters with an @ in them.

    That @ would end the credentials for us, and the end of a secret would be taken for a host. It
    may also belong to a password with special characters, where the parameters have no names.
    """
    location, _, query = place.partition("?")
    can_be_password = ":" in credentials or not (credentials or "/" in location)
    if "@" not in query or (can_be_password and not _PARAMETERS.fullmatch(query)):
        return False
    try:
        read = conninfo_to_dict(f"postgresql://{location}")
    except psycopg.Error:
        return False
    return "user" not in read and str(read.get("port", "0")).isdigit()
