"""Texts without the secrets that this process knows, or that look like some."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "****"
_NAMES = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CONNECTION_STRING|CREDENTIAL|API_?KEY|ACCESS_KEY|ACCOUNT_KEY"
    r"|NOTIFY_URLS|WEBHOOK|_SAS|_KEY$|PSWD|_HEADERS$|AUTHORIZATION|_AUTH$",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(_PATH|_FILE|_URL|_ID)$", re.IGNORECASE)
_IN_HEADERS = re.compile(r"[=:]\s*\"?([^\",]+)")
"""Values alone, of `name=value,...` and of JSON."""

_LEAST = 6
"""Shorter values are words that stand in every text."""

_PIECE = 8

_SHAPES = (
    # Bounded, so that a long text is passed over quickly.
    # What stands before the @ of an abfss address is a container, and no login.
    (
        re.compile(r"(\b(?!abfss?:)[a-z][a-z0-9+.-]{0,15}://)[^\s/?#@]{1,200}@", re.IGNORECASE),
        rf"\1{HIDDEN}@",
    ),
    (
        re.compile(
            r"((?:sig|signature|token|access_token|api_?key|password|passwd|pwd|secret|accountkey"
            r"|sharedaccesssignature)\s*[=:]\s*)(?!\s)[^\s&;,\"']{4,}",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}\b"), HIDDEN),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END[^\n]*|\Z)", re.DOTALL), HIDDEN),
)


def masker(environment: Mapping[str, str], *others: str) -> Callable[[str], str]:
    """A function that hides the environment's secrets, as they are and as addresses write them.

    others: further secrets.
    """
    known = set(others)
    for name, value in environment.items():
        if _NAMES.search(name) and not _NO_SECRET.search(name):
            parts = [value, *value.split(), *_IN_HEADERS.findall(value)]
            known.update(part for part in parts if len(part) >= _LEAST)
    known |= {quote(value, safe="") for value in known}
    longest_first = sorted(known, key=len, reverse=True)

    def mask(text: str) -> str:
        for value in longest_first:
            text = text.replace(value, HIDDEN)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text

    return mask


def mask_values(found: Any, mask: Callable[[str], str]) -> Any:
    """Of what JSON can say, before it is said: a mask over JSON may take a quote's backslash."""
    if isinstance(found, str):
        return mask(found)
    if isinstance(found, Mapping):
        return {name: mask_values(one, mask) for name, one in found.items()}
    if isinstance(found, list | tuple):
        return [mask_values(one, mask) for one in found]
    return found


def parts_of_address(address: str) -> list[str]:
    """What of a notifier's address is secret: itself, its password, and pieces of path and query,
    where chat rooms have their keys."""
    try:
        parts = urlsplit(address)
        password, keys = parts.password, f"{parts.path}?{parts.query}"
        port = parts.netloc.rpartition("@")[2].partition(":")[2]
        if not port.isdigit():  # a bot's key, in a Telegram address
            keys += f"/{port}"
    except ValueError:  # a [ in a password, which apprise takes and urllib does not
        login, _, keys = address.partition("://")[2].rpartition("@")
        password = login.partition(":")[2]
    pieces = re.split(r"[/?&=#]+", keys)
    found = [address, password or "", *(piece for piece in pieces if len(piece) >= _PIECE)]
    return [*filter(None, found), *(unquote(piece) for piece in found if "%" in piece)]


class MaskedLog(logging.Filter):
    """For a library's logger that writes down addresses."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        super().__init__()
        self.mask = mask

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.mask(record.getMessage()), ()
        return True

    def install(self, name: str) -> None:
        """In place of an older one, so that they do not add up."""
        logger = logging.getLogger(name)
        for old in [found for found in logger.filters if isinstance(found, MaskedLog)]:
            logger.removeFilter(old)
        logger.addFilter(self)
