"""What a client accepts as an answer, as RFC 9110 has it."""

from __future__ import annotations

from collections.abc import Sequence

_ANY = "*/*"


def accepted(accept: str, offered: Sequence[str]) -> str | None:
    """Of the types offered, best first, the one that is liked most; None where none is accepted.

    Between types that are liked alike, one that is named goes before one that is only not ruled
    out.
    """
    if not accept.strip():
        return offered[0]
    liked = dict(filter(None, map(_range, accept.split(","))))
    best, most = None, (0.0, 0)
    for media in offered:
        ranges = (media, media.partition("/")[0] + "/*", _ANY)
        named = next((i for i, known in enumerate(ranges) if known in liked), None)
        if named is None:
            continue
        found = (liked[ranges[named]], -named)
        if found[0] > 0 and (best is None or found > most):
            best, most = media, found
    return best


def _range(told: str) -> tuple[str, float] | None:
    """A media range and how much it is liked, 0 for not at all; None for what is none."""
    media, *parameters = (part.strip().lower() for part in told.split(";"))
    liked = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                liked = float(value)
            except ValueError:
                return None
    return (media, liked) if media and 0 <= liked <= 1 else None
