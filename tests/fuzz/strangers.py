"""What strangers may write: texts, JSON, and messages that nearly follow the wire format."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

TYPES = (
    "ORDER_EXPIRE_DP",
    "ORDER_AUTO_REFUND",
    "STOCK_RELEASE",
    "NOTIFICATION_SEND_WHATSAPP",
)
MARKUP = "<img src=x onerror=alert(1)>"

# Texts that have broken programs: controls of terminals, line ends, NULs, halves of surrogate
# pairs, turned directions, format strings, JSON in a string, numbers that are none.
TEXTS = (
    "",
    " ",
    "0",
    "-1",
    "null",
    "NaN",
    "1e400",
    "9" * 30,
    "{}",
    "[[[",
    '"',
    "\\",
    "\\u0000",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\U0001f9f9",
    "e\u0301\u200d",
    "\u202egnp.exe",
    "\u2028\u2029\x85",
    "\ufeff",
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m",
    "line\r\nsweeper: all is well",
    "\x7f\x08\x08",
    "%s%n%d {} {0} {x!r} ${HOME} $(id)",
    "[bold red]x[/bold red][/]",
    '\'; drop table "Order"; --',
    MARKUP,
    "../../etc/passwd",
    "x" * 201,
    "y" * 5_000,
    "2026-01-31T12:00:00.000Z",
    "infinity",
    "0000-00-00",
    "081234567890",
    "+62 812-3456-7890",
)
NUMBERS = (
    "0", "-0", "1", "-1", "3", "1.0", "0.5", "1e0", "2147483647", "2147483648", "-2147483649",
    "9007199254740993", "99999999999999999999", "1e308", "1e400", "-1e400", "1e-400", "9" * 5_000,
)  # fmt: skip


def any_text(random: Random) -> str:
    """Return a text that has broken programs, or one of random characters."""
    if random.random() < 0.7:
        return random.choice(TEXTS)
    planes = (0x80, 0x80, 0x800, 0x1_0000, 0x11_0000)
    return "".join(chr(random.randrange(random.choice(planes))) for _ in range(random.randrange(9)))


def any_json(random: Random, depth: int = 3) -> str:
    """Return JSON text of any kind; Postgres refuses some of it."""
    if depth and random.random() < 0.4:
        inner = [any_json(random, depth - 1) for _ in range(random.randrange(4))]
        if random.random() < 0.5:
            return f"[{', '.join(inner)}]"
        return written({any_text(random): each for each in inner})
    scalars: Sequence[Callable[[], str]] = (
        lambda: json.dumps(any_text(random), ensure_ascii=random.random() < 0.5),
        lambda: random.choice(NUMBERS),
        lambda: random.choice(("true", "false", "null")),
    )
    return random.choice(scalars)()


def written(members: Mapping[str, str]) -> str:
    """Return the JSON text of an object; the members' values are JSON text already."""
    return f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in members.items())}}}"


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody inserts into the table of a queue.

    raw     -- JSON text, which Postgres may refuse; None for SQL NULL
    headers -- likewise
    read_ct -- how often it seems to have been read
    times   -- when it was sent and becomes visible, as Postgres reads them
    """

    queue: str
    raw: str | None
    headers: str | None = None
    read_ct: int = 0
    times: tuple[str, str] = ("now", "now")


@dataclass(frozen=True, slots=True)
class Sender:
    """Writes messages about the keys that it knows, most of which nearly follow the wire format.

    queues -- those that it sends to
    keys   -- the ids of orders
    goods  -- the ids of products
    """

    random: Random
    queues: Sequence[str]
    keys: Sequence[str]
    goods: Sequence[str]

    def message(self, number: int) -> Message:
        """Return the next message; *number* stands in it, wherever it may stand."""
        random = self.random
        kind = random.random()
        queue = random.choice(self.queues)
        raw: str | None
        if queue.endswith("_dead") and kind < 0.75:
            raw = self._letter(f"fuzz-{number}")
        elif kind < 0.75:
            raw = self._near(f"fuzz-{number}")
        elif kind < 0.97:
            raw = any_json(random)
        else:
            raw = random.choice(("[" * 3_000 + "]" * 3_000, '{"a":' * 900 + "1" + "}" * 900, None))
        odd = random.random() < 0.05
        return Message(
            queue,
            raw,
            any_json(random) if random.random() < 0.1 else None,
            random.choice((1, 4, 5, 1_000_000, 2**31 - 1, -1, -(2**31))) if odd else 0,
            random.choice((("-infinity", "-infinity"), ("infinity", "now"), ("now", "infinity")))
            if odd and random.random() < 0.5
            else ("now", "now"),
        )

    def _near(self, tag: str) -> str:
        """Return a body that follows the wire format but for some of its fields."""
        random = self.random
        kind = random.choice(TYPES)
        body = {
            "type": json.dumps(kind),
            "payload": self._payload(kind),
            "retryCount": "0",
            "maxRetries": "0" if random.random() < 0.5 else "1",
            "createdAt": '"2026-01-31T11:58:00.000Z"',
            "tag": json.dumps(tag),
        }
        for _ in range(random.choice((0, 0, 0, 1, 2))):
            name = random.choice([*body, "sweepId", "lastError", "postponed", "timedOut"])
            if name == "tag":
                body.pop(random.choice(("type", "payload", "retryCount", "createdAt")), None)
            else:
                body[name] = any_json(random, depth=1)
        raw = written(body)
        return json.dumps(raw) if random.random() < 0.05 else raw

    def _letter(self, tag: str) -> str:
        """Return a dead letter that follows the form of ours but for some of its fields."""
        random = self.random
        letter = {
            "type": json.dumps(random.choice(TYPES)),
            "key": json.dumps(random.choice(self.keys)),
            "reason": json.dumps(random.choice(("exhausted", "invalid", "crashed", "rejected"))),
            "error": json.dumps(any_text(random)),
            "attempts": "4",
            "died_at": '"2026-01-31T11:58:00.000Z"',
            "queue": json.dumps(random.choice(self.queues)),
            "fingerprint": '"0123456789ab"',
            "sweep_id": "null",
            "body": self._near(tag),
        }
        for _ in range(random.choice((0, 1, 2))):
            letter[random.choice(list(letter))] = any_json(random, depth=1)
        return written(letter)

    def _payload(self, kind: str) -> str:
        random = self.random
        order = random.choice(self.keys)
        if kind == "STOCK_RELEASE" and random.random() < 0.5:
            fields: dict[str, Any] = {
                "productId": random.choice(self.goods),
                "quantity": random.randrange(1, 5),
            }
        elif kind == "STOCK_RELEASE":
            fields = {"orderId": order, "shouldRefund": random.random() < 0.8}
        elif kind == "NOTIFICATION_SEND_WHATSAPP" and random.random() < 0.1:
            fields = {"messageId": order}
        elif kind == "NOTIFICATION_SEND_WHATSAPP":
            fields = {"recipientPhone": any_text(random), "message": any_text(random)}
            if random.random() < 0.3:
                fields["metadata"] = {"orderId": order, "eventType": any_text(random)}
        elif random.random() < 0.2:
            fields = {"orderIds": random.choices(self.keys, k=random.randrange(4))}
        else:
            fields = {"orderId": order}
        members = {name: json.dumps(value) for name, value in fields.items()}
        if random.random() < 0.2:
            name = random.choice([*members, "orderId", "orderIds", any_text(random)])
            members[name] = any_json(random, depth=1)
        raw = written(members)
        return json.dumps(raw) if random.random() < 0.05 else raw
