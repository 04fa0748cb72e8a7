"""The first half of the story: one sweep, from orders that are due to people who are told."""

from jobs.demo.people import Cast
from jobs.demo.stage import Stage
from jobs.demo.voice import chapter, say, table
from jobs.demo.witness import Notice, Product, Witness
from jobs.whatsapp.phones import mask
from jobs.whatsapp.texts import LANGUAGES, render_text, rupiah


def look(stage: Stage, witness: Witness) -> None:
    """Tell which orders are due and which are not, in the words of a dry run."""
    chapter("1. What is due, and what is left alone")
    orders, verdicts = witness.orders(), witness.verdicts()
    say(
        "A dry run looks and changes nothing. The exact limit counts as due. An anomaly looks due "
        "and must not be touched: it is reported, and left to a person."
    )
    table(
        ("order", "what happened to it", "the sweep says"),
        (
            (orders[order_id][1], story, verdicts.get(order_id, "left alone"))
            for order_id, story in _watched(stage.cast, witness)
        ),
    )
    due = sum(verdict.startswith("due") for verdict in verdicts.values())
    say(f"In all, {due} of {len(orders)} orders are due.")


def sweep(stage: Stage, witness: Witness) -> None:
    """Make the sweep, and tell how many orders it found and what became of them."""
    chapter("2. One sweep")
    before, app = witness.orders(), stage.app
    limit = app.settings.safety.max_per_sweep
    report = app.sweep().run(app.rules.values(), limit=limit)
    table(
        ("rule", "found", "enqueued", "anomalies"),
        ((name, one.found, one.enqueued, one.anomalies) for name, one in report.rules.items()),
    )
    moved = [status for _, (status, _) in witness.orders().items() - before.items()]
    jobs = report.jobs
    say(
        f"{moved.count('cancelled')} orders were cancelled, {moved.count('rejected')} rejected, "
        f"and {len(before) - len(moved)} left as they were, in {report.seconds:.2f} s.",
        f"Together with the notices that is {jobs.done} jobs done, {jobs.skipped} skipped and "
        f"{jobs.retried} to be tried again: that one raised an error. It was worked in one batch "
        "with all the others; the batch was halved until the culprit stood alone.",
    )


def restock(witness: Witness, before: list[Product]) -> None:
    """Tell what the sweep gave back to the shelf, as it was *before*."""
    chapter("3. What goes back on the shelf")
    say(
        "This platform takes stock at checkout, so every order that ended gives back what it took, "
        "once ever. Only goods that are counted change."
    )
    table(
        ("product", "before", "after", ""),
        (
            (then.title, then.stock, now.stock, now.note)
            for then, now in zip(before, witness.stock(), strict=True)
        ),
    )


def notices(stage: Stage, witness: Witness) -> None:
    """Show the notices as people read them, and those that could not be sent."""
    chapter("4. What people are told")
    cast = stage.cast
    for notice in witness.notices((cast.unpaid_order, cast.unanswered_order)):
        texts = [render_text(notice.event_type, notice.facts, language) for language in LANGUAGES]
        table((_address(notice), "in English"), [texts])
    say("A notice never holds up an order; these two orders were cancelled all the same:")
    table(
        ("notice", "what became of it"),
        (
            (_address(notice), notice.error or "the buyer wants no WhatsApp")
            for notice in witness.notices((cast.no_whatsapp_order, cast.no_phone_order))
        ),
    )


def refunds(witness: Witness) -> None:
    """Tell what is owed back."""
    chapter("5. What is owed back")
    count, amount = witness.owed()
    say(
        f"{count} down payments are to be returned, {rupiah(amount)} in all. There is no payment "
        "gateway: each is written down once, with the rejection, and people settle it "
        "(`sweeper refunds list`)."
    )


def _watched(cast: Cast, witness: Witness) -> tuple[tuple[str, str], ...]:
    return (
        (cast.unpaid_order, "no DP for 50 minutes"),
        (witness.noted("exactly 30 minutes"), "no DP for exactly 30 minutes"),
        (cast.unanswered_order, "DP 26 hours ago, no answer"),
        (witness.noted("exactly 24 hours"), "DP exactly 24 hours ago, no answer"),
        (witness.youngest(), "fresh: placed a moment ago"),
        (cast.just_paid_order, "placed 40 minutes ago, DP just now"),
        (cast.accepted_order, "DP 30 hours ago, accepted"),
        (cast.paid_yet_pending, "waits for its DP, yet was paid"),
        (cast.waiting_unpaid, "waits for an answer, never paid"),
        (cast.sent_back, "accepted once, then sent back"),
    )


def _address(notice: Notice) -> str:
    return f"{notice.event_type} to {mask(notice.phone)}: {notice.status}"
