"""Credentials: secrets read from files, above the TOML file and below the environment."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper import catalog, settings
from sweeper.errors import SettingsError
from sweeper.settings import Settings

URL = "postgresql://sari@db/jastip"
TOKEN = "a secret of more than 32 characters"  # noqa: S105 -- used by tests only

WriteCredential = Callable[[str, str], None]


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteCredential:
    """Set up a systemd unit's credentials folder, and return a function that writes into it."""
    folder = tmp_path / "unit"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))

    def write(name: str, value: str) -> None:
        (folder / name).write_text(value, "utf-8")

    return write


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteCredential:
    """Set up an installed machine, and return a function that writes its credentials."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "sweeper.toml")
    folder = tmp_path / "credentials"
    folder.mkdir()

    def write(name: str, value: str) -> None:
        (folder / name).write_text(value, "utf-8")

    return write


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
def test_every_secret_may_be_a_credential(
    credential: str, name: str, unit: WriteCredential
) -> None:
    """L11: no secret has to be in a unit, an environment or a file that others can read."""
    unit(credential, TOKEN)

    loaded = load()

    assert ("credential", [TOKEN]) == (origin(loaded, name), loaded.secrets)


def test_credentials_loaded_from_a_folder_have_a_prefix_that_is_removed(
    unit: WriteCredential,
) -> None:
    """LoadCredential=sweeper:FOLDER passes FOLDER/database_url as sweeper_database_url."""
    unit("sweeper_database_url", URL)

    assert URL == load().database_url


def test_a_line_end_is_removed_from_a_secret(unit: WriteCredential) -> None:
    unit("database_url", f"{URL}\n")

    assert URL == load().database_url


def test_a_credential_takes_precedence_over_the_file(unit: WriteCredential, tmp_path: Path) -> None:
    unit("web_token", TOKEN)
    file = tmp_path / "sweeper.toml"
    file.write_text("[web]\nport = 4011\n", "utf-8")

    loaded = load(file)

    assert ("credential", str(file)) == (origin(loaded, "web.token"), origin(loaded, "web.port"))


def test_the_environment_takes_precedence_over_a_credential(
    unit: WriteCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit("database_url", "postgresql://sari@elsewhere/jastip")
    monkeypatch.setenv("DATABASE_URL", URL)

    loaded = load()

    assert (URL, "DATABASE_URL") == (loaded.database_url, origin(loaded, "database.url"))


def test_a_credential_is_masked_in_the_table_of_settings(unit: WriteCredential) -> None:
    """L11: the table of settings shows that a credential is set, and not its value."""
    unit("web_token", TOKEN)

    assert TOKEN not in str(load().table())


def test_an_empty_credential_is_a_fault(unit: WriteCredential) -> None:
    """A secret that a tool failed to write must not count as a secret that is not set."""
    unit("web_token", "\n")

    assert ["credential web_token is empty"] == faults()


def test_a_misspelt_credential_is_a_fault(unit: WriteCredential) -> None:
    unit("sweeper_databse_url", URL)

    (fault,) = faults()

    assert fault.startswith(
        "credential databse_url is not a secret setting; there are database_url,"
    )
    assert URL not in fault


def test_a_credential_of_another_service_is_ignored(unit: WriteCredential) -> None:
    """A command that runs inside another unit sees that unit's credentials."""
    unit("backup_key", "something secret")

    assert [] == load().secrets


def test_a_command_reads_the_same_credentials_as_the_unit(installed: WriteCredential) -> None:
    installed("database_url", URL)

    loaded = load()

    assert (URL, "credential") == (loaded.database_url, origin(loaded, "database.url"))


def test_an_unknown_file_among_the_sweeper_s_credentials_is_a_fault(
    installed: WriteCredential,
) -> None:
    installed("database_url~", URL)

    assert faults()[0].startswith("credential database_url~ is not a secret setting")


def test_a_credential_that_cannot_be_read_is_reported_by_name(
    installed: WriteCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("web_token", TOKEN)
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path).is_dir())

    assert ["credential web_token cannot be read"] == faults()


def test_a_missing_credentials_folder_is_not_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "absent"))

    assert [] == load().secrets
