"""The database privileges that the jobs' statements need, and no more."""

from sweeper import Grant

_READ = ("Order", "OrderItem", "Product", "Participant", "Guest", "Trip", "NotificationLog")

GRANTS = (
    *(Grant(None, table, "select") for table in _READ),
    Grant(None, "User", "select", ("id", "profileName", "whatsappNumber")),
    Grant(None, "Order", "update", ("status", "rejectionReason", "updatedAt")),
    Grant(None, "Product", "update", ("stock", "updatedAt")),
    Grant(None, "NotificationLog", "insert"),
    Grant(
        None,
        "NotificationLog",
        "update",
        ("recipientId", "status", "sentAt", "errorMessage", "metadata"),
    ),
    Grant("sweeper", "stock_release", "select"),
    Grant("sweeper", "stock_release", "insert"),
    Grant("sweeper", "refund", "select"),
    Grant("sweeper", "refund", "insert"),
    Grant("sweeper", "refund", "update"),
)
