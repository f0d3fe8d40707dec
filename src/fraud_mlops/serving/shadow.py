"""The challenger looks on: a share of claims is scored by it too, after the answer has left."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from fraud_mlops.serving.champion import ServedModel
from fraud_mlops.serving.records import CHALLENGER, Looked, Record, records
from fraud_mlops.serving.scorer import Scorer

WAITING = 1000
CLOSE_SECONDS = 30.0
log = logging.getLogger("fraud.serving")


class Shadow:
    """A thread that scores what it is offered. It never holds a request up: what does not fit in
    the queue is left out, and told to `outcome` ("scored", "dropped", "failed")."""

    def __init__(
        self,
        challenger: ServedModel,
        write: Callable[[list[Record]], object],
        share: float,
        outcome: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._challenger, self._write, self._share = challenger, write, share
        self._outcome = outcome
        self._told: set[tuple[str, str]] = set()
        self._queue: queue.Queue[Looked | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="challenger", daemon=True)
        self._thread.start()

    def wants(self, request_id: str) -> bool:
        """Whether the request is in the share: by its id, the same on every try."""
        return self._challenger.scorer is not None and in_share(request_id, self._share)

    def offer(self, looked: Looked) -> None:
        try:
            self._queue.put_nowait(looked)
        except queue.Full:
            self._outcome("dropped")

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Scores what is waiting, and ends; what takes longer is left."""
        half = seconds / 2
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=half)
            self._thread.join(half)

    def _run(self) -> None:
        import torch

        torch.set_num_threads(1)  # OpenMP's number is each thread's own
        while (looked := self._queue.get()) is not None:
            scorer = self._challenger.scorer
            if scorer is None:
                continue
            try:
                self._write([shadow_record(scorer, looked)])
                self._outcome("scored")
            except Exception as error:  # the next claim may be another matter
                self._tell(scorer.version, type(error).__name__)
                self._outcome("failed")

    def _tell(self, version: str, kind: str) -> None:
        """Once: a challenger of another contract may take none of the champion's claims."""
        if (version, kind) not in self._told:
            self._told.add((version, kind))
            log.warning("challenger %s could not score a claim: %s", version, kind)


def in_share(request_id: str, share: float) -> bool:
    number = int.from_bytes(hashlib.blake2s(request_id.encode(), digest_size=4).digest())
    return number < share * 2**32


def shadow_record(scorer: Scorer, looked: Looked) -> Record:
    """What is the champion's alone among the claim's fields is nothing to the challenger."""
    claim = scorer.reader.read_known(looked.body)
    if claim.event_time is None:
        moment = datetime.fromtimestamp(looked.moment / 1e6, UTC)
        claim = claim.model_copy(update={"event_time": moment})
    inputs = scorer.prepare([claim])
    scores = scorer.score(inputs)
    seen = looked._replace(role=CHALLENGER)
    (made,) = records(scorer, [claim.claim_id], inputs, scores, [[]], [seen])
    return made
