"""What of a secret stands in no output of a run."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from dagster_metaflow.backends.secret_names import of_field

MASKED = "DAGSTER_METAFLOW_MASKED"
"""Variable of the flow: names of those that are secret, with commas between."""
_MASK = "[REDACTED]"
_SHORTEST_SECRET = 4
_SHORTEST_PART = 8  # of a secret that is made of several


def masker(secrets: Iterable[str]) -> Callable[[str], str]:
    """Puts a mark where a text has one of them, or a secret part of one."""
    texts = {text for secret in secrets for text in parts_of(secret)}
    if not texts:
        return str
    hidden = re.compile("|".join(re.escape(t) for t in sorted(texts, key=len, reverse=True)))
    return lambda text: hidden.sub(_MASK, text)


def parts_of(secret: str) -> set[str]:
    """All that is hidden of a secret: itself, and what of it is secret where it is a connection
    string (`Key=value;...`), a JSON document, a PEM file or an address with a password.

    What is named otherwise (an account, a project) and addresses are not: a log is to be read.
    """
    bare = secret.strip()  # a line that has it ends where it does
    whole = {bare} if len(bare) >= _SHORTEST_SECRET else set()
    parts = list[str]()
    for name, text in _texts_in(secret):
        lines = text.splitlines()
        if "PRIVATE KEY-----" in text or of_field(name):
            parts += [line for line in (text, *lines) if "://" not in line]
        for pairs in (re.split(r"[;\n]", text), re.split(r"[;&?\n]", text)):
            named = (pair.partition("=") for pair in pairs)
            parts += [value for key, _, value in named if key.strip() and of_field(key.strip())]
        for line in lines:
            with contextlib.suppress(ValueError):
                parts.append(urlsplit(line.strip()).password or "")
    stripped = (part.strip().strip("\"'") for part in parts)
    return whole | {part for part in stripped if len(part) >= _SHORTEST_PART}


def _texts_in(secret: str) -> list[tuple[str, str]]:
    """By the names above them, those of a JSON document; itself where it is none."""
    try:
        rest: list[tuple[str, Any]] = [("", json.loads(secret))]
    except ValueError:
        return [("", secret)]
    found = list[tuple[str, str]]()
    while rest:
        name, one = rest.pop()
        if isinstance(one, dict):
            rest += [(f"{name}.{key}", value) for key, value in one.items()]
        elif isinstance(one, list):
            rest += [(name, value) for value in one]
        elif isinstance(one, str):
            found.append((name, one))
    return found
