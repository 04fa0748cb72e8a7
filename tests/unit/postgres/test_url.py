"""The database's URL is read as the platform has it, Prisma's parameters and all."""

import traceback
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from sweeper.errors import SettingsError
from sweeper.postgres.database import Database
from sweeper.postgres.errors import unusable
from sweeper.postgres.url import parse_url

# Every character that some password generator likes, and every one that means something in a URL.
ODD_PASSWORDS = [
    "p@ss",
    "p:ss",
    "p/ss",
    "p?ss",
    "p#ss",
    "p&ss=1",
    "p+ss",
    "p ss",
    "100%",
    "p%ss",
    "p@h:1/d?x=y",
    "[p]",
    "p\\ss",
    "p'ss\"",
    "sandi-é-東京",
]


def connecting(url: str) -> dict[str, Any]:
    """Return what the driver is told."""
    made, _, _ = parse_url(url)
    _, told = made.get_dialect()().create_connect_args(made)
    return dict(told)


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"]
)
def test_every_spelling_of_the_scheme_means_this_driver(scheme: str) -> None:
    url, _, _ = parse_url(f"{scheme}://sari:rahasia@db.example.com:5432/jastip")

    assert "postgresql+psycopg" == url.drivername


def test_a_plain_url_names_five_things() -> None:
    actual = connecting("postgresql://sari:rahasia@db.example.com:5432/jastip")

    expected = {
        "host": "db.example.com",
        "port": 5432,
        "user": "sari",
        "password": "rahasia",
        "dbname": "jastip",
    }
    assert expected == actual


def test_white_space_around_it_is_not_part_of_it() -> None:
    expected = connecting("postgresql://sari@db/jastip")

    assert expected == connecting(" postgresql://sari@db/jastip\n")


@pytest.mark.parametrize("password", ODD_PASSWORDS)
def test_a_password_may_stand_there_as_it_is(password: str) -> None:
    told = connecting(f"postgresql://sari:{password}@db.example.com:5432/jastip?sslmode=require")

    expected = (password, "db.example.com", "jastip")
    assert expected == (told["password"], told["host"], told["dbname"])


@pytest.mark.parametrize("password", [*ODD_PASSWORDS, "p%40ss"])
def test_a_password_may_be_percent_encoded(password: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in password.encode())

    assert password == connecting(f"postgresql://sari:{encoded}@db/jastip")["password"]


def test_a_user_may_be_percent_encoded_and_hold_a_pooler_s_tenant() -> None:
    told = connecting("postgresql://sari%40home.tenant:x@db/jastip")

    assert "sari@home.tenant" == told["user"]


@pytest.mark.parametrize(
    "parameter",
    [
        "pgbouncer=true",
        "connection_limit=1",
        "pool_timeout=10",
        "schema=public",
        "socket_timeout=5",
        "statement_cache_size=0",
        "sslaccept=strict",
        "sslidentity=client.p12",
        "single_use_connections=true",
        "no_such_thing=1",
    ],
)
def test_libpq_never_meets_what_only_prisma_knows(parameter: str) -> None:
    told = connecting(f"postgresql://sari@db/jastip?{parameter}")

    assert {"host", "user", "dbname"} == set(told)


@pytest.mark.parametrize(
    ("parameter", "name", "value"),
    [
        ("sslmode=require", "sslmode", "require"),
        ("sslrootcert=%2Fetc%2Fca.pem", "sslrootcert", "/etc/ca.pem"),
        ("connect_timeout=3", "connect_timeout", "3"),
        ("application_name=web", "application_name", "web"),
    ],
)
def test_libpq_s_own_parameters_stay(parameter: str, name: str, value: str) -> None:
    told = connecting(f"postgresql://sari@db/jastip?connection_limit=1&{parameter}")

    assert value == told[name]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("postgresql:///jastip?host=/var/run/postgresql", "/var/run/postgresql"),
        ("postgresql://sari@/jastip?host=/var/run/postgresql", "/var/run/postgresql"),
        ("postgresql://sari:x@localhost/jastip?host=/var/run/postgresql", "/var/run/postgresql"),
        ("postgresql://sari@/jastip?host=%2Ftmp%2Fa%20b", "/tmp/a b"),  # noqa: S108 -- no file
        ("postgresql://sari@%2Fvar%2Frun%2Fpostgresql/jastip", "/var/run/postgresql"),
    ],
)
def test_a_socket_is_a_host(url: str, host: str) -> None:
    """https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS."""
    assert host == connecting(url)["host"]


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("db", "db", None),
        ("db:6543", "db", 6543),
        ("10.0.0.7:5432", "10.0.0.7", 5432),
        ("[::1]", "::1", None),
        ("[fe80::1]:5432", "fe80::1", 5432),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(address: str, host: str, port: int | None) -> None:
    told = connecting(f"postgresql://sari@{address}/jastip")

    assert (host, port) == (told["host"], told.get("port"))


@pytest.mark.parametrize(
    ("query", "schema"),
    [("", None), ("?schema=shop", "shop"), ("?schema=%22Shop%22", '"Shop"'), ("?schema=", None)],
)
def test_the_schema_is_understood(query: str, schema: str | None) -> None:
    assert schema == parse_url(f"postgresql://sari@db/jastip{query}")[1]


@pytest.mark.parametrize(
    ("rest", "pooled"),
    [
        ("db:5432/jastip", False),
        ("db/jastip", False),
        ("db:5432/jastip?pgbouncer=false", False),
        ("db:5432/jastip?pgbouncer=true&connection_limit=1", True),
        ("db:6543/jastip", True),
    ],
)
def test_a_pooler_is_known_by_its_flag_or_its_port(rest: str, *, pooled: bool) -> None:
    assert pooled == parse_url(f"postgresql://sari@{rest}")[2]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "rahasia",
        "://sari:rahasia@db/jastip",
        "mysql://sari:rahasia@db/jastip",
        "http://sari:rahasia@db/jastip",
        "sari:rahasia@db/jastip",
        "prisma://accelerate/?api_key=rahasia",
    ],
)
def test_what_is_no_postgres_url_is_refused_without_repeating_it(url: str) -> None:
    """L11: no URL with a password ever reaches an error."""
    with pytest.raises(SettingsError, match="begins with postgresql://") as caught:
        parse_url(url)

    assert "rahasia" not in _told(caught.value)


@pytest.mark.parametrize("port", ["rahasia", "54x2", "-1", "5432:rahasia"])
def test_a_port_that_is_no_number_is_refused_without_repeating_it(port: str) -> None:
    with pytest.raises(SettingsError, match="names a port that is not a number") as caught:
        parse_url(f"postgresql://sari:rahasia@db:{port}/jastip")

    assert "rahasia" not in _told(caught.value)


@pytest.mark.parametrize(
    "place", ["sari:rahasia@127.0.0.1:1/jastip", "sari@127.0.0.1:1/jastip?password=rahasia"]
)
def test_a_server_that_does_not_answer_is_told_without_the_password(place: str) -> None:
    database = Database(f"postgresql://{place}")

    with pytest.raises(OperationalError) as caught, database.autocommit():
        pass

    told = str(unusable(caught.value, database.url))
    assert told.startswith("database at 127.0.0.1:1: ")
    assert "rahasia" not in told


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error))
