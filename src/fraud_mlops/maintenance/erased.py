"""What an erasure has found, object by object, those that it could not look into with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pyarrow as pa

from fraud_mlops.errors import FraudMlopsError, ReplacedError, StoreError


class Erased(NamedTuple):
    """rows: found. left: why they are still there; empty where they are gone, or would be.
    unread: of an object that could not be looked into, so that nobody knows what it holds.
    now: what has taken the object's place, where that has another name."""

    place: str
    uri: str
    rows: int
    left: str = ""
    unread: bool = False
    now: str = ""


def one_by_one(place: str, uris: Iterable[str], erase: Callable[[str], int]) -> Iterator[Erased]:
    """erase: takes the rows out of one object, and counts them. One that is damaged stops nothing.

    Raises StoreError when the store itself is out of reach, or refuses.
    """
    for uri in uris:
        try:
            rows = erase(uri)
        except FileNotFoundError:  # gone since it was listed
            continue
        except (FraudMlopsError, pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, StoreError) and not isinstance(error, ReplacedError):
                raise
            yield unread(place, uri, error)
            continue
        if rows:
            yield Erased(place, uri, rows)


def unread(place: str, uri: str, why: object) -> Erased:
    told = str(why).removeprefix(f"{uri}: ")
    return Erased(place, uri, 0, f"could not be looked into: {told}", unread=True)
