"""Answers that are the same as long as one model is served: made once, kept as bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from pydantic_core import to_json

from fraud_mlops.serving.scorer import Scorer

S = TypeVar("S", bound=Scorer | None)


class Kept(Generic[S]):
    """The JSON of what `make` tells of a scorer, for as long as that is there. It is made on the
    event loop: where anybody may ask, each time would hold up those who score."""

    def __init__(self, make: Callable[[S], Any]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[object, bytes] = WeakKeyDictionary()

    def of(self, scorer: S) -> bytes:
        key: object = self if scorer is None else scorer
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = to_json(self._make(scorer))
        return made
