"""`sweeper refunds`: list, settle and export the refunds that are owed to buyers."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer
from sqlalchemy import Connection, RowMapping

from jobs.events import REFUND_SETTLED
from jobs.refund_ledger import mark_settled, owed, refund_rows, state_in_words
from jobs.whatsapp.phones import mask
from jobs.whatsapp.texts import rupiah
from sweeper import Action, ColumnKind
from sweeper.cli.output import document, json_list, line, table, write_csv
from sweeper.cli.session import Json, Why, acting, open_app
from sweeper.cli.tables.column import Column
from sweeper.postgres.clock import now

HELP = """List, settle and export the down payments that are owed.

Examples:
  sweeper refunds list  # what is owed, the oldest first
  sweeper refunds settle JST-ABC123-XY --reference TRX-881  # one was paid
"""

COMMANDS = typer.Typer(help=HELP, no_args_is_help=True, rich_help_panel="Act by hand")

Everything = Annotated[bool, typer.Option("--all", help="Also show the settled refunds.")]

_COLUMNS = ("order_code", "order_id", "amount", "buyer_name", "buyer_phone", "state", "at",
            "settled_at", "reference")  # fmt: skip
_SHOWN = {
    "order_code": Column("code", ColumnKind.KEY),
    "order_id": Column("order", ColumnKind.KEY),
    "amount": Column("amount", ColumnKind.NUMBER, rupiah),
    "buyer_name": Column("buyer"),
    "buyer_phone": Column("phone", ColumnKind.TAG, mask),
    "at": Column("since", ColumnKind.TIME),
    "state": Column("state", ColumnKind.TAG, state_in_words),
    "settled_at": Column("settled", ColumnKind.TIME),
    "reference": Column("reference"),
}
_LISTED = 200  # refunds that a person is shown
_PAGE = 1_000  # refunds that are read at once


@COMMANDS.command("list")
def list_refunds(
    context: typer.Context, *, everything: Everything = False, as_json: Json = False
) -> None:
    """List the refunds that are unpaid, the oldest first. Phones are masked.

    Examples:
      sweeper refunds list  # the oldest of what is owed
      sweeper refunds list --all --json  # all, for a program
    """
    with open_app(context) as app:
        app.check()
        if as_json:
            refunds = _every_refund(app.database.transaction, everything=everything)
            json_list(json.dumps(refund, default=str) for refund in refunds)
            return
        with app.database.transaction() as tx:
            rows = refund_rows(tx, everything=everything, limit=_LISTED + 1)
            due = owed(tx)
    title = "refunds" if everything else "unpaid refunds"
    columns = {name: _SHOWN[name] for name in _SHOWN if everything or name != "state"}
    shown = [[row[name] for name in columns] for row in rows[:_LISTED]]
    table(f"{title}, the oldest first", [*columns.values()], shown, empty=f"No {title}.")
    if len(rows) > _LISTED:
        line(f"these are the oldest {_LISTED}; --json and `refunds export` list all")
    if rows:
        line(f"owed in all: {rupiah(due)}")


@COMMANDS.command("settle")
def settle_refund(
    context: typer.Context,
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's code or id.")],
    reference: Annotated[
        str, typer.Option(metavar="TEXT", help="The bank's reference of the payment.")
    ],
    *,
    reason: Why = None,
    as_json: Json = False,
) -> None:
    """Record that a refund was paid.

    Settling it again with the same reference changes nothing; another reference is an error.

    Examples:
      sweeper refunds settle JST-ABC123-XY --reference TRX-881  # by the order's code
      sweeper refunds settle ckz1 --reference TRX-881 --reason "by hand"  # by its id
    """
    with open_app(context) as app:
        app.check()
        with acting(app, Action.SETTLE, order, reason) as act, app.database.transaction() as tx:
            order_id = app.catalog.codes.find(tx, order) or order.strip()
            code = app.catalog.codes.of(tx, [order_id]).get(order_id)
            name = None if order_id in {order, order.strip()} else f"{code!r} ({order_id})"
            paid = mark_settled(tx, order_id, reference, now(), name)
            what = "settled before" if paid is None else f"settled: {rupiah(paid)}"
            act.done(tx, f"{what}, reference {reference}", [order_id])
        if paid is not None:
            REFUND_SETTLED.log(key=order_id, amount=paid)
    if as_json:
        settled = {"order_id": order_id, "reference": reference, "anew": paid is not None}
        document(settled | {"order_code": code})
    else:
        line(
            "it was settled before, with this reference"
            if paid is None
            else f"settled: {rupiah(paid)}"
        )


@COMMANDS.command("export")
def export_refunds(
    context: typer.Context,
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, the only format.")] = True,
    everything: Everything = False,
) -> None:
    """Print the refunds that are unpaid as CSV, with a header line.

    Examples:
      sweeper refunds export > refunds.csv  # what is owed
      sweeper refunds export --all > refunds.csv  # what was paid, too
    """
    del as_csv
    with open_app(context) as app:
        app.check()
        write_csv(_COLUMNS, _every_refund(app.database.transaction, everything=everything))


def _every_refund(
    transaction: Callable[[], AbstractContextManager[Connection]], *, everything: bool
) -> Iterator[dict[str, Any]]:
    """Yield the refunds, the oldest first, with one page of them in memory."""
    after = None
    while True:
        with transaction() as tx:
            page = refund_rows(tx, everything=everything, after=after, limit=_PAGE)
        yield from map(_shown, page)
        if len(page) < _PAGE:
            return
        after = (page[-1]["at"], page[-1]["order_id"])


def _shown(refund: RowMapping) -> dict[str, Any]:
    """Return a refund as people are shown it.

    Phones are masked: the person who pays finds the buyer in the platform, by the order.
    """
    return {
        **refund,
        "buyer_phone": mask(refund["buyer_phone"] or ""),
        "at": refund["at"].isoformat(timespec="seconds"),
        "settled_at": refund["settled_at"] and refund["settled_at"].isoformat(timespec="seconds"),
    }
