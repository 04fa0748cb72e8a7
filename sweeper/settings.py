"""Settings: read from the environment, credentials and a TOML file, and validated as a whole."""

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource
from pydantic_settings import SettingsConfigDict as Config

from sweeper.catalog import Catalog
from sweeper.durations import Duration, at_most, positive
from sweeper.errors import SettingsError
from sweeper.job import Section

SYSTEM_FILE = Path("/etc/sweeper/sweeper.toml")
_PREFIX = "SWEEPER_"
_HOUR, _SLACK = timedelta(hours=1), timedelta(minutes=10)
_PLATFORM = {"DATABASE_URL": "url", "DIRECT_URL": "direct_url"}

LIVE = ("web.token", "web.tokens", "log.level", "safety.max_per_sweep")
"""What a reload takes over, because it is read where it is used. All else needs a restart."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _split_list(value: object) -> object:
    """Split a list that the environment spells with commas: 5s, 30s, 5m."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Count = Annotated[int, Field(ge=1, le=1_000_000)]
Length = Annotated[Duration, AfterValidator(positive)]
Timeout = Annotated[Length, AfterValidator(at_most(timedelta(days=1)))]  # Postgres counts in ms
Delay = Annotated[Duration, AfterValidator(at_most(timedelta(days=365)))]


class DatabaseSettings(_Section):
    """The platform's database: its URLs, timeouts and pool size."""

    url: SecretStr | None = None
    direct_url: SecretStr | None = None
    statement_timeout: Timeout = timedelta(seconds=30)
    lock_timeout: Timeout = timedelta(seconds=1)
    connect_timeout: Timeout = timedelta(seconds=10)
    pool_size: Count = 5


class QueueSettings(_Section):
    """The queues' name, visibility timeout and batch size, and the workers that poll them."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,37}$")] = "jastipin_jobs"
    visibility: Timeout = timedelta(seconds=30)
    batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    drainers: Annotated[int, Field(ge=1, le=100)] = 2
    poll_min: Timeout = timedelta(milliseconds=100)
    poll_max: Timeout = timedelta(seconds=2)
    poll_hint: Timeout = timedelta(minutes=1)


class RetrySettings(_Section):
    """How often and when failed jobs are retried, and when crashes or slowness are failures."""

    delays: Annotated[
        tuple[Delay, ...], BeforeValidator(_split_list), Field(min_length=1)
    ] = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5))  # fmt: skip
    max_retries: Annotated[int, Field(ge=0, le=1_000_000)] = 3
    crash_limit: Annotated[int, Field(ge=2, le=1_000)] = (
        5  # the last crash is one alone, so not the first
    )
    slow_limit: Count = 20  # the rests between so many postponements take 58.5 minutes
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0


class RuleSettings(_Section):
    """One rule: whether and how often it is scanned for, and how old a due row is."""

    enabled: bool = True
    every: Length
    older_than: Length


class SafetySettings(_Section):
    """The brake, the allowed clock skew and the age of plans."""

    max_per_sweep: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1000
    max_clock_skew: Duration = timedelta(seconds=5)
    max_plan_age: Length = timedelta(hours=1)


_SHORTEST_TOKEN = 32


def _long_enough(token: SecretStr | None) -> SecretStr | None:
    """Refuse a token that could be guessed; an empty one counts as not set."""
    if token and 0 < len(token) < _SHORTEST_TOKEN:
        message = (
            f"a token has at least {_SHORTEST_TOKEN} characters; `openssl rand -hex 32` makes one"
        )
        raise ValueError(message)
    return token


UNNAMED = "token"
"""The name of the one token that has none: `web.token`."""

_TOKEN_NAME = re.compile(r"[a-z0-9_-]{1,40}")
_TOKEN_LINE = re.compile(r"(read|act) sha256:[0-9a-f]{64}")


def token_name(name: str) -> str:
    """Return *name* if a token may have it; raises ValueError."""
    if not _TOKEN_NAME.fullmatch(name):
        message = "the name of a token has a to z, 0 to 9, _ and -, and at most 40 of them"
        raise ValueError(message)
    if name == UNNAMED:
        message = f"{UNNAMED} is the name of web.token; take another one"
        raise ValueError(message)
    return name


def _token_line(text: str) -> str:
    """Refuse what is no digest, without repeating it: it may be the token itself."""
    if not _TOKEN_LINE.fullmatch(text):
        message = (
            "a token stands here as `sweeper token new NAME` prints it: SCOPE sha256:DIGEST;"
            " one that stood here itself is known to others by now"
        )
        raise ValueError(message)
    return text


class WebSettings(_Section):
    """The web server of the status page: its address and access."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 4010
    required: bool = True
    public: bool = False
    trust_local: bool = True
    token: Annotated[SecretStr | None, AfterValidator(_long_enough)] = None
    tokens: Mapping[
        Annotated[str, AfterValidator(token_name)], Annotated[str, AfterValidator(_token_line)]
    ] = {}

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if not (self.trust_local or self.public or self.token or self.tokens):
            message = "trust_local = false lets nobody read without a token: set web.token too"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _has_no_token_twice(self) -> Self:
        digests = {name: text.partition(" ")[2] for name, text in self.tokens.items()}
        several = [name for name, one in digests.items() if [*digests.values()].count(one) > 1]
        if several:
            message = f"{' and '.join(several)} are the same token; each needs one of its own"
            raise ValueError(message)
        return self


