"""What is told of served scores: figures of the log, and of the metrics that were made of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow.compute as pc

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import list_files
from fraud_mlops.monitoring.drift_report import DRIFT_VERDICTS
from fraud_mlops.monitoring.windows import SERVED
from fraud_mlops.serving.prediction_log import ZONE
from fraud_mlops.words import counted

SAME_SCORES = 0.95
"""Share of answers, at least, that should be the batch's. Not all are: claims of an entity that
came between two scoring runs are unknown to the API, and senders bring features of their own."""

UNMATCHED = 0.2
"""Share of answers, at most, that may name no claim there is: what is scored today may be delivered
tomorrow. More are ids that are not written as the source writes them, or claims that never come."""


def log_facts(lakehouse: Lakehouse, dataset: str) -> tuple[dict[str, Any], str]:
    """Days, files and bytes of the prediction log by one listing; and what changes with it."""
    files = [f for f in list_files(lakehouse.uri(ZONE, dataset)) if f.path.endswith(".parquet")]
    days = sorted({file.path.partition("/")[0].removeprefix("day=") for file in files})
    facts: dict[str, Any] = {
        "days": len(days),
        "files": len(files),
        "bytes": sum(file.bytes for file in files),
    }
    facts |= {"first_day": days[0], "last_day": days[-1]} if days else {}
    return facts, "\n".join(f"{file.path} {file.bytes}" for file in files)


def served_metrics(lakehouse: Lakehouse, dataset: str) -> tuple[str, dict[str, float]] | None:
    """The newest partition on whose claims the API has answered, and its figures by name; None
    while there is none."""
    for partition in reversed(lakehouse.partitions("metrics", dataset)):
        table = lakehouse.read([partition], ["window", "metric", "value"])
        rows = table.filter(pc.equal(table.column("window"), SERVED))
        if rows.num_rows:
            pairs = zip(rows["metric"].to_pylist(), rows["value"].to_pylist(), strict=True)
            return partition.value, dict(pairs)
    return None


def complaints(figures: dict[str, float], minimum: int) -> Iterable[str]:
    """What a person should look into: drift as the flow has judged it, beyond chance; scores
    that are not the batch's, and answers that no claim belongs to, of `minimum` or more."""
    if unreadable := figures.get("unreadable"):
        yield f"{counted(int(unreadable), 'file')} of the prediction log cannot be read"
    for beside, of in (("training", "those of training"), ("batch", "the batch's")):
        psi, verdict = figures.get(f"psi_{beside}"), figures.get(f"verdict_{beside}")
        if psi is not None and verdict == DRIFT_VERDICTS["drift"]:
            yield f"served scores are distributed unlike {of}: PSI {psi:.2f}"
    same = figures.get("same_scores")
    # Figures of earlier releases have no `compared`.
    compared = figures.get("compared", figures.get("matched", 0))
    if same is not None and compared >= minimum and same < SAME_SCORES:
        yield f"{1 - same:.0%} of the claims that both have scored have another score in the batch"
    given, unmatched = figures.get("predictions", 0), figures.get("unmatched", 0)
    if given >= minimum and unmatched > UNMATCHED * given:
        yield f"{unmatched / given:.0%} of the answers name no claim that was ingested"
