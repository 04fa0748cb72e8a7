"""The database URL is read in the platform's form, including Prisma's parameters."""

import traceback
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from sweeper.errors import SettingsError
from sweeper.postgres.database import Database
from sweeper.postgres.errors import unusable
from sweeper.postgres.url import parse_url

# The special characters of password generators, and those with a meaning in a URL.
UNUSUAL_PASSWORDS = [
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
    "p@h/d?#x",
    "[p]",
    "p\\ss",
    "p'ss\"",
    "sandi-é-東京",
]


def connect_arguments(url: str) -> dict[str, Any]:
    """Return the arguments that the driver gets for *url*."""
    made, _, _ = parse_url(url)
    _, arguments = made.get_dialect()().create_connect_args(made)
    return dict(arguments)


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"]
)
def test_every_postgres_scheme_selects_the_psycopg_driver(scheme: str) -> None:
    url, _, _ = parse_url(f"{scheme}://sari:rahasia@db.example.com:5432/jastip")

    assert "postgresql+psycopg" == url.drivername


def test_a_url_gives_host_port_user_password_and_database() -> None:
    actual = connect_arguments("postgresql://sari:rahasia@db.example.com:5432/jastip")

    expected = {
        "host": "db.example.com",
        "port": 5432,
        "user": "sari",
        "password": "rahasia",
        "dbname": "jastip",
    }
    assert expected == actual


def test_white_space_around_the_url_is_ignored() -> None:
    expected = connect_arguments("postgresql://sari@db/jastip")

    assert expected == connect_arguments(" postgresql://sari@db/jastip\n")


@pytest.mark.parametrize("password", UNUSUAL_PASSWORDS)
def test_a_password_may_be_written_without_encoding(password: str) -> None:
    arguments = connect_arguments(
        f"postgresql://sari:{password}@db.example.com:5432/jastip?sslmode=require"
    )

    expected = (password, "db.example.com", "jastip")
    assert expected == (arguments["password"], arguments["host"], arguments["dbname"])


@pytest.mark.parametrize("password", [*UNUSUAL_PASSWORDS, "p%40ss", "p@h:1/d?x=y"])
def test_a_password_may_be_percent_encoded(password: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in password.encode())

    assert password == connect_arguments(f"postgresql://sari:{encoded}@db/jastip")["password"]


def test_a_user_may_be_percent_encoded_and_contain_a_pooler_s_tenant() -> None:
    arguments = connect_arguments("postgresql://sari%40home.tenant:x@db/jastip")

    assert "sari@home.tenant" == arguments["user"]


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
def test_parameters_that_only_prisma_knows_are_removed(parameter: str) -> None:
    arguments = connect_arguments(f"postgresql://sari@db/jastip?{parameter}")

    assert {"host", "user", "dbname"} == set(arguments)


@pytest.mark.parametrize(
    ("parameter", "name", "value"),
    [
        ("sslmode=require", "sslmode", "require"),
        ("sslrootcert=%2Fetc%2Fca.pem", "sslrootcert", "/etc/ca.pem"),
        ("connect_timeout=3", "connect_timeout", "3"),
        ("application_name=web", "application_name", "web"),
    ],
)
def test_parameters_that_libpq_knows_are_kept(parameter: str, name: str, value: str) -> None:
    arguments = connect_arguments(f"postgresql://sari@db/jastip?connection_limit=1&{parameter}")

    assert value == arguments[name]


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
def test_a_socket_directory_is_accepted_as_the_host(url: str, host: str) -> None:
    """https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS."""
    assert host == connect_arguments(url)["host"]


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
def test_an_address_is_a_host_with_an_optional_port(
    address: str, host: str, port: int | None
) -> None:
    arguments = connect_arguments(f"postgresql://sari@{address}/jastip")

    assert (host, port) == (arguments["host"], arguments.get("port"))


@pytest.mark.parametrize(
    ("query", "schema"),
    [("", None), ("?schema=shop", "shop"), ("?schema=%22Shop%22", '"Shop"'), ("?schema=", None)],
)
def test_the_schema_parameter_is_read(query: str, schema: str | None) -> None:
    assert schema == parse_url(f"postgresql://sari@db/jastip{query}")[1]


@pytest.mark.parametrize(
    ("rest", "through_a_pooler"),
    [
        ("db:5432/jastip", False),
        ("db/jastip", False),
        ("db:5432/jastip?pgbouncer=false", False),
        ("db:5432/jastip?pgbouncer=true&connection_limit=1", True),
        ("db:6543/jastip", True),
    ],
)
def test_a_pooler_is_recognized_by_its_flag_or_its_port(
    rest: str, *, through_a_pooler: bool
) -> None:
    assert through_a_pooler == parse_url(f"postgresql://sari@{rest}")[2]


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
def test_a_url_of_another_kind_is_refused_without_repeating_it(url: str) -> None:
    """L11: an error never contains a URL with a password."""
    with pytest.raises(SettingsError, match="must begin with postgresql://") as caught:
        parse_url(url)

    assert "rahasia" not in _formatted(caught.value)


