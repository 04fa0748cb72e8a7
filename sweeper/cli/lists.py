"""`sweeper waiting`, `sweeps`, `overdue`, `anomalies` and `list`: the lists that pages show too."""

from datetime import timedelta
from typing import Annotated

import typer

from sweeper.app import App
from sweeper.cli import output
from sweeper.cli.help import panels
from sweeper.cli.session import Json, length, open_app
from sweeper.cli.tables.column import Column
from sweeper.errors import UsageError
from sweeper.exports import ColumnKind, Listing
from sweeper.humanize import capped
from sweeper.ledger import Trigger
from sweeper.monitoring.list_page import MOST_COUNTED, PAGE, Page, Wanted
from sweeper.monitoring.lists import ListReader
from sweeper.monitoring.waiting_list import WaitingList
from sweeper.redact import short

COMMANDS = typer.Typer()

About = Annotated[
    str | None, typer.Option("--order", metavar="ORDER", help="Only this order's: its code or id.")
]
OlderThan = Annotated[
    str | None, typer.Option(metavar="AGE", help="Only those of this age, such as 2h or 7d.")
]
NewerThan = Annotated[str | None, typer.Option(metavar="AGE", help="Only those younger than this.")]
Before = Annotated[
    str | None, typer.Option(metavar="PLACE", help="Go on after this place, which a page names.")
]
Limit = Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="The rows of a page.")]
RuleName = Annotated[str, typer.Argument(metavar="RULE", help="The rule's name.")]


@COMMANDS.command(rich_help_panel=panels.LOOK)
def waiting(
    context: typer.Context,
    queue: Annotated[
        str | None, typer.Option(metavar="QUEUE", help="Only this queue: its full name.")
    ] = None,
    type_: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Only this job type; - for those without one."),
    ] = None,
    about: About = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    before: Before = None,
    limit: Limit = PAGE,
    as_json: Json = False,
) -> None:
    """List the messages in the queues, each queue's newest first.

    Examples:
      sweeper waiting  # all that wait
      sweeper waiting --order JST-ABC123-XY  # the messages about one order
      sweeper waiting --queue jastipin_jobs_outbound --older-than 10m  # calls that wait for long
    """
    equal = {name: value for name, value in (("queue", queue), ("type", type_)) if value}
    ages = (age(older_than), age(newer_than))
    with open_app(context) as app:
        app.check()
        wanted = Wanted(equal, _key(app, about), *ages, before, limit)
        page = WaitingList(app.database, app.queues, app.catalog).read(wanted)
    _print(page, wanted, "message", "messages", as_json=as_json)


@COMMANDS.command(rich_help_panel=panels.LOOK)
def sweeps(
    context: typer.Context,
    rule: Annotated[
        str | None, typer.Option(metavar="RULE", help="Only scans of this rule.")
    ] = None,
    trigger: Annotated[
        Trigger | None, typer.Option(metavar="TRIGGER", help="Only those with this trigger.")
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(metavar="OUTCOME", help="Only those of this outcome: found, quiet or braked."),
    ] = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    before: Before = None,
    limit: Limit = PAGE,
    as_json: Json = False,
) -> None:
    """List the scans of rules, the newest first.

    Examples:
      sweeper sweeps --rule expire_dp --newer-than 1d  # one rule since yesterday
      sweeper sweeps --outcome braked  # those that stopped: too many orders due
      sweeper sweeps --trigger manual --json  # those by hand, for a program
    """
    given = {"rule": rule, "trigger": trigger, "outcome": outcome}
    equal = {name: str(value) for name, value in given.items() if value}
    wanted = Wanted(equal, None, age(older_than), age(newer_than), before, limit)
    with open_app(context) as app:
        app.check()
        if rule:
            app.catalog.rule(rule)
        reader = _reader(app)
        page = reader.read(reader.sweeps(), wanted)
    _print(page, wanted, "sweep", "sweeps", as_json=as_json)


