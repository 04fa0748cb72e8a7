"""Something of everything that the pages of the console show."""

from jobs.demo.sample_orders import INT_MAX
from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import HOUR, MINUTE, scan, send, send_raw, sweep

PHONE = "0812-3456-7890"
DEAD_CODE = "JST-PENUH"
"""The code of the order whose job is dead."""


def fill_console(app: App, shop: Shop) -> str:
    """Create something of everything that the page shows; return the order whose job is dead."""
    tins, shelf = shop.product(stock=8), shop.product(stock=INT_MAX)
    for days in (2, 3, 5):
        shop.order(
            status="awaiting_validation",
            age=days * 24 * HOUR,
            paid_ago=25 * HOUR,
            dp_amount=days * 60_000,
            dp_proof_url="https://example.com/dp.jpg",
        )
    sweep(app, actor="ratih", reason="after the weekend")
    overflowing = shop.order(age=50 * MINUTE, items=[(shelf, 1)], code=DEAD_CODE)
    send(app, "ORDER_EXPIRE_DP", {"orderId": overflowing}, maxRetries=0)
    send_raw(app, f'{{"type": "NOTIFICATION_SEND_WHATSAPP", "payload": "{PHONE}"}}')
    send_raw(app, '"expire everything"')
    sweep(app)
    shop.order(age=40 * MINUTE, dp_proof_url="https://example.com/dp.jpg")
    for minutes in (31, 33, 38):
        shop.order(age=minutes * MINUTE, items=[(tins, 1)])
    scan(app)
    shop.order(age=31 * MINUTE, items=[(tins, 2)])
    return overflowing
