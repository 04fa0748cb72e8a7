"""Write markup into every text of a stranger that the page shows."""

import json
from dataclasses import dataclass

from markupsafe import escape
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.humanize import visible
from tests.support.verbs import DEAD, HOUR, send, send_raw, sweep

SIGNS = ("<img src=x", '" onmouseover', "\u202e")
"""What a page would contain if a hostile text had become markup, or turned the text around."""


@dataclass(frozen=True, slots=True)
class Written:
    """The hostile texts as a page and a preview must contain them."""

    page: tuple[str, ...]
    preview: tuple[str, ...]


def hostile(name: str) -> str:
    """Return a text that would close an attribute and begin an element."""
    return f"""{name}" onmouseover="boom()' x='><img src=x onerror="boom()">"""


def fill_with_hostile_texts(app: App, shop: Shop, connection: Connection) -> Written:
    """Create orders, dead letters, sweeps and goods whose every text is hostile."""
    letter = {
        name: hostile(name) for name in ("type", "key", "error", "fingerprint", "queue", "sweep_id")
    }
    send_raw(app, json.dumps({**letter, "reason": "exhausted", "died_at": "x"}), queue=DEAD)
    foreign = {name: hostile(f"foreign {name}") for name in (*letter, "reason", "died_at")}
    send_raw(app, json.dumps(foreign), queue=DEAD)
    send(app, hostile("sent type"), {"orderId": hostile("sent id")})
    send(app, "ORDER_EXPIRE_DP", {"orderId": [hostile("payload")]})
    shop.order(age=HOUR, id=hostile("swept"))
    sweep(app, actor=hostile("actor"), reason=hostile("cause\u202e"))
    connection.execute(text("update sweeper.sweep set host = :text"), {"text": hostile("host")})
    tin = shop.product(title=hostile("title"), id=hostile("product"), stock=3)
    buyer = shop.participant(phone=hostile("phone"), name=hostile("buyer"))
    guest = shop.guest(phone=hostile("guest phone"), name=hostile("guest"))
    shop.order(
        age=HOUR,
        id=hostile("late\u202e"),
        code=hostile("code"),
        items=[(tin, 2)],
        participant=buyer,
        guest=guest,
    )
    shop.order(age=HOUR, id=hostile("anomaly"), dp_proof_url=hostile("proof"))
    in_both = ("late\u202e", "anomaly")
    return Written(
        _shown(
            *in_both, "type", "key", "error", "foreign type", "sent type", "actor", "cause\u202e"
        ),
        _shown(*in_both, "title"),
    )


def _shown(*names: str) -> tuple[str, ...]:
    return tuple(str(escape(visible(hostile(name)))) for name in names)