@COMMANDS.command(rich_help_panel=panels.LOOK)
def overdue(
    context: typer.Context,
    rule: RuleName,
    about: About = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    before: Before = None,
    limit: Limit = PAGE,
    as_json: Json = False,
) -> None:
    """List what a rule finds due, and what becomes of it. The newest first.

    Examples:
      sweeper overdue expire_dp  # the orders that the next scan takes
      sweeper overdue auto_refund --older-than 2d  # those that are due for long
    """
    ages = (age(older_than), age(newer_than))
    with open_app(context) as app:
        app.check()
        wanted = Wanted({}, _key(app, about), *ages, before, limit)
        page = _reader(app).read(_reader(app).overdue(rule), wanted)
        page = app.backlog_reader.with_reasons(rule, page)
    _print(page, wanted, "overdue row", "overdue rows", as_json=as_json)


@COMMANDS.command(rich_help_panel=panels.LOOK)
def anomalies(
    context: typer.Context,
    rule: RuleName,
    about: About = None,
    before: Before = None,
    limit: Limit = PAGE,
    as_json: Json = False,
) -> None:
    """List what looks due to a rule and must not be touched. Each has its reason.

    Examples:
      sweeper anomalies expire_dp  # the orders that this rule leaves alone
      sweeper anomalies auto_refund --json  # for a program
    """
    with open_app(context) as app:
        app.check()
        wanted = Wanted({}, _key(app, about), before=before, limit=limit)
        page = _reader(app).read(_reader(app).anomalies(rule), wanted)
    _print(page, wanted, "anomaly", "anomalies", as_json=as_json)


@COMMANDS.command("list", rich_help_panel=panels.LOOK)
def list_rows(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="LIST", help="The list's name.")],
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help="Only rows of this state, where they have one."),
    ] = None,
    about: About = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    before: Before = None,
    limit: Limit = PAGE,
    as_json: Json = False,
) -> None:
    """List the rows of a list that the job package adds. The newest first.

    Examples:
      sweeper list refunds  # what is owed, and what was paid
      sweeper list refunds --state settled --newer-than 7d  # what was paid this week
    """
    listing: Listing = context.obj["catalog"].listing(name)
    ages = (age(older_than), age(newer_than))
    with open_app(context) as app:
        app.check()
        equal = {"state": _choice(listing, "state", state)} if state else {}
        wanted = Wanted(equal, _key(app, about), *ages, before, limit)
        page = _reader(app).read(listing, wanted)
    _print(page, wanted, name.removesuffix("s"), name, as_json=as_json)


def age(typed: str | None) -> timedelta | None:
    """Return the age that was typed; raises UsageError where it is none."""
    return None if typed is None else length(typed)


def _choice(listing: Listing, name: str, typed: str) -> str:
    """Return the choice that was typed, as it is stored or as people are shown it."""
    choices = listing.choices.get(name)
    if choices is None:
        message = f"the rows of {listing.name} have no {name}"
        raise UsageError(message)
    words = {word: value for value, word in listing.words(name).items()}
    if (value := words.get(typed, typed)) not in choices:
        shown = dict.fromkeys([*words, *choices])
        message = f"there is no {name} {short(typed)!r}; there are {', '.join(shown)}"
        raise UsageError(message)
    return value


def _reader(app: App) -> ListReader:
    return ListReader(app.database, app.catalog, app.older_than)


def _key(app: App, typed: str | None) -> str | None:
    if typed is None:
        return None
    with app.database.transaction() as tx:
        return app.catalog.codes.find(tx, typed) or typed.strip()


def _print(page: Page, wanted: Wanted, one: str, many: str, *, as_json: bool) -> None:
    """Print a page of a list whose rows are called *one*, or *many*."""
    if as_json:
        output.document(page.as_json())
        return
    columns = [Column(column.label, column.kind, column.shown) for column in page.columns]
    code = [Column("code", ColumnKind.KEY)] if page.codes else []
    rows = [
        [
            *([page.codes.get(str(row[page.key]))] if code and page.key else []),
            *(row[column.name] for column in page.columns),
        ]
        for row in page.rows
    ]
    total = f"{capped(page.total, MOST_COUNTED)} {one if page.total == 1 else many}"
    newest = f", the newest {len(rows)} first" if len(rows) > 1 else ""
    empty = f"No {many} match." if wanted.chooses else f"No {many}."
    output.table(total + newest, [*code, *columns], rows, empty=empty)
    if page.left_out:
        output.line(f"not looked through: {page.left_out}")
    if page.next:
        output.line(f"older ones: add --before {page.next}")
