"""The sample orders of the demo: a hundred and twenty, in every state that an order can have."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle, pairwise
from typing import Any, NamedTuple

from jobs.demo.shop import Shop

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

INT_MAX = 2**31 - 1

NAMES = (
    "Ayu Lestari",
    "Budi Santoso",
    "Citra Dewi",
    "Dimas Prakoso",
    "Eka Wulandari",
    "Fajar Nugroho",
    "Gita Permata",
    "Hendra Wijaya",
    "Intan Maharani",
    "Joko Susilo",
    "Kartika Putri",
    "Lukman Hakim",
    "Melati Anggraini",
    "Nur Aini",
    "Oka Mahendra",
    "Putu Ariani",
    "Rizky Ramadhan",
    "Siti Rahmawati",
)

SPELLINGS = (
    "08120002{:04}",
    "0812-0002-{:04}",
    "(0812) 0002 {:04}",
    "+628120002{:04}",
    "+62 812-0002-{:04}",
    "628120002{:04}",
    "8120002{:04}",
    "6208120002{:04}",
    "62+628120002{:04}",
)

UNUSUAL_IDS = ("c'petik'", 'c"kutip"', "c100%s%%", r"c\balik\n", "c-jastip-é-東京-🛍")


@dataclass(frozen=True, slots=True)
class WatchedOrders:
    """The ids of the orders and products that the demo shows one by one."""

    overflow_order: str
    overflow_product: str
    unpaid_order: str
    unpaid_product: str
    unanswered_order: str
    unanswered_product: str
    just_paid_order: str
    accepted_order: str
    paid_yet_pending: str
    waiting_unpaid: str
    sent_back: str
    no_phone_order: str
    no_whatsapp_order: str


class Buyer(NamedTuple):
    """The two rows of one buyer: the participant of the trip, and the guest across trips."""

    participant: str
    guest: str


@dataclass(frozen=True, slots=True)
class OrderGroup:
    """Orders of one status, each older by *step* than the one before."""

    status: str
    count: int
    age: timedelta
    paid_ago: timedelta | None = None
    step: timedelta = 13 * MINUTE
    columns: Mapping[str, Any] = field(default_factory=dict)


def add_sample_orders(shop: Shop) -> WatchedOrders:
    """Fill an empty platform with orders of every state and age; return the ids to watch."""
    products = _products(shop)
    _add_order_groups(shop, products)
    _add_edge_cases(shop, products)
    _add_single_product_orders(shop, products)
    return _add_watched_orders(shop)


def _products(shop: Shop) -> tuple[str, ...]:
    return (
        shop.product(title="Matcha Uji", stock=12),
        shop.product(title="KitKat Sakura", stock=40, price=35_000),
        shop.product(title="Sabun Onsen", unlimited=True, price=60_000),
        shop.product(title="Titip Antre Konser", type="tasks", stock=5, price=200_000),
        shop.product(title="Gantungan Kunci", stock=None, price=25_000),
        shop.product(title="Payung Lipat", stock=0, price=90_000),
    )


def _buyers(shop: Shop) -> Iterator[Buyer]:
    for number, (name, spelling) in enumerate(zip(NAMES, cycle(SPELLINGS), strict=False), 1):
        yield Buyer(
            shop.participant(phone=spelling.format(number), name=name),
            shop.guest(phone=f"+628120002{number:04}", name=name, notify_whatsapp=number % 6 != 0),
        )


def _accepted(shop: Shop) -> dict[str, Any]:
    return {
        "validated_at": shop.now - 20 * HOUR,
        "validated_by": shop.usual_user,
        "final_breakdown": {"items": 150_000, "shipping": 20_000, "downPayment": -50_000},
        "final_amount": 120_000,
        "shipping_fee": 20_000,
    }


def _order_groups(shop: Shop) -> tuple[OrderGroup, ...]:
    proof = {"dp_proof_url": "https://example.com/dp.jpg"}
    webhook = {"dp_payment_id": "pay-0001"}
    accepted = proof | _accepted(shop)
    settled = accepted | {
        "final_proof_url": "https://example.com/final.jpg",
        "final_paid_at": shop.now - 2 * HOUR,
    }
    rejected = proof | {
        "validated_at": shop.now - 20 * HOUR,
        "validated_by": shop.usual_user,
        "rejection_reason": "Barang habis di toko",
    }
    failed = {"rejection_reason": "Pembayaran gagal"}
    return (
        OrderGroup("pending_dp", 22, 31 * MINUTE),
        OrderGroup("pending_dp", 9, 0 * MINUTE, step=3 * MINUTE),
        OrderGroup("awaiting_validation", 14, 25 * HOUR, 24 * HOUR + MINUTE, columns=proof),
        OrderGroup("awaiting_validation", 10, HOUR, 40 * MINUTE, step=2 * HOUR, columns=webhook),
        OrderGroup("awaiting_final_payment", 7, 30 * HOUR, 29 * HOUR, columns=accepted),
        OrderGroup("awaiting_final_validation", 5, 2 * DAY, 47 * HOUR, columns=settled),
        OrderGroup("paid", 8, 3 * DAY, 70 * HOUR, columns=settled),
        OrderGroup("completed", 5, 9 * DAY, 8 * DAY, columns=settled),
        OrderGroup("rejected", 6, 2 * DAY, 47 * HOUR, columns=rejected),
        OrderGroup("cancelled", 6, 2 * DAY, columns=failed),
    )


def _add_order_groups(shop: Shop, products: tuple[str, ...]) -> None:
    buyers = cycle(_buyers(shop))
    pairs = pairwise(cycle(products))
    for group in _order_groups(shop):
        for number in range(group.count):
            offset = number * group.step
            buyer = next(buyers)
            one, other = next(pairs)
            shop.order(
                status=group.status,
                age=group.age + offset,
                paid_ago=None if group.paid_ago is None else group.paid_ago + offset,
                items=[(one, 1 + number % 3), (other, 1)],
                participant=buyer.participant,
                guest=buyer.guest,
                **group.columns,
            )


def _add_edge_cases(shop: Shop, products: tuple[str, ...]) -> None:
    matcha, kitkat, *_ = products
    for unusual_id in UNUSUAL_IDS:
        shop.order(id=unusual_id, age=45 * MINUTE, items=[(kitkat, 1)])
    shop.order(age=30 * MINUTE, items=[(kitkat, 1)], notes="exactly 30 minutes")
    shop.order(
        status="awaiting_validation",
        age=25 * HOUR,
        paid_ago=24 * HOUR,
        items=[(kitkat, 1)],
        notes="exactly 24 hours",
    )
    shop.order(age=HOUR, items=[(matcha, 1), (matcha, 2)], notes="one product in two lines")
    shop.order(age=HOUR, items=[(matcha, 1), (kitkat, 1)], notes="shares its products")
    shop.order(age=HOUR, items=[(kitkat, 1), (matcha, 1)], notes="with this one")
    shop.order(age=HOUR, items=[(kitkat, 1)], guest="c" + 24 * "0", notes="dangling guest")
    shop.order(
        age=HOUR,
        items=[(kitkat, 1)],
        participant=shop.participant(phone="+1 415 555 0142", name="Megan Hartono"),
        guest=shop.guest(phone="+14155550142", name="Megan Hartono"),
        notes="foreign number",
    )


def _add_single_product_orders(shop: Shop, products: tuple[str, ...]) -> None:
    ages = {
        "pending_dp": (10 * MINUTE, 35 * MINUTE, 2 * DAY),
        "pending": (3 * DAY,),
        "confirmed": (4 * DAY,),
        "completed": (9 * DAY,),
    }
    for status, status_ages in ages.items():
        for age in status_ages:
            shop.order(
                status=status,
                age=age,
                product=products[0],
                quantity=2,
                dp_amount=0,
                guest=None,
                trip=None,
                code=None,
            )


def _add_watched_orders(shop: Shop) -> WatchedOrders:
    full = shop.product(title="Stiker", stock=INT_MAX, price=1_000)
    unpaid = shop.product(title="Tas Kanvas", stock=3)
    unanswered = shop.product(title="Sepatu Lari", stock=1, price=900_000)
    usual = [(shop.usual_product, 1)]
    return WatchedOrders(
        overflow_order=shop.order(age=HOUR, items=[(full, 1)]),
        overflow_product=full,
        unpaid_order=shop.order(age=50 * MINUTE, items=[(unpaid, 2)]),
        unpaid_product=unpaid,
        unanswered_order=shop.order(
            status="awaiting_validation",
            age=27 * HOUR,
            paid_ago=26 * HOUR,
            items=[(unanswered, 1)],
            dp_amount=180_000,
        ),
        unanswered_product=unanswered,
        just_paid_order=shop.order(
            status="awaiting_validation", age=40 * MINUTE, paid_ago=0 * MINUTE, items=usual
        ),
        accepted_order=shop.order(
            status="awaiting_final_payment",
            age=31 * HOUR,
            paid_ago=30 * HOUR,
            items=usual,
            **_accepted(shop),
        ),
        paid_yet_pending=shop.order(age=2 * HOUR, paid_ago=HOUR, items=usual),
        waiting_unpaid=shop.order(status="awaiting_validation", age=2 * DAY, items=usual),
        sent_back=shop.order(
            status="awaiting_validation",
            age=3 * DAY,
            paid_ago=50 * HOUR,
            items=usual,
            **_accepted(shop),
        ),
        no_phone_order=shop.order(
            age=HOUR,
            items=usual,
            participant=shop.participant(phone="not a phone", name="Wahyu Saputra"),
            guest=None,
        ),
        no_whatsapp_order=shop.order(
            age=HOUR,
            items=usual,
            guest=shop.guest(phone="+6281200030001", notify_whatsapp=False),
        ),
    )
