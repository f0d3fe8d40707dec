"""Windows of the metrics zone that others look for by name, without what measures them."""

from __future__ import annotations

SERVED = "served"
"""What the API has answered, beside the batch and what became known."""
