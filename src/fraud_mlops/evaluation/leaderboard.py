"""Which candidate is best, on the validation window alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from fraud_mlops.errors import TrainingError


class LeaderboardRow(BaseModel):
    """One candidate, or the reigning champion as incumbent.

    metrics: on the validation window, as of `evaluate`; those not defined are left out.
    train_seconds: wall time; rows_per_second: claims trained on a second. in_sample: an incumbent
    that was trained on claims of this window, shown but not ranked. rank: from 1, set by
    `rank_candidates`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    family: str
    status: Literal["trained", "failed", "incumbent"]
    error: str | None = None
    metrics: dict[str, float] = {}
    train_seconds: float | None = None
    rows_per_second: float | None = None
    params: dict[str, Any] = {}
    seed: int | None = None
    in_sample: bool = False
    rank: int | None = None

    @field_validator("metrics")
    @classmethod
    def _defined(cls, metrics: dict[str, float]) -> dict[str, float]:
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    @property
    def ranked(self) -> bool:
        return self.status != "failed" and not self.in_sample

    @property
    def in_words(self) -> str:
        """What has come of it, in a line."""
        if self.status == "failed":
            return f"{self.name} ({self.family}) {_note(self)}"
        found = self.metrics.get("average_precision")
        seconds = "" if self.train_seconds is None else f", trained in {self.train_seconds:.0f} s"
        return (
            f"{self.name} ({self.family}): average precision {_figure(found, '.4f')} on the "
            f"validation window{seconds}"
        )


class Leaderboard(BaseModel):
    """rows: ranked ones first, then incumbents that know the window, then failures.

    winner: name of the best trained candidate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: tuple[LeaderboardRow, ...]
    winner: str

    def in_words(self) -> list[str]:
        """A line for each candidate that failed, and one for the winner."""
        failed = [row.in_words for row in self.rows if row.status == "failed"]
        trained = sum(row.status == "trained" for row in self.rows)
        return [*failed, f"{self.winner} is the best of {trained} candidates that were trained"]

    def to_text(self) -> str:
        """A table of fixed width for a terminal; the winner bears an asterisk."""
        lines = [list(_HEADER), *(self._cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_HEADER))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i in _LEFT else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def _cells(self, row: LeaderboardRow) -> list[str]:
        won = row.status == "trained" and row.name == self.winner
        return [
            f"{'*' if won else ''}{row.rank or '-'}",
            row.name,
            row.family,
            *(_figure(row.metrics.get(name), ".4f") for name in _COLUMNS),
            _figure(row.train_seconds, ".1f"),
            _figure(row.rows_per_second, ",.0f"),
            _note(row),
        ]


_COLUMNS = {
    "average_precision": "AP",
    "roc_auc": "ROC-AUC",
    "recall_at_1pct_fpr": "R@1%FPR",
    "recall_at_5pct_fpr": "R@5%FPR",
    "precision_at_budget": "P@budget",
    "brier": "Brier",
    "calibration_error": "ECE",
}
_HEADER = ("rank", "candidate", "family", *_COLUMNS.values(), "train s", "rows/s", "note")
_LEFT = {1, 2, len(_HEADER) - 1}
_NOTE_WIDTH = 60


def rank_candidates(rows: Sequence[LeaderboardRow]) -> Leaderboard:
    """Ranked by average precision; ties by ROC-AUC, then lower Brier score, then name.

    An incumbent has its rank among the candidates, but the winner is always a newly trained
    candidate: whether it replaces the champion is for the gate to say, out of time.
    Raises TrainingError when no candidate was trained, with the reason for each.
    """
    ordered = sorted((row for row in rows if row.ranked), key=_standing)
    ranked = [row.model_copy(update={"rank": i}) for i, row in enumerate(ordered, start=1)]
    winner = next((row.name for row in ranked if row.status == "trained"), None)
    if winner is None:
        raise TrainingError(_nothing_trained(rows))
    rest = sorted((r for r in rows if not r.ranked), key=lambda r: (r.status == "failed", r.name))
    return Leaderboard(
        rows=(*ranked, *(row.model_copy(update={"rank": None}) for row in rest)), winner=winner
    )


def _standing(row: LeaderboardRow) -> tuple[float, float, float, str]:
    metrics = row.metrics
    return (
        -metrics.get("average_precision", -math.inf),
        -metrics.get("roc_auc", -math.inf),
        metrics.get("brier", math.inf),
        row.name,
    )


def _nothing_trained(rows: Sequence[LeaderboardRow]) -> str:
    failures = [f"\n  {r.name} ({r.family}): {r.error}" for r in rows if r.status == "failed"]
    return (
        f"no candidate could be trained, so there is nothing to choose from:{''.join(failures)}"
        if failures
        else "no candidate was trained, so there is nothing to choose from"
    ) + "\nMend the causes, or give other candidates."


def _note(row: LeaderboardRow) -> str:
    if row.status == "failed":
        last = (row.error or "no reason given").strip().splitlines()[-1]
        note = f"failed: {last}"
        return note if len(note) <= _NOTE_WIDTH else f"{note[: _NOTE_WIDTH - 3]}..."
    if row.status == "incumbent":
        return "incumbent, trained on this window" if row.in_sample else "incumbent"
    return ""


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
