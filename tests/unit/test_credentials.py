"""Secrets come as files: over the TOML file, under the environment."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper import catalog, settings
from sweeper.errors import SettingsError
from sweeper.settings import Settings

URL = "postgresql://sari@db/jastip"

Put = Callable[[str, str], None]


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Be a unit of systemd, and hand it credentials."""
    folder = tmp_path / "unit"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))

    def put(name: str, value: str) -> None:
        (folder / name).write_text(value, "utf-8")

    return put


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Be a command on a machine where the service is installed."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "sweeper.toml")
    folder = tmp_path / "credentials"
    folder.mkdir()

    def put(name: str, value: str) -> None:
        (folder / name).write_text(value, "utf-8")

    return put


def load(file: Path | None = None) -> Settings:
    return settings.load(catalog.load("jobs"), file=file)


def origin(loaded: Settings, name: str) -> str:
    return next(where for key, _, where in loaded.table() if key == name)


def faults() -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load()
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("credential", "name"),
    [
        ("database_url", "database.url"),
        ("database_direct_url", "database.direct_url"),
        ("web_token", "web.token"),
        ("whatsapp_token", "whatsapp.token"),
        ("service_heartbeat_url", "service.heartbeat_url"),
    ],
)
def test_every_secret_may_be_a_credential(credential: str, name: str, unit: Put) -> None:
    """L11: nothing secret need stand in a unit, an environment or a file that others read."""
    unit(credential, "something secret")

    loaded = load()

    assert ("credential", ["something secret"]) == (origin(loaded, name), loaded.secrets)


def test_a_folder_of_credentials_comes_with_our_name_before_each(unit: Put) -> None:
    """LoadCredential=sweeper:FOLDER hands over FOLDER/database_url as sweeper_database_url."""
    unit("sweeper_database_url", URL)

    assert URL == load().database_url


def test_a_line_end_is_no_part_of_a_secret(unit: Put) -> None:
    unit("database_url", f"{URL}\n")

    assert URL == load().database_url


def test_a_credential_is_over_the_file(unit: Put, tmp_path: Path) -> None:
    unit("web_token", "a token")
    file = tmp_path / "sweeper.toml"
    file.write_text("[web]\nport = 4011\n", "utf-8")

    loaded = load(file)

    assert ("credential", str(file)) == (origin(loaded, "web.token"), origin(loaded, "web.port"))


def test_the_environment_is_over_a_credential(unit: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    unit("database_url", "postgresql://sari@elsewhere/jastip")
    monkeypatch.setenv("DATABASE_URL", URL)

    loaded = load()

    assert (URL, "DATABASE_URL") == (loaded.database_url, origin(loaded, "database.url"))


def test_a_credential_is_masked(unit: Put) -> None:
    """L11."""
    unit("web_token", "a token")

    assert "a token" not in str(load().table())


def test_an_empty_credential_is_a_fault(unit: Put) -> None:
    """A secret that a tool failed to write must not pass for one that nobody wants."""
    unit("web_token", "\n")

    assert ["credential web_token is empty"] == faults()


def test_a_misspelt_credential_is_a_fault(unit: Put) -> None:
    unit("sweeper_databse_url", URL)

    (fault,) = faults()

    assert fault.startswith(
        "credential databse_url is not a secret setting; there are database_url,"
    )
    assert URL not in fault


def test_somebody_else_s_credential_is_none_of_our_business(unit: Put) -> None:
    """A command that another unit runs sees that unit's credentials."""
    unit("backup_key", "something secret")

    assert [] == load().secrets


def test_a_command_reads_what_the_unit_reads(installed: Put) -> None:
    installed("database_url", URL)

    loaded = load()

    assert (URL, "credential") == (loaded.database_url, origin(loaded, "database.url"))


def test_a_stray_file_among_our_own_credentials_is_a_fault(installed: Put) -> None:
    installed("database_url~", URL)

    assert faults()[0].startswith("credential database_url~ is not a secret setting")


def test_a_credential_that_only_root_may_read_is_named(
    installed: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("web_token", "a token")
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path).is_dir())

    assert ["credential web_token cannot be read"] == faults()


def test_where_there_are_no_credentials_nothing_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "absent"))

    assert [] == load().secrets
