"""Random settings files and environments: exit code 0, 69 or 78, clear lines, and no secret."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from jobs.demo.shop import Shop
from sweeper import catalog
from sweeper import settings as settings_file
from tests.fuzz.strangers import TEXTS
from tests.support.length import LONG
from tests.support.terminal import controls
from tests.support.verbs import HOUR, Run

READS = 20_000 if LONG else 150
STARTS = 60 if LONG else 2
PATIENCE = 60
SECRET = "kelinci-putih-yang-rahasia-sekali-42"  # noqa: S105 -- used by tests only
DATABASE_AWAY = "postgresql://sari:kelinci-putih-yang-rahasia-sekali-42@127.0.0.1:1/jastip"

# Read by the commands alone: nothing of them is kept.
COMMANDS = (("config",), ("config", "--json"), ("doctor",), ("doctor", "--json"), ("drain",))


def names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted name of every setting."""
    found = []
    for name, each in model.model_fields.items():
        kind: Any = each.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found += names(kind, f"{prefix}{name}.") if nested else [f"{prefix}{name}"]
    return found


MODEL = settings_file._model_of(catalog.load("jobs"))
NAMES = names(MODEL)
SECRETS = [name for name in NAMES if settings_file._is_secret(MODEL, name)]
SECTIONS = sorted({name.rpartition(".")[0] for name in NAMES})
DURATIONS = (
    *("0s", "1ms", "0.4ms", "1s", "5m", "24h", "36500d", "1h30m", "999999999d", "99999999999999d"),
    *(
        "-1s",
        "30",
        "1s ",
        " 1s",
        "1S",
        "1 s",
        "s",
        "1e3s",
        "\u0661s",
        "9" * 400 + "d",
        "0.0000001ms",
    ),
)
USUAL = (
    "true",
    "false",
    "checkout",
    "cloud",
    "fonnte",
    "127.0.0.1",
    "::1",
    "jastipin_jobs",
    "json",
)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(DURATIONS),
    st.sampled_from(USUAL),
    st.sampled_from([text for text in TEXTS if "\0" not in text and "\ud800" not in text]),
    st.integers(-3, 70_000),
    st.sampled_from((2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, True, False)),
    st.lists(st.sampled_from(DURATIONS), max_size=3),
    st.dictionaries(st.sampled_from(("a", "name", "")), st.integers(0, 3), max_size=2),
)


@dataclass(slots=True)
class Given:
    """A settings file, as bytes or None, and variables of the environment."""

    file: bytes | None
    variables: dict[str, str] = field(default_factory=dict)


def toml(values: Mapping[str, Any]) -> str:
    """Return settings as TOML, whose strings are written as JSON's."""
    return "\n".join(f"{name} = {toml_value(value)}" for name, value in values.items())


def toml_value(value: Any) -> str:
    """Return one value as TOML."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(k)} = {toml_value(v)}' for k, v in value.items())} }}"
    return json.dumps(value)


@st.composite
def environments(draw: st.DrawFn) -> Given:
    """Draw a file and an environment: settings that are mostly known, and some noise."""
    named = st.one_of(
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.sampled_from([*SECTIONS, "", "queue.nam", "no.such", "rules.none.every", "QUEUE.NAME"]),
    )
    values = draw(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
    text = toml({name: value for name, value in values.items() if name not in SECRETS})
    if draw(st.integers(0, 3)) == 0:
        text += f"\n{draw(st.text(max_size=40))}"
    file = draw(st.sampled_from((None, text.encode(errors="surrogatepass"), text.encode("utf-16"))))
    variables = {
        "SWEEPER_" + name.upper().replace(".", "__"): text_of(value)
        for name, value in draw(st.dictionaries(named, VALUES, max_size=3)).items()
    }
    variables |= {
        "SWEEPER_" + name.upper().replace(".", "__"): draw(
            st.sampled_from(
                (SECRET, f"postgresql://sari:{SECRET}@h:p/d", f"https://h/{SECRET}", "")
            )
        )
        for name in draw(st.lists(st.sampled_from(SECRETS), max_size=1))
    }
    return Given(file, {name: value for name, value in variables.items() if "\0" not in value})


def text_of(value: Any) -> str:
    """Return a value as an environment holds it."""
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def complaints(code: int, out: str, err: str) -> list[str]:
    """Return what is wrong with the end of a command."""
    told = out + err
    return [
        *([f"exit code {code}"] if code not in {0, 69, 78} else []),
        *([f"holds {word}" for word in ("Traceback", "this is a bug", SECRET) if word in told]),
        *([f"holds {found!r}" for found in controls(told)]),
        *(["no word about it"] if code and not told.strip() else []),
    ]


def file_in(folder: Path, given_file: bytes | None) -> list[str]:
    """Write the file, and return the option that names it."""
    if given_file is None:
        return []
    path = folder / "sweeper.toml"
    path.write_bytes(given_file)
    return ["--config", str(path)]


def test_every_environment_is_read_or_refused_in_clear_words(
    run: Run, shop: Shop, tmp_path: Path
) -> None:
    """L11, contract: 78 and the faults, 69 where the database is meant, or it works."""
    shop.order(age=HOUR)
    signal.signal(signal.SIGALRM, _hang)

    @settings(
        max_examples=READS,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(environment=environments(), command=st.sampled_from(COMMANDS))
    def check(environment: Given, command: tuple[str, ...]) -> None:
        note(repr(environment))
        signal.alarm(PATIENCE)
        try:
            result = run(*file_in(tmp_path, environment.file), *command, **environment.variables)
        finally:
            signal.alarm(0)
        assert [] == complaints(*result), result
        if result[0] == 0 and "--json" in command:
            json.loads(result[1], parse_constant=pytest.fail)

    check()


def test_every_start_of_the_service_succeeds_or_says_why_not(
    database_url: str, tmp_path: Path
) -> None:
    """A real process: it serves until it is stopped, or ends by itself with 69 or 78."""

    @settings(max_examples=STARTS, deadline=None, derandomize=not LONG, database=None)
    @given(environment=environments())
    @example(environment=Given(None, {"DATABASE_URL": DATABASE_AWAY}))
    @example(environment=Given(b"[queue\n"))
    def check(environment: Given) -> None:
        note(repr(environment))
        variables = {
            "DATABASE_URL": database_url,
            "SWEEPER_STOCK__TAKEN_AT": "checkout",
            "SWEEPER_WEB__PORT": "0",
            "SWEEPER_DATABASE__CONNECT_TIMEOUT": "2s",
            "SWEEPER_SERVICE__SHUTDOWN_GRACE": "2s",
        }
        arguments = [*file_in(tmp_path, environment.file), "run"]
        code, out = served_and_stopped(arguments, variables | environment.variables)
        # With hardly any grace, a stop that cut work off says so by its code.
        code = 0 if code == 1 and "service.stopped" in out else code
        assert [] == complaints(code, out, ""), out[-2_000:]

    check()


def served_and_stopped(arguments: list[str], variables: Mapping[str, str]) -> tuple[int, str]:
    """Run a command, stop it once it serves, and return its exit code and all that it printed."""
    with subprocess.Popen(
        [sys.executable, "-m", "sweeper", *arguments],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        # A service whose log is quiet does not say that it serves.
        timers = [Timer(PATIENCE / 2, process.terminate), Timer(PATIENCE, process.kill)]
        for timer in timers:
            timer.start()
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "service.started" in line:
                process.terminate()
        for timer in timers:
            timer.cancel()
    return process.returncode, "".join(lines)


def _hang(*_: object) -> None:
    pytest.fail(f"a command took longer than {PATIENCE} s")
