"""Notices about orders: each has a row in NotificationLog from the moment it is queued.

The id of a notice is computed from its order and its event, so that there is never a second one.
A nonce in its row and its message says that they belong together: others may know the id.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Select,
    Text,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert

from jobs.limits import limit_of
from jobs.send_whatsapp import JOB as SEND_WHATSAPP
from jobs.tables import GUEST, NOTIFICATION_LOG, ORDER, PARTICIPANT, PRODUCT, TRIP, USER
from jobs.values import NOW, ORDERS, values_of
from jobs.whatsapp.notice import NOTICE_TYPES, Notice, Template, Variable
from jobs.whatsapp.notification_log import NONCE, notice_id_of
from jobs.whatsapp.phones import mask
from jobs.whatsapp.settings import WhatsappSettings
from jobs.whatsapp.texts import render_text
from sweeper import Batch, Effect, Section

_LIMIT = bindparam("limit_seconds", type_=BigInteger)


def announce(batch: Batch[Any], order_ids: list[str], *notices: Notice) -> None:
    """Insert one notice of each kind for each order, and enqueue its job, in one statement.

    The notice of a buyer who does not want WhatsApp messages is stored as suppressed, without a
    job. Raises LookupError for a notice whose job file is not loaded: nobody would know its text.
    """
    for notice in notices:
        if NOTICE_TYPES.values.get(notice.name) is not notice:
            message = f"no job file that is loaded exports the notice {notice.name} in NOTICES"
            raise LookupError(message)
    if order_ids:
        values = values_of(batch, order_ids)
        values[_LIMIT.key] = math.ceil(limit_of(batch).total_seconds())
        batch.enqueue(SEND_WHATSAPP, _queued_notices(notices), values)


@cache
def _queued_notices(kinds: Sequence[Notice]) -> Select[Any]:
    """Return the statement that inserts notices, and returns those whose job is to be enqueued."""
    notices = union_all(*map(_notice, kinds)).cte("notices")
    columns = [*notices.c, NOW.label("createdAt")]
    inserted = (
        insert(NOTIFICATION_LOG)
        .from_select([column.name for column in columns], select(*columns))
        .on_conflict_do_nothing()
        .returning(
            NOTIFICATION_LOG.c.id.label("message_id"),
            NOTIFICATION_LOG.c.metadata,
            NOTIFICATION_LOG.c.status,
        )
        .cte("inserted")
    )
    return select(inserted).where(inserted.c.status == "queued")


def _notice(kind: Notice) -> Select[Any]:
    event_type, to_jastiper = kind.name, kind.to_jastiper
    own = [part for each in kind.variables for part in (each.name, each.value)]
    phone = USER.c.whatsappNumber if to_jastiper else PARTICIPANT.c.phone
    name = USER.c.profileName if to_jastiper else PARTICIPANT.c.name
    opted_out = literal(to_jastiper).is_(False) & GUEST.c.notifyWhatsapp.is_(False)
    code = func.coalesce(
        ORDER.c.orderCode, literal("#", Text) + func.upper(func.left(ORDER.c.id, 8))
    )
    return (
        select(
            notice_id_of(ORDER.c.id, event_type).label("id"),
            literal("PHONE", Text).label("recipientType"),
            func.coalesce(phone, "").label("recipientId"),
            (null() if to_jastiper else GUEST.c.id).label("guestId"),
            literal("WHATSAPP", Text).label("channel"),
            literal(event_type, Text).label("eventType"),
            case((opted_out, "suppressed"), else_="queued").label("status"),
            func.jsonb_build_object(
                "orderId",
                ORDER.c.id,
                "eventType",
                literal(event_type, Text),
                "orderCode",
                code,
                "name",
                name,
                "dpAmount",
                ORDER.c.dpAmount,
                "limitSeconds",
                _LIMIT,
                *own,
                NONCE,
                cast(func.gen_random_uuid(), Text),
            ).label("metadata"),
        )
        .select_from(ORDER)
        .outerjoin(PARTICIPANT, PARTICIPANT.c.id == ORDER.c.participantId)
        .outerjoin(GUEST, GUEST.c.id == ORDER.c.guestId)
        .outerjoin(PRODUCT, PRODUCT.c.id == ORDER.c.productId)
        .outerjoin(
            TRIP, TRIP.c.id == func.coalesce(ORDER.c.tripId, PRODUCT.c.tripId, PARTICIPANT.c.tripId)
        )
        .outerjoin(USER, USER.c.id == TRIP.c.jastiperId)
        .where(ORDER.c.id == any_(ORDERS))
    )


def notice_facts(order_id: str) -> Select[Any]:
    """Return an order's notices with their times, for `explain`; they are found by their ids."""
    ids = [notice_id_of(literal(order_id, Text), name) for name in NOTICE_TYPES.values]
    what = func.concat("notice ", NOTIFICATION_LOG.c.eventType, " is ", NOTIFICATION_LOG.c.status)
    at = func.timezone("UTC", NOTIFICATION_LOG.c.createdAt)
    return select(at, what).where(NOTIFICATION_LOG.c.id.in_(ids))


FACTS = notice_facts


def notices_of(order_ids: Sequence[str]) -> Select[Any]:
    """Return the notices of these orders, for a dry run; they are found by their ids."""
    ids = func.unnest(cast(order_ids, ARRAY(Text))).column_valued("order_id")
    wanted = union_all(
        *(select(notice_id_of(ids, name).label("id")) for name in NOTICE_TYPES.values)
    ).cte("wanted")
    order_id = NOTIFICATION_LOG.c.metadata["orderId"].astext.label("order_id")
    return (
        select(
            NOTIFICATION_LOG.c.id,
            order_id,
            ORDER.c.orderCode,
            NOTIFICATION_LOG.c.eventType,
            NOTIFICATION_LOG.c.recipientId,
            NOTIFICATION_LOG.c.status,
            NOTIFICATION_LOG.c.metadata,
        )
        .join(wanted, wanted.c.id == NOTIFICATION_LOG.c.id)
        .outerjoin(ORDER, ORDER.c.id == order_id)
        .order_by(order_id, NOTIFICATION_LOG.c.eventType)
    )


def _notice_effect(_before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "order_code": after.get("orderCode"),
        "order_id": after.get("order_id"),
        "event_type": after.get("eventType"),
        "to": mask(after.get("recipientId") or ""),
        "status": after.get("status"),
    }


def _rendered(after: Mapping[str, Any], sections: Mapping[type[Section], Section]) -> str:
    """Return the text of a new notice; raises what sending it would raise."""
    settings = sections[WhatsappSettings]
    assert isinstance(settings, WhatsappSettings)  # noqa: S101 -- narrows what the catalog checked
    event, facts = after["eventType"], after["metadata"]
    return render_text(event, facts, settings.language, settings.messages)


EFFECTS = (Effect("notices", "notices", notices_of, _notice_effect, rendered=_rendered),)

__all__ = ["EFFECTS", "FACTS", "Notice", "Template", "Variable", "announce"]
