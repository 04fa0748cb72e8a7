"""WhatsApp: texts, phone numbers, providers and delivery; its settings are `[whatsapp]`."""

from jobs.whatsapp.settings import SETTINGS

__all__ = ["SETTINGS"]
