"""Messages to people: what failed, where, since when, what to do. Told once, and never fatal."""

from fraud_mlops.notifications.delivery import Delivered, notify
from fraud_mlops.notifications.message import Notification

__all__ = ["Delivered", "Notification", "notify"]
