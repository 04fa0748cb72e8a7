"""The settings: read from the file, the environment and the flags, and validated all at once."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sweeper import catalog, settings
from sweeper.errors import SettingsError
from sweeper.settings import Settings

CATALOG = catalog.load("jobs")
URL = "postgresql://sari:rahasia@db/jastip"

Write = Callable[[str], Path]


@pytest.fixture
def toml(tmp_path: Path) -> Write:
    """Return a function that writes a TOML file and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "sweeper.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def load(file: Path | None = None, **flags: Any) -> Settings:
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    return settings.load(CATALOG, file=file, flags=dotted)


def effective(loaded: Settings) -> dict[str, Any]:
    return {name: value for name, value, _ in loaded.table()}


def origin(loaded: Settings, name: str) -> str:
    return next(where for key, _, where in loaded.table() if key == name)


def faults(file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(file)
    return str(caught.value).splitlines()


# Defaults.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database.url", None),
        ("database.direct_url", None),
        ("database.statement_timeout", "30s"),
        ("database.lock_timeout", "1s"),
        ("database.connect_timeout", "10s"),
        ("database.pool_size", 5),
        ("queue.name", "jastipin_jobs"),
        ("queue.visibility", "30s"),
        ("queue.batch", 500),
        ("queue.drainers", 2),
        ("queue.poll_min", "100ms"),
        ("queue.poll_max", "2s"),
        ("queue.poll_hint", "1m"),
        ("retry.delays", ["5s", "30s", "5m"]),
        ("retry.max_retries", 3),
        ("retry.crash_limit", 5),
        ("retry.slow_limit", 20),
        ("rules.expire_dp.enabled", True),
        ("rules.expire_dp.every", "1m"),
        ("rules.expire_dp.older_than", "30m"),
        ("rules.auto_refund.enabled", True),
        ("rules.auto_refund.every", "1m"),
        ("rules.auto_refund.older_than", "1d"),
        ("safety.max_per_sweep", 1000),
        ("safety.max_clock_skew", "5s"),
        ("safety.max_plan_age", "1h"),
        ("stock.taken_at", None),
        ("whatsapp.provider", "log"),
        ("web.enabled", True),
        ("web.host", "127.0.0.1"),
        ("web.port", 4010),
        ("web.trust_local", True),
        ("web.token", None),
        ("history.keep", "90d"),
        ("service.shutdown_grace", "30s"),
        ("service.heartbeat_every", "30s"),
        ("service.heartbeat_url", None),
        ("log.level", "info"),
        ("log.format", "auto"),
    ],
)
def test_an_unset_setting_has_its_default(name: str, value: object) -> None:
    loaded = load()

    assert (value, "default") == (effective(loaded)[name], origin(loaded, name))


# Precedence, and where each value came from.


def test_the_file_takes_precedence_over_the_defaults(toml: Write) -> None:
    path = toml('[rules.expire_dp]\nolder_than = "45m"')

    loaded = load(path)

    expected = (timedelta(minutes=45), str(path))
    actual = loaded.rules["expire_dp"].older_than, origin(loaded, "rules.expire_dp.older_than")
    assert expected == actual