@pytest.mark.parametrize(
    ("addresses", "hosts", "ports"),
    [
        ("a:5433,b:5434", "a,b", "5433,5434"),
        ("a,b:5434,c", "a,b,c", "5432,5434,5432"),
        ("10.0.0.1:6000,[::1]:6001,[::2]", "10.0.0.1,::1,::2", "6000,6001,5432"),
    ],
)
def test_several_hosts_are_tried_in_turn_as_libpq_does(
    addresses: str, hosts: str, ports: str
) -> None:
    """After a failover, the one that takes writes is found by itself."""
    arguments = connect_arguments(
        f"postgresql://sari:r,h@{addresses}/jastip?target_session_attrs=read-write"
    )

    expected = {
        "host": hosts,
        "port": ports,
        "user": "sari",
        "password": "r,h",
        "dbname": "jastip",
        "target_session_attrs": "read-write",
    }
    assert expected == arguments


def test_one_of_several_hosts_with_a_port_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(SettingsError, match="names a port that is not a number") as caught:
        parse_url("postgresql://sari@a:5432,b:rahasia/jastip")

    assert "rahasia" not in _formatted(caught.value)


def test_an_error_names_all_of_several_hosts() -> None:
    url, _, _ = parse_url("postgresql://sari@a:5433,b:5434/jastip")

    error = unusable(OperationalError("select", None, OSError("refused")), url)

    assert "database at a,b:5433,5434: " in str(error)


@pytest.mark.parametrize("port", ["rahasia", "54x2", "-1", "5432:rahasia"])
def test_a_port_that_is_not_a_number_is_refused_without_repeating_it(port: str) -> None:
    with pytest.raises(SettingsError, match="names a port that is not a number") as caught:
        parse_url(f"postgresql://sari:rahasia@db:{port}/jastip")

    assert "rahasia" not in _formatted(caught.value)


@pytest.mark.parametrize(
    "place", ["sari:rahasia@127.0.0.1:1/jastip", "sari@127.0.0.1:1/jastip?password=rahasia"]
)
def test_the_error_of_a_failed_connection_does_not_contain_the_password(place: str) -> None:
    database = Database(f"postgresql://{place}")

    with pytest.raises(OperationalError) as caught, database.autocommit():
        pass

    message = str(unusable(caught.value, database.url))
    assert message.startswith("database at 127.0.0.1:1: ")
    assert "rahasia" not in message


@pytest.mark.parametrize(
    "rest",
    [
        "sari@db/jastip?password=kelinci@putih",
        "sari@db:5432/jastip?sslmode=require&password=kelinci@putih",
        "sari:rahasia@db/jastip?sslpassword=kelinci@putih&sslmode=require",
        "sari:r@hasia@db/jastip?password=kelinci@putih",
        "db/jastip?password=kelinci@putih",
        "sari@/jastip?password=kelinci@putih",
        "sari@[::1]:5432/jastip?pasword=kelinci@putih",
        "sari@db:5432/jastip?kelinci@putih",
        "sari@db/jastip?kelinci@putih",
        "sari:rahasia@h:1/d?kelinci=y@putih:5432/jastip?sslmode=require",
    ],
)
def test_an_at_sign_in_a_parameter_is_refused_without_repeating_it(rest: str) -> None:
    """L11: the end of a password would be taken for the host, which errors name."""
    with pytest.raises(SettingsError, match="@ after its") as caught:
        parse_url(f"postgresql://{rest}")

    assert [] == [word for word in ("kelinci", "putih") if word in _formatted(caught.value)]


@pytest.mark.parametrize("rest", ["sari/kelinci@putih/jastip", "sari#kelinci@putih/jastip"])
def test_a_user_with_the_marks_of_a_url_is_refused_without_repeating_it(rest: str) -> None:
    """L11: an @ stands where none belongs, and what follows it may be a part of a secret."""
    with pytest.raises(SettingsError, match="in the user's name") as caught:
        parse_url(f"postgresql://{rest}")

    assert [] == [word for word in ("kelinci", "putih") if word in _formatted(caught.value)]


@pytest.mark.parametrize("port", ["99999999", "٣", "²"])
def test_a_port_is_a_number_of_at_most_five_plain_digits(port: str) -> None:
    with pytest.raises(SettingsError, match="names a port that is not a number"):
        parse_url(f"postgresql://sari@db:{port}/jastip")


def test_the_url_of_a_database_holds_no_secret() -> None:
    """L11: it is there to be shown."""
    parameters = "sslpassword=kelinci&password=kelinci&oauth_client_secret=kelinci"
    database = Database(f"postgresql://sari:kelinci@db/jastip?{parameters}&sslmode=require")

    shown = database.url.render_as_string(hide_password=False)

    assert "postgresql+psycopg://sari@db/jastip?sslmode=require" == shown


def _formatted(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error))
