"""The events that the job files log; `docs/events.md` lists them with the engine's events."""

from sweeper import Event, Remedy

REPLIES_LOST = Remedy("replies-lost", "sweeper explain ORDER")
NOTICES_FAIL = Remedy("notices-fail", "sweeper dead list --type NOTIFICATION_SEND_WHATSAPP")
REFUNDS_OWED = Remedy("refunds-owed", "sweeper refunds list")

REPLY_LOST = Event(
    "reply.lost",
    "warning",
    {
        "key": "order or notice that it is about",
        "event_type": "what it tells",
        "to": "phone, masked",
        "again": "flag: whether it is sent once more; it may then arrive twice",
        "error": "one line",
    },
    "If it is not sent again, see in the provider's history whether it arrived, or ask the person.",
    REPLIES_LOST,
)
REFUND_RECORDED = Event(
    "refund.recorded",
    "info",
    {
        "keys": "texts: orders whose down payments are owed back",
        "amount": "integer: their sum, in rupiah",
    },
    "Pay them back: sweeper refunds list, then sweeper refunds settle.",
    REFUNDS_OWED,
)
REFUND_SETTLED = Event(
    "refund.settled", "info", {"key": "order", "amount": "integer: that was paid back, in rupiah"}
)
NOTIFICATION_SENT = Event(
    "notification.sent",
    "info",
    {
        "key": "order or notice that it is about",
        "event_type": "what it tells",
        "to": "phone, masked",
        "provider": "that took it",
    },
)
NOTIFICATION_FAILED = Event(
    "notification.failed",
    "warning",
    {
        "key": "order or notice that it is about",
        "event_type": "what it should tell",
        "to": "phone, masked",
        "error": "one line",
    },
    "The order's change stands; tell the person in another way.",
    NOTICES_FAIL,
)

EVENTS = (NOTIFICATION_FAILED, NOTIFICATION_SENT, REFUND_RECORDED, REFUND_SETTLED, REPLY_LOST)
