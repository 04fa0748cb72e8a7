"""The first half of the demo: one sweep, from the orders that are due to notices and refunds."""

from jobs.demo.environment import DemoEnvironment
from jobs.demo.printing import chapter, say, table
from jobs.demo.sample_orders import WatchedOrders
from jobs.demo.shop_reader import Notice, Product, ShopReader
from jobs.whatsapp.phones import mask
from jobs.whatsapp.texts import LANGUAGES, render_text, rupiah

_EFFECTS = {
    "NOTIFICATION_SEND_WHATSAPP": "tells the buyer, or the jastiper",
    "ORDER_AUTO_REFUND": "rejects an order, and writes down what is owed back",
    "ORDER_EXPIRE_DP": "cancels an order",
}


def show_due_orders(demo: DemoEnvironment, reader: ShopReader) -> None:
    """Make a dry run; show which of the watched orders are due, and which are not."""
    chapter("1. What is due, and what is left alone")
    orders, decisions = reader.orders(), reader.dry_run()
    say(
        "A dry run looks and changes nothing. The exact limit counts as due. An anomaly looks due "
        "and must not be touched: it is reported, and left to a person."
    )
    table(
        ("order", "what happened to it", "the sweep says"),
        (
            (orders[order_id][1], story, decisions.get(order_id, "left alone"))
            for order_id, story in _descriptions(demo.watched, reader)
        ),
    )
    due = sum(decision.startswith("due") for decision in decisions.values())
    say(f"In all, {due} of {len(orders)} orders are due.")


def run_sweep(demo: DemoEnvironment, reader: ShopReader) -> None:
    """Run one sweep; show how many orders it found, and how their jobs ended."""
    chapter("2. One sweep")
    before, app = reader.orders(), demo.app
    limit = app.settings.safety.max_per_sweep
    report = app.sweep().run(app.rules.values(), limit=limit)
    table(
        ("rule", "found", "enqueued", "anomalies"),
        ((name, one.found, one.enqueued, one.anomalies) for name, one in report.rules.items()),
    )
    found = report.rules["expire_dp"].found
    ended = [status for _, (status, _) in reader.orders().items() - before.items()]
    cancelled = ended.count("cancelled")
    say(
        f"{cancelled} orders were cancelled, {ended.count('rejected')} rejected, "
        f"and {len(before) - len(ended)} left as they were, in {report.seconds:.2f} s.",
        f"Why {cancelled}, where expire_dp has found {found}? The job of one order raised an "
        "error, and will be tried again: chapter 6 is about it. It was worked in one batch with "
        "all others; the batch was halved until the culprit stood alone, and only that one failed.",
        f"{report.jobs.done} jobs were done. Each order that ended is one, and queued its notices "
        "in the same transaction: to the buyer, and to the jastiper where it was rejected; none "
        "to who wants no WhatsApp. Each notice is a job of its own, so that no order waits for it:",
    )
    table(("job", "done", "what it does"), _jobs(reader))


def _jobs(reader: ShopReader) -> list[tuple[str, int, str]]:
    return [(name, done, _EFFECTS.get(name, "")) for name, done in reader.jobs_done()]


def show_stock(reader: ShopReader, before: list[Product]) -> None:
    """Show the stock of every product, *before* the sweep and after it."""
    chapter("3. What goes back on the shelf")
    say(
        "This platform takes stock at checkout, so every order that ended gives back what it took, "
        "once ever. Only goods that are counted change."
    )
    table(
        ("product", "before", "after", ""),
        (
            (old.title, old.stock, new.stock, new.note)
            for old, new in zip(before, reader.stock(), strict=True)
        ),
    )


def show_notices(demo: DemoEnvironment, reader: ShopReader) -> None:
    """Show some notices as their recipients read them, and some that could not be sent."""
    chapter("4. What people are told")
    watched = demo.watched
    for notice in reader.notices((watched.unpaid_order, watched.unanswered_order)):
        texts = [render_text(notice.event_type, notice.facts, language) for language in LANGUAGES]
        table((_address(notice), "in English"), [texts])
    say("A notice never holds up an order; these two orders were cancelled all the same:")
    table(
        ("notice", "what became of it"),
        (
            (_address(notice), notice.error or "the buyer wants no WhatsApp")
            for notice in reader.notices((watched.no_whatsapp_order, watched.no_phone_order))
        ),
    )


def show_refunds(reader: ShopReader) -> None:
    """Show how many refunds are due, and their sum."""
    chapter("5. What is owed back")
    count, amount = reader.owed()
    say(
        f"{count} down payments are to be returned, {rupiah(amount)} in all. There is no payment "
        "gateway: each is written down once, with the rejection, and people settle it "
        "(`sweeper refunds`)."
    )


def _descriptions(watched: WatchedOrders, reader: ShopReader) -> tuple[tuple[str, str], ...]:
    return (
        (watched.unpaid_order, "no DP for 50 minutes"),
        (reader.with_notes("exactly 30 minutes"), "no DP for exactly 30 minutes"),
        (watched.unanswered_order, "DP 26 hours ago, no answer"),
        (reader.with_notes("exactly 24 hours"), "DP exactly 24 hours ago, no answer"),
        (reader.newest_pending(), "fresh: placed a moment ago"),
        (watched.just_paid_order, "placed 40 minutes ago, DP just now"),
        (watched.accepted_order, "DP 30 hours ago, accepted"),
        (watched.paid_yet_pending, "waits for its DP, yet was paid"),
        (watched.waiting_unpaid, "waits for an answer, never paid"),
        (watched.sent_back, "accepted once, then sent back"),
    )


def _address(notice: Notice) -> str:
    return f"{notice.event_type} to {mask(notice.phone)}: {notice.status}"
