"""The web server: its bounds, its page, and what is done through it."""

from tests.mutants.mutant import Mutant

ACCESS = "tests/postgres/web/test_access.py"
WEB = "tests/postgres/web/test_web.py"
BOUNDS = "tests/postgres/web/test_bounds.py"

MUTANTS = (
    Mutant(
        "one peer may ask at any rate",
        "access",
        "sweeper/web/bounds.py",
        "if not self._limits[caller].take(peer, time.monotonic()):",
        "if False:",
        f"{WEB}::test_requests_above_the_rate_limit_are_refused",
    ),
    Mutant(
        "one kind of callers takes the whole server",
        "L9",
        "sweeper/web/bounds.py",
        "if self._running[caller] >= share.at_once:",
        "if False:",
        f"{BOUNDS}::test_machines_are_served_while_people_s_requests_are_stuck",
    ),
    Mutant(
        "a connection may wait for its request for ever",
        "L9",
        "sweeper/web/connection.py",
        "        self._unsent = math.inf\n"
        "        self._deadline = self.loop.call_later(HEADER_TIMEOUT, self._check)\n",
        "        self._unsent = math.inf\n",
        f"{BOUNDS}::test_a_header_that_does_not_arrive_in_time_closes_its_connection",
    ),
    Mutant(
        "one peer takes all connections",
        "L9",
        "sweeper/web/connection.py",
        "        self._expect()\n        self._make_room()\n",
        "        self._expect()\n",
        f"{BOUNDS}::test_the_connection_that_has_waited_longest_is_closed_first",
    ),
    Mutant(
        "a body may have any size",
        "L9",
        "sweeper/web/routes.py",
        "        max_body_size=MAX_BODY,\n",
        "",
        f"{BOUNDS}::test_a_body_that_is_too_large_is_refused",
    ),
    Mutant(
        "strangers' markup is obeyed",
        "access",
        "sweeper/web/pages/renderer.py",
        "autoescape=True",
        "autoescape=False",
        f"{ACCESS}::test_markup_in_strangers_texts_is_shown_as_text",
    ),
    Mutant(
        "another site may frame the page",
        "access",
        "sweeper/web/server.py",
        "SecurityHeaders(Bounds(routes(app, auth, stats, health, wake), auth))",
        "Bounds(routes(app, auth, stats, health, wake), auth)",
        f"{WEB}::test_every_response_has_strict_security_headers",
    ),
    Mutant(
        "an unexpected error is shown",
        "access",
        "sweeper/web/routes.py",
        'return 500, "unexpected; the log says more"',
        "return 500, str(error)",
        f"{WEB}::test_an_unexpected_error_is_logged_and_not_shown",
    ),
    Mutant(
        "two people act at the same time",
        "contract",
        "sweeper/web/actions.py",
        "self._busy.acquire(blocking=False)",
        "(self._busy.acquire(blocking=False) or True)",
        f"{WEB}::test_only_one_write_runs_at_a_time",
    ),
    Mutant(
        "a sweep takes more than its preview",
        "L3",
        "sweeper/web/actions.py",
        "planned={name: one.keys for name, one in plan.rules.items()} if plan else None",
        "planned=None",
        f"{WEB}::test_a_previewed_sweep_enqueues_only_the_previewed_orders",
    ),
    Mutant(
        "an old preview is run",
        "L3",
        "sweeper/web/actions.py",
        "plan.dry_run is None or plan.dry_run.at < oldest",
        "plan.dry_run is None",
        f"{WEB}::test_a_preview_expires",
    ),
    Mutant(
        "acts over HTTP are not logged",
        "contract",
        "sweeper/web/actions.py",
        "        events.WEB_ACTED.log(peer=peer, actor=actor, action=action, what=what)\n",
        "",
        f"{WEB}::test_a_sweep_over_http_only_enqueues_and_is_recorded_in_the_ledger",
    ),
)