def test_the_environment_takes_precedence_over_the_file(
    toml: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_RULES__EXPIRE_DP__OLDER_THAN", "50m")

    loaded = load(toml('[rules.expire_dp]\nolder_than = "45m"'))

    expected = (timedelta(minutes=50), "environment")
    actual = loaded.rules["expire_dp"].older_than, origin(loaded, "rules.expire_dp.older_than")
    assert expected == actual


def test_a_flag_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_SAFETY__MAX_PER_SWEEP", "7")

    loaded = load(safety__max_per_sweep=9)

    expected = (9, "command line")
    assert expected == (loaded.safety.max_per_sweep, origin(loaded, "safety.max_per_sweep"))


def test_each_key_is_overridden_separately(toml: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_QUEUE__BATCH", "20")

    loaded = load(toml("[queue]\nbatch = 10\ndrainers = 4"), queue__name="shop")

    expected = (20, 4, "shop", timedelta(seconds=30))
    queue = loaded.queue
    assert expected == (queue.batch, queue.drainers, queue.name, queue.visibility)


def test_a_job_file_s_own_section_is_read_like_a_built_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SWEEPER_STOCK__TAKEN_AT", "payment")

    (stock,) = (s for s in load().sections.values() if s.name == "stock")

    assert "payment" == stock.model_dump(mode="json")["taken_at"]


def test_the_platform_s_url_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("DIRECT_URL", f"{URL}2")

    loaded = load()

    assert (URL, f"{URL}2") == (loaded.database_url, loaded.direct_url)
    assert ("DATABASE_URL", "DIRECT_URL") == (
        origin(loaded, "database.url"),
        origin(loaded, "database.direct_url"),
    )


def test_the_sweeper_s_own_variable_takes_precedence_over_the_platform_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://platform/jastip")
    monkeypatch.setenv("SWEEPER_DATABASE__URL", "postgresql://own/jastip")

    assert "postgresql://own/jastip" == load().database_url


def test_the_direct_url_defaults_to_the_database_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)

    assert URL == load().direct_url


def test_an_empty_url_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")

    with pytest.raises(SettingsError, match=r"database\.url is not set\nset DATABASE_URL"):
        _ = load().database_url


# Where the file is.


def test_the_environment_may_name_the_file(toml: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_CONFIG", str(toml("[queue]\nbatch = 10")))

    assert 10 == load().queue.batch


def test_the_file_named_by_the_flag_takes_precedence(
    toml: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_CONFIG", str(tmp_path / "missing.toml"))

    assert 11 == load(toml("[queue]\nbatch = 11")).queue.batch


def test_the_system_file_is_read_where_no_other_is_named(
    toml: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SYSTEM_FILE", toml("[queue]\nbatch = 12"))

    assert 12 == load().queue.batch


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"

    assert [f"{missing} cannot be read: No such file or directory"] == faults(missing)


def test_a_file_that_is_not_toml_is_refused(toml: Write) -> None:
    path = toml("[queue\nbatch")

    (fault,) = faults(path)

    assert fault.startswith(f"{path} is not valid TOML: ")


# Faults.


def test_all_faults_are_reported_at_once_by_name_and_place(
    toml: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toml(
        """
        [database]
        pool_size = 0
        [queue]
        visibility = 30
        [rules.expire_dp]
        older_than = "soon"
        [harbour]
        cranes = 2
        """
    )
    monkeypatch.setenv("SWEEPER_LOG__LEVEL", "loud")
    monkeypatch.setenv("SWEEPER_STOCK__TAKEN_AT", "sometimes")
    monkeypatch.setenv("SWEEPER_PIER__LENGTH", "3")

    reported = faults(path)

    expected = {
        "database.pool_size": str(path),
        "queue.visibility": str(path),
        "rules.expire_dp.older_than": str(path),
        "harbour": str(path),
        "log.level": "environment",
        "stock.taken_at": "environment",
        "SWEEPER_PIER__LENGTH": "",
    }
    assert len(expected) == len(reported)
    assert all(
        any(fault.startswith(name) and place in fault for fault in reported)
        for name, place in expected.items()
    )


@pytest.mark.parametrize(
    "text",
    [
        "[queue]\nbatsh = 1",
        "[rules.expire_db]\nenabled = false",
        "[rules.expire_dp]\nolder = '1m'",
        "[stock]\ntaken = 'never'",
        "[harbour]\ncranes = 2",
        "cranes = 2",
        "[database.pool]\nsize = 1",
    ],
)
def test_an_unknown_key_or_section_is_refused(toml: Write, text: str) -> None:
    path = toml(text)

    (fault,) = faults(path)

    assert f"is not a setting ({path})" in fault


@pytest.mark.parametrize(
    "variable",
    [
        "SWEEPER_QUEUE__BATSH",
        "SWEEPER_RULES__EXPIRE_DB__ENABLED",
        "SWEEPER_HARBOUR__CRANES",
        "SWEEPER_DATABASE_URL",
        "SWEEPER_STOCK_TAKEN_AT",
    ],
)
def test_an_unknown_variable_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")

    (fault,) = faults()

    assert "is not a setting" in fault


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("database = 'here'", "database"),
        ("rules = 1", "rules"),
        ("[rules]\nexpire_dp = '30m'", "rules.expire_dp"),
        ("[queue]\nbatch = 0", "queue.batch"),
        ("[queue]\nbatch = 'many'", "queue.batch"),
        ("[queue]\nname = 'drop table'", "queue.name"),
        ("[queue]\nname = 'Shop'", "queue.name"),
        (f"[queue]\nname = '{'q' * 39}'", "queue.name"),
        ("[queue]\nvisibility = 30", "queue.visibility"),
        ("[queue]\nvisibility = '30'", "queue.visibility"),
        ("[queue]\nvisibility = '-1s'", "queue.visibility"),
        ("[queue]\nvisibility = '0s'", "queue.visibility"),
        ("[queue]\npoll_min = '0s'", "queue.poll_min"),
        ("[queue]\nvisibility = '25h'", "queue.visibility"),
        ("[queue]\npoll_max = '25h'", "queue.poll_max"),
        ("[queue]\ndrainers = 101", "queue.drainers"),
        ("[database]\nstatement_timeout = '25h'", "database.statement_timeout"),
        ("[database]\nlock_timeout = '25h'", "database.lock_timeout"),
        ("[database]\nconnect_timeout = '25h'", "database.connect_timeout"),
        ("[database]\npool_size = 1_000_001", "database.pool_size"),
        ("[retry]\ndelays = ['366d']", "retry.delays.0"),
        ("[retry]\nmax_retries = 1_000_001", "retry.max_retries"),
        ("[retry]\ncrash_limit = 1_001", "retry.crash_limit"),
        ("[safety]\nmax_per_sweep = 2_147_483_648", "safety.max_per_sweep"),
        ("[whatsapp]\nrate = inf", "whatsapp.rate"),
        ("[whatsapp]\ntimeout = '25h'", "whatsapp.timeout"),
        ("[rules.expire_dp]\nolder_than = '0s'", "rules.expire_dp.older_than"),
        ("[rules.expire_dp]\nevery = '0s'", "rules.expire_dp.every"),
        ("[database]\nstatement_timeout = '0s'", "database.statement_timeout"),
        ("[whatsapp]\ntimeout = '0s'", "whatsapp.timeout"),
        ("[retry]\ndelays = []", "retry.delays"),
        ("[retry]\ndelays = ['5s', 30]", "retry.delays.1"),
        ("[retry]\nmax_retries = -1", "retry.max_retries"),
        ("[retry]\ncrash_limit = 0", "retry.crash_limit"),
        ("[retry]\ncrash_limit = 1", "retry.crash_limit"),
        ("[safety]\nmax_per_sweep = 0", "safety.max_per_sweep"),
        ("[stock]\ntaken_at = 'sometimes'", "stock.taken_at"),
        ("[web]\nport = 65536", "web.port"),
        ("[web]\ntrust_local = false", "web"),
        ("[whatsapp]\nbase_url = 'http://graph.example.com'", "whatsapp.base_url"),
        ("[whatsapp]\nbase_url = 'http://localhost.example.com:80'", "whatsapp.base_url"),
        ("[whatsapp]\nbase_url = 'http://127.0.0.1@example.com'", "whatsapp.base_url"),
        ("[log]\nlevel = 'loud'", "log.level"),
    ],
)
def test_an_invalid_value_is_refused_by_name(toml: Write, text: str, name: str) -> None:
    path = toml(text)

    (fault,) = faults(path)

    assert fault.startswith(f"{name}: ")
    assert fault.endswith(f"({path})")


def test_a_settings_error_has_exit_code_78() -> None:
    assert 78 == SettingsError.exit_code


@pytest.mark.parametrize("value", ["yes", "off", "1", "false", "TRUE"])
def test_a_boolean_is_read_from_the_environment(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_WEB__ENABLED", value)

    assert (value in {"yes", "1", "TRUE"}) == load().web.enabled


@pytest.mark.parametrize("value", ["1s, 1m30s,2h", "1s,1m30s,2h", " 1s ,1m30s, 2h "])
def test_a_list_is_read_from_the_environment(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_RETRY__DELAYS", value)

    expected = (timedelta(seconds=1), timedelta(seconds=90), timedelta(hours=2))
    assert expected == load().retry.delays


@pytest.mark.parametrize("value", ["", "5s,,30s", "5s;30s", "[5s]"])
def test_an_invalid_list_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_RETRY__DELAYS", value)

    (fault,) = faults()

    assert fault.startswith("retry.delays")


# Required settings, and secrets.


def test_a_required_setting_that_is_not_set_is_reported_by_name() -> None:
    """There is no default, because a wrong guess at when stock is taken corrupts the inventory."""
    loaded = load()

    with pytest.raises(SettingsError, match=r"^stock\.taken_at is not set: ") as caught:
        loaded.demand()

    assert "SWEEPER_STOCK__TAKEN_AT" in str(caught.value)


@pytest.mark.parametrize("taken_at", ["checkout", "payment", "acceptance", "never"])
def test_nothing_is_reported_once_the_required_setting_is_set(taken_at: str) -> None:
    assert load(stock__taken_at=taken_at).demand() is None  # type: ignore[func-returns-value]


def test_secrets_are_masked_where_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """L11: a secret never reaches a page or an exit message."""
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("DIRECT_URL", URL)
    monkeypatch.setenv("SWEEPER_WEB__TOKEN", "rahasia" * 5)
    monkeypatch.setenv("SWEEPER_SERVICE__HEARTBEAT_URL", "https://ping.example.com/rahasia")

    loaded = load()

    shown = effective(loaded)
    secret = ("database.url", "database.direct_url", "web.token", "service.heartbeat_url")
    assert ["**********"] * 4 == [shown[name] for name in secret]
    assert "rahasia" not in f"{loaded.table()} {loaded!r}"


@pytest.mark.parametrize("length", [1, 31])
def test_a_short_token_is_refused(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """L11: it could be guessed; the fault does not repeat it."""
    monkeypatch.setenv("SWEEPER_WEB__TOKEN", "k" * length)

    (fault,) = faults()

    assert fault.startswith("web.token: a token has at least 32 characters")
    assert fault.endswith("(environment)")
    assert "kk" not in fault


@pytest.mark.parametrize("token", ["", "k" * 32])
def test_a_token_is_not_set_or_long_enough(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("SWEEPER_WEB__TOKEN", token)

    assert [token] == load().secrets


@pytest.mark.parametrize(
    "url", ["https://graph.example.com", "http://localhost:8080/meta", "http://[::1]:8080"]
)
def test_a_provider_is_called_over_https_or_on_this_host(url: str) -> None:
    assert load(whatsapp__base_url=url)


def test_a_fault_does_not_repeat_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SWEEPER_WEB__TOKEN__RAHASIA", "rahasia")
    monkeypatch.setenv("SWEEPER_DATABASE__POOL_SIZE", "rahasia")

    assert "rahasia" not in " ".join(faults()).replace("web.token.rahasia", "")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"[database]\nurl = '{URL}'", "database.url"),
        (f"[database]\ndirect_url = '{URL}'", "database.direct_url"),
        (f"[web]\ntoken = '{'rahasia' * 5}'", "web.token"),
    ],
)
def test_a_secret_in_the_file_is_refused(toml: Write, text: str, name: str) -> None:
    """Secrets come from the environment, or from systemd's credentials."""
    (fault,) = faults(toml(text))

    assert fault.startswith(name)
    assert "rahasia" not in fault
