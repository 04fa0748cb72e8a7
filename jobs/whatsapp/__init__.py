"""WhatsApp: texts, phone numbers, providers and delivery, with the settings `[whatsapp]`."""

from jobs.whatsapp.settings import SETTINGS

__all__ = ["SETTINGS"]
