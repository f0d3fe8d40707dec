"""Requests that are there at the same moment are scored together.

Most of a claim's time goes into calls, not arithmetic, and a call for sixteen claims takes little
longer than one for one. Nobody waits for others to come: what has arrived by the time the event
loop gets to scoring is scored. A claim's numbers are the same to the bit whoever is beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from api.problems import Problem
from fraud_mlops.serving.scorer import FEW_ROWS, Explain, Scorer


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """One claim, read; body: as it came. moment: its event time in microseconds since 1970.
    name: the request's id; client: who asks. what_if: the claim is made up, to see what would
    change; no decision on a claim."""

    claim: Any
    moment: int
    body: bytes
    name: str
    client: str
    explain: Explain
    what_if: bool = False


Answer = dict[str, Any] | Problem
_Waiting = tuple[Scorer, Asked, asyncio.Future[dict[str, Any]]]


class Joiner:
    """answers: of claims that were read by one scorer, in order; at most FEW_ROWS at once."""

    def __init__(self, answers: Callable[[Scorer, list[Asked]], list[Answer]]) -> None:
        self._answers = answers
        self._waiting: list[_Waiting] = []

    async def ask(self, scorer: Scorer, asked: Asked) -> dict[str, Any]:
        """What is told of the claim. Raises Problem, or what scoring raised."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._score)  # after all tasks that are ready now
        future: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._waiting.append((scorer, asked, future))
        return await future

    def _score(self) -> None:
        waiting, self._waiting = self._waiting[:FEW_ROWS], self._waiting[FEW_ROWS:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._score)
        of_scorer: dict[int, list[_Waiting]] = {}
        for each in waiting:  # two versions, where one was swapped in just now
            of_scorer.setdefault(id(each[0]), []).append(each)
        for group in of_scorer.values():
            self._settle(group)

    def _settle(self, group: list[_Waiting]) -> None:
        answers: list[Answer | Exception]
        try:
            answers = list(self._answers(group[0][0], [asked for _, asked, _ in group]))
        except Exception as error:  # each request tells it in its own way
            answers = [error] * len(group)
        for (_, _, future), answer in zip(group, answers, strict=True):
            if future.done():  # its client has gone
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
