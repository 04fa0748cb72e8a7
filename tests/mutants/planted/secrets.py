"""Secrets and phone numbers: they never leave the process."""

from tests.mutants.mutant import Mutant

REDACT = "tests/unit/test_redact.py"
LOGS = "tests/unit/test_logs.py"
SETTINGS = "tests/unit/test_settings.py"
HOSTILE = "tests/postgres/cli/test_hostile_output.py"
MASK = "sweeper/redact.py"

MUTANTS = (
    Mutant(
        "phone numbers are not masked",
        "L11",
        MASK,
        "return _PHONES.sub(lambda found: found[1] or PHONE, value)",
        "return value",
        f"{REDACT}::test_no_phone_reaches_the_log",
    ),
    Mutant(
        "known secrets are not masked",
        "L11",
        MASK,
        "value = secret.sub(SECRET, value)",
        "pass",
        f"{REDACT}::test_no_known_secret_reaches_the_log",
    ),
    Mutant(
        "credentials in URLs and headers are not masked",
        "L11",
        MASK,
        'lambda found: f"{found[found.lastindex or 0]}{SECRET}"',
        "lambda found: found[0]",
        f"{REDACT}::test_no_credential_reaches_the_log",
    ),
    Mutant(
        "a value with a secret's name is not masked",
        "L11",
        MASK,
        "SECRET if _SECRET_KEY.search(str(name)) else _masked(inner)",
        "_masked(inner)",
        f"{REDACT}::test_a_value_with_a_secret_s_name_is_masked",
    ),
    Mutant(
        "a password is known in one spelling only",
        "L11",
        MASK,
        "yield from (password, unquote(password), unquote_plus(password))",
        "yield password",
        f"{REDACT}::test_a_password_in_the_parameters_of_a_secret_url_is_masked"
        f" {REDACT}::test_the_password_of_a_known_url_is_masked_on_its_own_too",
    ),
    Mutant(
        "the password of a known URL alone is not masked",
        "L11",
        MASK,
        "for each in (secret, unquote(secret), *_password(secret))",
        "for each in (secret, unquote(secret))",
        f"{REDACT}::test_the_password_of_a_known_url_is_masked_on_its_own_too",
    ),
    Mutant(
        "a text is cut before it is masked",
        "L11",
        MASK,
        "return _cut(text(value[:_LONGEST]), limit, max(0, len(value) - _LONGEST))",
        "return text(_cut(value, limit, 0))",
        f"{REDACT}::test_a_text_is_masked_before_it_is_cut",
    ),
    Mutant(
        "an error's control characters are stored",
        "L2",
        MASK,
        'return short(_UNSAFE.sub("\\ufffd", first))',
        "return short(first)",
        "tests/postgres/worker/test_drain.py::test_any_text_of_an_error_can_be_stored",
    ),
    Mutant(
        "log lines are not masked",
        "L11",
        "sweeper/logs.py",
        "                redact.line,\n",
        "",
        f"{REDACT}::test_no_phone_reaches_the_log {LOGS}",
    ),
    Mutant(
        "an error of the database is told unmasked",
        "L11",
        "sweeper/postgres/errors.py",
        'return redact.one_line(f"{name}: {(diagnosis or _text(cause)).strip() or name}")',
        'return f"{name}: {(diagnosis or _text(cause)).strip() or name}"',
        "tests/postgres/worker/test_drain.py::test_any_text_of_an_error_can_be_stored",
    ),
    Mutant(
        "an error of a command is printed unmasked",
        "L11",
        "sweeper/cli/main.py",
        "output.line(redact.text(mistakes.failed(error, command)), to_stderr=True)",
        "output.line(mistakes.failed(error, command), to_stderr=True)",
        "tests/postgres/cli/test_commands.py::test_an_error_of_a_command_shows_no_phone",
    ),
    Mutant(
        "the log does not know the secrets of the settings",
        "L11",
        "sweeper/settings.py",
        "for leaf in leaves if isinstance(leaf, SecretStr)]",
        "for leaf in () if isinstance(leaf, SecretStr)]",
        "tests/unit/test_credentials.py::test_every_secret_may_be_a_credential",
    ),
    Mutant(
        "a command does not tell the log its secrets",
        "L11",
        "sweeper/cli/session.py",
        "stream or sys.stderr, app.settings.secrets)",
        "stream or sys.stderr)",
        "tests/postgres/cli/test_commands.py::test_an_error_of_a_command_shows_no_secret",
    ),
    Mutant(
        "a secret may stand in the file",
        "L11",
        "sweeper/settings.py",
        "        if _is_secret(model, name)\n    ]",
        "        if not name\n    ]",
        f"{SETTINGS}::test_a_secret_in_the_file_is_refused",
    ),
    Mutant(
        "a token may be guessed",
        "access",
        "sweeper/settings.py",
        "if token and 0 < len(token) < _SHORTEST_TOKEN:",
        "if False:",
        f"{SETTINGS}::test_a_short_token_is_refused",
    ),
    Mutant(
        "the address of the monitor is in its error",
        "L11",
        "sweeper/service/heartbeat.py",
        "if isinstance(failure, OutsideError) else type(failure).__name__",
        "if failure else type(failure).__name__",
        "tests/postgres/service/test_heartbeat.py"
        "::test_the_error_for_an_invalid_address_does_not_contain_it",
    ),
    Mutant(
        "a stranger's text commands the terminal",
        "access",
        "sweeper/humanize.py",
        "return _IN_LINE.sub(_escape, text)",
        "return text",
        f"{HOSTILE}::test_a_dead_letter_is_listed_with_visible_controls",
    ),
    Mutant(
        "an event's text commands the terminal",
        "access",
        "sweeper/logs.py",
        "name: visible(value) if isinstance(value, str) else value",
        "name: value",
        f"{HOSTILE}::test_an_event_on_a_console_has_visible_controls",
    ),
)
