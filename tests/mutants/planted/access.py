"""The web server: who may read, and who may act."""

from tests.mutants.mutant import Mutant

SESSIONS = "tests/unit/web/test_sessions.py"
ACCESS = "tests/postgres/web/test_access.py"
WEB = "tests/postgres/web/test_web.py"
AUTH = "sweeper/web/auth.py"
SESSION = "sweeper/web/sessions.py"

MUTANTS = (
    Mutant(
        "every token is the right one",
        "access",
        SESSION,
        "return hmac.compare_digest(self._token, _digest(token))",
        "return bool(token)",
        f"{SESSIONS}::test_only_the_token_is_accepted",
    ),
    Mutant(
        "the token is not compared in constant time",
        "access",
        SESSION,
        "return hmac.compare_digest(self._token, _digest(token))",
        "return self._token == _digest(token)",
        f"{SESSIONS}::test_only_the_token_is_accepted",
        equivalent="equivalent because digests are compared: how far two of them agree says"
        " nothing about the token",
    ),
    Mutant(
        "whoever has no token may act",
        "access",
        AUTH,
        "            if not self.has_token(request):\n",
        "            if not self.sessions:\n",
        f"{WEB}::test_a_write_without_a_token_is_refused",
    ),
    Mutant(
        "where no token is set everybody may act",
        "access",
        AUTH,
        "if not self.sessions.exist:",
        "if False:",
        f"{WEB}::test_no_write_is_allowed_where_no_token_is_configured",
    ),
    Mutant(
        "a form needs no CSRF token",
        "access",
        AUTH,
        "if _bearer(request) is None and not self._has_csrf_token(request, fields(body)):",
        "if False:",
        f"{WEB}::test_a_form_from_another_site_is_refused",
    ),
    Mutant(
        "a form may come from another origin",
        "access",
        AUTH,
        "return _is_same_origin(request) and self.sessions.is_csrf_token(",
        "return self.sessions.is_csrf_token(",
        f"{WEB}::test_a_form_from_another_site_is_refused",
    ),
    Mutant(
        "another site may sign a browser in",
        "access",
        AUTH,
        "            if not _is_same_origin(request):\n",
        "            if not request:\n",
        f"{WEB}::test_a_form_from_another_site_is_refused",
    ),
    Mutant(
        "all sessions have one CSRF token",
        "access",
        SESSION,
        "hmac.new(self._secret, session.encode(), sha256)",
        'hmac.new(self._secret, b"", sha256)',
        f"{SESSIONS}::test_a_csrf_token_is_valid_for_one_session_only",
    ),
    Mutant(
        "a session never expires",
        "access",
        SESSION,
        "return begun is not None and now < begun + SESSION",
        "return begun is not None",
        f"{SESSIONS}::test_a_session_is_valid_until_it_expires",
    ),
    Mutant(
        "signing out ends no session",
        "access",
        SESSION,
        "self._begun.pop(_digest(session), None)",
        "self._begun.get(_digest(session), None)",
        f"{SESSIONS}::test_a_session_that_has_ended_is_not_valid_and_others_are",
    ),
    Mutant(
        "scripts and other sites get the session's cookie",
        "access",
        "sweeper/web/pages/sign_in.py",
        'max_age=int(SESSION), httponly=True, samesite="strict"',
        "max_age=int(SESSION)",
        f"{WEB}::test_the_session_cookie_is_restricted_to_this_site",
    ),
    Mutant(
        "a request from elsewhere counts as local",
        "access",
        AUTH,
        "and _is_loopback(peer(request))",
        "and peer(request)",
        "tests/unit/web/test_auth.py::test_only_a_process_of_this_host_reads_without_the_token",
    ),
    Mutant(
        "another site's name for this host counts as local",
        "access",
        AUTH,
        "and (name in self._names or _is_loopback(name))",
        "and name",
        f"{ACCESS}::test_without_a_token_nobody_reads_under_a_foreign_name",
    ),
    Mutant(
        "what a proxy forwards counts as local",
        "access",
        AUTH,
        "and not any(_PROXY.match(header) for header in request.headers)",
        "and request.headers",
        f"{ACCESS}::test_what_a_proxy_forwards_is_not_local",
    ),
    Mutant(
        "what nginx passes on counts as local",
        "access",
        AUTH,
        '            and request.scope["http_version"] != "1.0"\n',
        "",
        f"{ACCESS}::test_what_nginx_passes_on_by_default_is_not_local",
    ),
    Mutant(
        "local requests are trusted where they should not be",
        "access",
        AUTH,
        "            self._trust_local\n            and _is_loopback",
        "            _is_loopback",
        f"{ACCESS}::test_where_local_requests_are_not_trusted_reading_needs_the_token",
    ),
    Mutant(
        "the token may be guessed at any rate",
        "access",
        AUTH,
        "if not self._guesses.take(peer(request), time.monotonic()):",
        "if False:",
        f"{WEB}::test_attempts_to_guess_the_token_are_rate_limited",
    ),
    Mutant(
        "a wrong token is not logged",
        "access",
        AUTH,
        'raise _refused(request, 401, "wrong token")',
        "raise HTTPException(401)",
        f"{WEB}::test_a_wrong_token_is_refused_and_logged",
    ),
)