class HistorySettings(_Section):
    """How long the ledger keeps its rows, and how long dead letters are kept, if not for ever."""

    keep: Length = timedelta(days=90)
    keep_dead: Length | None = None


class ServiceSettings(_Section):
    """The service's shutdown and heartbeat."""

    shutdown_grace: Duration = timedelta(seconds=30)
    heartbeat_every: Length = timedelta(seconds=30)
    heartbeat_url: SecretStr | None = None


class LogSettings(_Section):
    """The level and the format of the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class _Model(BaseSettings):
    model_config = Config(
        extra="forbid",
        frozen=True,
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,
    )

    database: DatabaseSettings = DatabaseSettings()
    queue: QueueSettings = QueueSettings()
    retry: RetrySettings = RetrySettings()
    safety: SafetySettings = SafetySettings()
    web: WebSettings = WebSettings()
    history: HistorySettings = HistorySettings()
    service: ServiceSettings = ServiceSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the values that `load` has merged, because it records where each came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective settings.

    rules    -- by rule name
    sections -- the job files' own, by their class
    origins  -- where each value came from, by dotted name; a setting at its default is missing
    """

    database: DatabaseSettings
    queue: QueueSettings
    retry: RetrySettings
    safety: SafetySettings
    web: WebSettings
    history: HistorySettings
    service: ServiceSettings
    log: LogSettings
    rules: Mapping[str, RuleSettings]
    sections: Mapping[type[Section], Section]
    origins: Mapping[str, str]
    _model: BaseModel
    _again: "Callable[[], Settings]" = field(repr=False, compare=False)

    @property
    def horizon(self) -> timedelta:
        """How far ahead a message of ours may become visible: longer than any delay and lease."""
        delay = max(max(self.retry.delays) * (1 + self.retry.jitter), _HOUR)
        return delay + self.queue.visibility + _SLACK

    @property
    def database_url(self) -> str:
        """The database's URL; raises SettingsError where it is not set."""
        if self.database.url is None:
            message = (
                "database.url is not set\n"
                "set DATABASE_URL, or the credential database_url, which only root may read"
            )
            raise SettingsError(message)
        return self.database.url.get_secret_value()

    @property
    def direct_url(self) -> str:
        """The URL past any pooler, to migrate and listen; `database_url` where it is not set."""
        direct = self.database.direct_url
        return direct.get_secret_value() if direct else self.database_url

    @property
    def secrets(self) -> list[str]:
        """The value of every secret setting, for the log to mask."""
        leaves = (value for _, value in _leaves(self.dump()))
        return [leaf.get_secret_value() for leaf in leaves if isinstance(leaf, SecretStr)]

    def again(self) -> "Settings":
        """Load the settings anew, from where these came from; raises SettingsError."""
        return self._again()

    def changes(self, fresh: "Settings") -> tuple[list[str], list[str]]:
        """Return which settings differ in *fresh*: what a reload takes over, and what it does not.

        A token of `web.tokens` is named by its own name.
        """
        before, after = (dict(_leaves(one.dump())) for one in (self, fresh))
        names = sorted(before.keys() | after.keys())
        different = [name for name in names if before.get(name) != after.get(name)]
        return (
            [name for name in different if is_live(name)],
            [name for name in different if not is_live(name)],
        )

    def taking(self, fresh: "Settings") -> "Settings":
        """Return these settings with what a reload takes over from *fresh*."""
        values = dict[str, dict[str, Any]]()
        for section, _, key in (name.partition(".") for name in LIVE):
            values.setdefault(section, {})[key] = getattr(getattr(fresh, section), key)
        made = {
            section: getattr(self, section).model_copy(update=update)
            for section, update in values.items()
        }
        kept = {name: origin for name, origin in self.origins.items() if not is_live(name)}
        live = {name: origin for name, origin in fresh.origins.items() if is_live(name)}
        model = self._model.model_copy(update=made)
        return replace(self, **made, origins=kept | live, _model=model)

    def dump(self) -> dict[str, Any]:
        """Return every value by section, unmasked."""
        return self._model.model_dump()

    def demand(self) -> None:
        """Raise SettingsError, which lists them all, where required settings are not set."""
        missing = [
            f"{name}.{key} is not set: {field.description}\n"
            f"set it in the TOML file, or as {_variable(f'{name}.{key}')}"
            for name, section in ((type(s).name, s) for s in self.sections.values())
            for key, field in type(section).model_fields.items()
            if isinstance(field.json_schema_extra, dict)
            and field.json_schema_extra.get("required")
            and getattr(section, key) is None
        ]
        if missing:
            raise SettingsError("\n".join(missing))

    def table(self) -> list[tuple[str, Any, str]]:
        """Return (dotted name, value, origin) of every setting, with secrets masked."""
        return [
            (name, value, self.origins.get(name, "default"))
            for name, value in _leaves(self._model.model_dump(mode="json"))
        ]


