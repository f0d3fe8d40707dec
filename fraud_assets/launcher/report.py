"""What a launch leaves behind: lines for people, JUnit and JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fraud_assets.launcher.client import Server
from fraud_assets.launcher.events import Story
from fraud_assets.launcher.follow import Outcome
from fraud_assets.launcher.junit import write_junit
from fraud_assets.launcher.submit import Launched, Request
from fraud_mlops.notifications.masking import mask_values


class Report:
    """What is left behind for people and machines. mask: hides secrets in it."""

    def __init__(
        self,
        job: str,
        junit: Path | None,
        as_json: bool,
        story: Story,
        mask: Callable[[str], str],
    ) -> None:
        self.job, self.junit, self.as_json, self.story = job, junit, as_json, story
        self.mask = mask
        self.facts: dict[str, Any] = {"job": job}

    def launched(self, server: Server, request: Request, launched: Launched) -> None:
        self.job = self.facts["job"] = request.job.name
        link = server.run_link(launched.run_id)
        self.facts |= {"run_id": launched.run_id, "url": link, "followed": launched.followed}
        if request.partitions:
            self.facts["partitions"] = list(request.partitions)
        if request.failed:
            self.facts["from_failure"] = request.failed
        said = "is launched already, following" if launched.followed else "launched as"
        self.story.tell(f"{self.job} {said} {launched.run_id}\n{link}")

    def close(self, outcome: Outcome | None, problem: str | None) -> None:
        """Writes the reports that were asked for, whatever happened."""
        story = self.story
        if outcome is not None and not outcome.good:
            problem = sentence(self.job, outcome)
        self.facts["status"] = outcome.status if outcome else ("ERROR" if problem else "LAUNCHED")
        if outcome:
            self.facts["run_id"] = outcome.run_id
        if problem:
            self.facts["problem"] = problem
        if self.junit:
            properties = {k: v for k, v in self.facts.items() if isinstance(v, str)}
            write_junit(self.junit, self.job, story, problem, properties, self.mask)
        if outcome and outcome.good:
            story.tell(f"{self.job} succeeded: {_counts(story)}")
        if self.as_json:
            self.facts |= {
                "steps": [vars(step) for step in story.steps.values()],
                "checks": [vars(check) for check in story.checks],
                "materializations": [vars(made) for made in story.materializations],
            }
            click.echo(json.dumps(mask_values(self.facts, self.mask), indent=2))


def _counts(story: Story) -> str:
    failed = sorted({f"{c.asset}: {c.name}" for c in story.checks if not c.passed})
    parts = [
        _count(len(story.steps), "step"),
        _count(len(story.materializations), "materialization"),
        _count(len(story.checks), "check")
        + (f", not passed: {'; '.join(failed)}" if failed else ""),
    ]
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def sentence(job: str, outcome: Outcome) -> str:
    ended = {"FAILURE": "failed", "CANCELED": "was cancelled"}.get(
        outcome.status, f"is {outcome.status}"
    )
    return f"{job} {ended} (run {outcome.run_id})" + (
        f": {outcome.reason}" if outcome.reason else "."
    )
