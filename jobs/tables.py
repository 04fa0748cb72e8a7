"""The columns of the platform's tables that the jobs use; the platform owns the tables."""

from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from sweeper import UtcTimestamp

PLATFORM = MetaData()

ORDER = Table(
    "Order",
    PLATFORM,
    Column("id", Text, primary_key=True),
    Column("orderCode", Text),
    Column("participantId", Text),
    Column("guestId", Text),
    Column("productId", Text),
    Column("quantity", Integer),
    Column("status", Text),
    Column("createdAt", UtcTimestamp),
    Column("updatedAt", UtcTimestamp),
    Column("tripId", Text),
    Column("dpAmount", Integer),
    Column("dpPaidAt", UtcTimestamp),
    Column("dpProofUrl", Text),
    Column("dpPaymentId", Text),
    Column("validatedAt", UtcTimestamp),
    Column("rejectionReason", Text),
    Column("finalBreakdown", JSONB),
)

ORDER_ITEM = Table(
    "OrderItem",
    PLATFORM,
    Column("id", Text, primary_key=True),
    Column("orderId", Text),
    Column("productId", Text),
    Column("quantity", Integer),
)

PRODUCT = Table(
    "Product",
    PLATFORM,
    Column("id", Text, primary_key=True),
    Column("tripId", Text),
    Column("title", Text),
    Column("stock", Integer),
    Column("isUnlimitedStock", Boolean),
    Column("type", Text),
    Column("updatedAt", UtcTimestamp),
)

PARTICIPANT = Table(
    "Participant",
    PLATFORM,
    Column("id", Text, primary_key=True),
    Column("tripId", Text),
    Column("phone", Text),
    Column("name", Text),
)

GUEST = Table(
    "Guest",
    PLATFORM,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("phone", Text),
    Column("notifyWhatsapp", Boolean),
)

TRIP = Table(
    "Trip",
    PLATFORM,
    Column("id", Text, primary_key=True),
    Column("jastiperId", Text),
)

USER = Table(
    "User",
    PLATFORM,
    Column("id", Text, primary_key=True),
    Column("profileName", Text),
    Column("whatsappNumber", Text),
)

NOTIFICATION_LOG = Table(
    "NotificationLog",
    PLATFORM,
    Column("id", Text, primary_key=True),
    Column("recipientType", Text),
    Column("recipientId", Text),
    Column("guestId", Text),
    Column("channel", Text),
    Column("eventType", Text),
    Column("status", Text),
    Column("sentAt", UtcTimestamp),
    Column("errorMessage", Text),
    Column("metadata", JSONB),
    Column("createdAt", UtcTimestamp),
)

TABLES = (ORDER, ORDER_ITEM, PRODUCT, PARTICIPANT, GUEST, TRIP, USER, NOTIFICATION_LOG)