def load(
    catalog: Catalog, *, file: Path | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    """Load the settings; flags win over the environment, then credentials, then the file.

    file  -- from --config; else SWEEPER_CONFIG, else /etc/sweeper/sweeper.toml where it exists
    flags -- by dotted name

    Raises SettingsError, which lists every fault and where the value came from.
    """
    model = _model_of(catalog)
    merged, origins, faults = _merged(model, _path(file), flags or {})
    try:
        made = model(**merged)
    except ValidationError as error:
        faults += [_fault(fault, origins) for fault in error.errors(include_url=False)]
    if faults:
        raise SettingsError("\n".join(faults))
    values = {name: getattr(made, name) for name in _Model.model_fields}
    rules = made.rules  # type: ignore[attr-defined]
    sections = {kind: getattr(made, name) for name, kind in catalog.sections.items()}
    return Settings(
        **values,
        rules={name: getattr(rules, name) for name in catalog.rules},
        sections=sections,
        origins=origins,
        _model=made,
        _again=partial(load, catalog, file=file, flags=flags),
    )


def job_packages(named: Sequence[str]) -> list[str]:
    """Return the names of the job packages to load: those *named*, else SWEEPER_JOBS, else ours."""
    given = ",".join(named) or os.environ.get("SWEEPER_JOBS", "")
    return [name.strip() for name in given.split(",") if name.strip()] or ["jobs"]


def is_live(name: str) -> bool:
    """Return whether a reload takes over the setting of that dotted name."""
    return name.startswith(tuple(f"{live}." for live in LIVE)) or name in LIVE


def _merged(
    model: type[BaseSettings], path: Path | None, flags: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Merge all sources; return the values, where each came from, and the sources' faults."""
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    credentials, faults = _credentials(model)
    sources = (
        (str(path), list(_leaves(_read(path)))) if path else ("", []),
        ("credential", credentials),
        *(
            (variable, [(f"database.{key}", os.environ[variable])])
            for variable, key in _PLATFORM.items()
            if os.environ.get(variable)
        ),
        ("environment", list(_leaves(EnvSettingsSource(model)()))),
        ("command line", list(flags.items())),
    )
    for origin, leaves in sources:
        for name, value in leaves:
            _set(merged, name, value)
            origins[name] = origin
    faults += [
        f"{name} is not a setting; settings are named {_PREFIX}<SECTION>__<KEY>"
        for name in _unknown_variables(model)
    ]
    faults += [
        f"{name} is a secret and does not belong in {path}: set {_variable(name)}"
        for name, _ in sources[0][1]
        if _is_secret(model, name)
    ]
    return merged, origins, faults


def _model_of(catalog: Catalog) -> type[BaseSettings]:
    """Build the model of all sections: the engine's, one for each rule, and the job files' own."""
    rules = {}
    for name, rule in catalog.rules.items():
        kind = create_model(
            f"rules.{name}",
            __base__=RuleSettings,
            enabled=(bool, rule.enabled),
            every=(Length, rule.every),
            older_than=(Length, rule.older_than),
        )
        rules[name] = (kind, kind.model_validate({}))
    rules_model: Any = create_model("rules", __base__=_Section, **rules)  # type: ignore[call-overload]
    own = {name: (kind, kind()) for name, kind in catalog.sections.items()}
    return create_model("Settings", __base__=_Model, rules=(rules_model, rules_model()), **own)  # type: ignore[call-overload,no-any-return]


def _path(file: Path | None) -> Path | None:
    named = os.environ.get("SWEEPER_CONFIG")
    if file or named:
        return file or Path(str(named))
    return SYSTEM_FILE if SYSTEM_FILE.exists() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise SettingsError(message) from error
    except ValueError as error:
        message = f"{path} is not valid TOML: {error}"
        raise SettingsError(message) from error


def _credentials(model: type[BaseModel]) -> tuple[list[tuple[str, Any]], list[str]]:
    """Return the credentials from systemd and their faults; each secret is one file, as web_token.

    Outside a unit they are read from the unit's own folder, if the user may read it (root may).
    https://systemd.io/CREDENTIALS/
    """
    own = SYSTEM_FILE.with_name("credentials")
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", own))
    secrets = {name.replace(".", "_"): name for name in _secrets(model)}
    found, faults = [], []
    for file in sorted(folder.iterdir()) if os.access(folder, os.R_OK | os.X_OK) else ():
        name = file.name.removeprefix(_PREFIX.lower())
        if name not in secrets:
            if folder == own or name != file.name:
                known = ", ".join(secrets)
                faults.append(f"credential {name} is not a secret setting; there are {known}")
        elif not os.access(file, os.R_OK):
            faults.append(f"credential {name} cannot be read")
        elif value := file.read_text("utf-8", errors="replace").strip():
            found.append((secrets[name], value))
        else:
            faults.append(f"credential {name} is empty")
    return found, faults


def _secrets(model: type[BaseModel]) -> Iterator[str]:
    for section, info in model.model_fields.items():
        for key in getattr(info.annotation, "model_fields", ()):
            if _is_secret(model, f"{section}.{key}"):
                yield f"{section}.{key}"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _set(values: dict[str, Any], name: str, value: object) -> None:
    *path, last = name.split(".")
    for part in path:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            return  # a value stands where a section should; the model reports it
        values = inner
    values[last] = value


def _unknown_variables(model: type[BaseSettings]) -> list[str]:
    """Return the SWEEPER_ variables that are meant as settings but do not name one.

    Their section is unknown, or only one underscore follows it; the model rejects unknown keys.
    """
    names = sorted(name for name in os.environ if name.startswith(_PREFIX))
    misspelled = tuple(f"{_PREFIX}{section.upper()}_" for section in model.model_fields)
    return [
        name
        for name in names
        if (
            name.removeprefix(_PREFIX).partition("__")[0].lower() not in model.model_fields
            if "__" in name
            else name.startswith(misspelled)
        )
    ]


def _is_secret(model: type[BaseModel], name: str) -> bool:
    section, _, key = name.partition(".")
    kind: Any = model.model_fields[section].annotation if section in model.model_fields else None
    field = getattr(kind, "model_fields", {}).get(key)
    return field is not None and SecretStr in (field.annotation, *get_args(field.annotation))


def _variable(name: str) -> str:
    return _PREFIX + name.upper().replace(".", "__")


def _fault(fault: Any, origins: Mapping[str, str]) -> str:
    parts = [str(part) for part in fault["loc"]]
    name = ".".join(parts)
    near = (known for known in origins if f"{known}.".startswith(f"{name}."))
    above = (known for known in origins if f"{name}.".startswith(f"{known}."))
    origin = next((origins[known] for known in chain(near, above)), "settings")
    if fault["type"] == "extra_forbidden":
        return f"{name} is not a setting ({origin})"
    return f"{name}: {fault['msg'].removeprefix('Value error, ')} ({origin})"
