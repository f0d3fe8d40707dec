"""What a worker has while it lives: models, log, challenger, watcher; ended together."""

from __future__ import annotations

import asyncio
import atexit
import gc
import logging
import math
from functools import cache
from typing import Any

import pyarrow as pa

from api.access import Access
from api.metrics import Metrics
from api.problems import Problem
from api.settings import ApiSettings
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import absolute, models_root
from fraud_mlops.serving.champion import ServedModel
from fraud_mlops.serving.prediction_log import PredictionLog
from fraud_mlops.serving.records import Record
from fraud_mlops.serving.scorer import Scorer
from fraud_mlops.serving.shadow import Shadow
from fraud_mlops.serving.watching import Watcher
from fraud_mlops.settings import Settings


def one_thread() -> None:
    """A claim is too small for two threads to share, and workers are what fills cores. OpenMP
    keeps the number for each thread by itself: every one that scores has to say so."""
    import torch

    torch.set_num_threads(1)


def one_thread_for_all() -> None:
    """Likewise numpy's products, which have one number for the process."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")


@cache
def settle() -> None:
    """Once a process: what stands now is not looked through for garbage any more. With all that
    PyTorch brings, that would hold up every answer for up to a second, every few seconds."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # extensions count what is left of their own at the end


BATCHES = 2
"""Batches worked on at once; more wait. Each takes a core and more: three threads are at it."""

BODIES = 16
"""Bodies of batches that are on disk at once, those worked on among them; more wait."""

FIRST_LOOK = 15.0
"""Seconds that a start waits for the champion: a silent store must keep nobody from /healthz."""

log = logging.getLogger("fraud.api")


class Service:
    def __init__(
        self, settings: ApiSettings, metrics: Metrics, project: Settings, access: Access
    ) -> None:
        root = absolute(project.lakehouse_uri)
        models = models_root(root, project.model_uri)
        self.settings, self.metrics, self.access = settings, metrics, access
        self.lakehouse = Lakehouse(root)
        self.champion = ServedModel(models, settings.dataset, self.lakehouse)
        self.challenger = ServedModel(models, settings.dataset, self.lakehouse, role="challenger")
        self.batches, self.bodies = asyncio.Semaphore(BATCHES), asyncio.Semaphore(BODIES)
        self.predictions: PredictionLog | None = None
        self.shadow: Shadow | None = None
        self._watcher = Watcher(self.look, settings.poll_seconds, "champion-watcher")

    def start(self) -> None:
        """Loads the champion, if there is one; past FIRST_LOOK the server answers without it."""
        one_thread_for_all()
        given = self.settings
        if given.log_predictions:
            self.predictions = PredictionLog(
                self.lakehouse,
                given.dataset,
                given.log_folder,
                flush_seconds=given.flush_seconds,
                flush_rows=given.flush_rows,
                flushed=self.metrics.logged.inc,
                failed=self.metrics.log_failures.inc,
            )
            if given.shadow_share:
                outcome = self.metrics.shadow
                self.shadow = Shadow(
                    self.challenger,
                    self.write,
                    given.shadow_share,
                    lambda word: outcome.labels(word).inc(),
                )
        self._watcher.start(wait=FIRST_LOOK)
        if given.open:
            log.warning("FRAUD_API_OPEN is set: anybody who reaches this port may score")

    def stop(self) -> None:
        """After the last answer: nothing that was answered is lost."""
        self._watcher.stop()
        try:
            if self.shadow:
                self.shadow.close()
        finally:
            if self.predictions:
                self.predictions.close()

    def look(self) -> None:
        self.champion.look()
        if self.champion.scorer:
            settle()
        if self.shadow:
            self.challenger.look()
        self._measure()

    def scorer(self) -> Scorer:
        """The champion as it is now, whole; a request keeps it to its end. Problem without one."""
        scorer = self.champion.scorer
        if scorer is None:
            raise Problem(
                503,
                "no-model",
                f"There is no model to score with: {self.champion.problem}.",
                headers={"Retry-After": "5"},
            )
        return scorer

    def write(self, records: list[Record]) -> None:
        if self.predictions:
            self.predictions.write(records)

    def write_batch(self, records: pa.RecordBatch) -> None:
        if self.predictions:
            self.predictions.write_batch(records)

    def readiness(self) -> dict[str, Any]:
        """What /readyz tells: whether, which version, and what is wrong."""
        champion, scorer = self.champion, self.champion.scorer
        told: dict[str, Any] = {"ready": scorer is not None, "dataset": champion.dataset}
        if scorer:
            facts = scorer.histories.facts
            told["manifest"], told["since"] = scorer.manifest.digest, champion.since
            told["entity_state_until"] = facts.until if facts else None
        told |= _standing(champion, scorer)
        if self.shadow:
            told["challenger"] = _standing(self.challenger, self.challenger.scorer)
        return told

    def _measure(self) -> None:
        metrics, champion = self.metrics, self.champion
        metrics.ready.set(1 if champion.scorer else 0)
        metrics.swaps.set(champion.swaps)
        for served in (champion, self.challenger):
            metrics.serves(served.role, served.scorer.version if served.scorer else None)
            metrics.refused.labels(served.role).set(1 if served.refused else 0)
            metrics.state_refused.labels(served.role).set(1 if served.state_problem else 0)
        facts = champion.scorer.histories.facts if champion.scorer else None
        metrics.state_until.set(facts.until.timestamp() if facts else math.inf)
        if self.predictions:
            metrics.log_waiting.set(self.predictions.waiting)


def _standing(served: ServedModel, scorer: Scorer | None) -> dict[str, Any]:
    """Which version is served in a role, and what is wrong. scorer: of the role, read but once: a
    swap may come at any moment."""
    told: dict[str, Any] = {}
    if scorer:
        told["version"] = scorer.version
    if refused := served.refused:
        told["refused"] = {"version": refused.version, "reason": refused.reason, "at": refused.at}
    if problem := served.problem or served.state_problem:
        told["problem"] = problem
    return told
