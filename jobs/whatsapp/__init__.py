"""WhatsApp: notices, phone numbers, providers and delivery, with the settings `[whatsapp]`."""

from jobs.whatsapp.notice import NOTICE_TYPES
from jobs.whatsapp.settings import SETTINGS

COLLECTS = (NOTICE_TYPES,)

__all__ = ["COLLECTS", "SETTINGS"]
