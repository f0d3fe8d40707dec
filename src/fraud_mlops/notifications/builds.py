"""How a build on a CI server ended: from its variables, and from what it left in its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fraud_mlops.notifications.changes import last_change
from fraud_mlops.notifications.message import BAD, Notification, Status

FAILED = "failed"
"""Folder of a JSON file a stage that failed: stage, command, code, tail, at. See ci_stage.py."""


def of_build(
    status: Status, folder: Path, environment: Mapping[str, str] | None = None
) -> Notification:
    """folder: of the build's reports. A file that is not there, or damaged, says nothing."""
    env = os.environ if environment is None else environment
    name, number, link = _named(env)
    failed = _failed(folder) if status in BAD else []
    run = _read(folder / "launch.json")
    gate = _read(folder / "gate.json")
    facts = {
        "Run": run.get("url"),
        "Job": run.get("job"),
        "Quality gate": gate.get("summary"),
    }
    step = ", ".join(one["stage"] for one in failed) or None
    return Notification(
        key=f"build/{name}" + (f"#{status}#{step or ''}" if status in BAD else ""),
        status=status,
        what=f"{name} {number}".strip(),
        step=step,
        reason=_reason(status, failed, run, gate),
        changed_by=last_change(Path.cwd()),
        link=link,
        next_command=_next(failed, run) if status in BAD else None,
        facts={label: str(text) for label, text in facts.items() if text},
    )


def _named(env: Mapping[str, str]) -> tuple[str, str, str | None]:
    """Name of the pipeline, number and page of the build."""
    if "JENKINS_URL" in env or "JOB_NAME" in env:
        number = env.get("BUILD_NUMBER")
        return env.get("JOB_NAME", "build"), f"#{number}" if number else "", env.get("BUILD_URL")
    if "GITHUB_RUN_ID" in env:
        page = f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/actions/runs/"
        name = f"{env['GITHUB_REPOSITORY']} {env.get('GITHUB_WORKFLOW', '')}".strip()
        branch = env.get("GITHUB_REF_NAME", "")
        return (
            f"{name} {branch}".strip(),
            f"#{env['GITHUB_RUN_NUMBER']}",
            page + env["GITHUB_RUN_ID"],
        )
    return "build", "", None


def _failed(folder: Path) -> list[dict[str, Any]]:
    """Stages in the order in which they failed."""
    found = [_read(file) for file in sorted((folder / FAILED).glob("*.json"))]
    return sorted((one for one in found if "stage" in one), key=lambda one: str(one.get("at")))


def _reason(
    status: Status,
    failed: list[dict[str, Any]],
    run: Mapping[str, Any],
    gate: Mapping[str, Any],
) -> str | None:
    if status not in BAD:
        return None
    if run.get("problem"):
        return str(run["problem"])
    if gate.get("passed") is False:
        return str(gate["summary"])
    if failed:
        one = failed[0]
        return f"`{one['command']}` ended with {one['code']}:\n{one.get('tail', '')}".strip()
    return "it was stopped, or took too long" if status == "aborted" else None


def _next(failed: list[dict[str, Any]], run: Mapping[str, Any]) -> str | None:
    if run.get("run_id") and run.get("status") in ("FAILURE", "CANCELED"):
        return f"python -m fraud_assets.launch --from-failure {run['run_id']}"
    return str(failed[0]["command"]) if failed else None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
