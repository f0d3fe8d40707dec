"""The Jobs API of the workspace on loopback, call by call."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workspace_rules import ApiError, check_job, check_parameters, check_submission, invalid
from workspace_runs import Machine, kill
from workspace_states import ACTIVE, Run, TaskRun

PAGE = 20


@dataclass
class Jobs:
    """repairs_submitted: whether runs that are no job's can be repaired, which Databricks does not
    say. late: seconds in which a repair that was taken is not seen yet. page: items of a list."""

    url: str
    machine: Machine
    repairs_submitted: bool = True
    late: float = 0.0
    page: int = PAGE
    runs: dict[int, Run] = field(default_factory=dict)
    jobs: dict[int, dict[str, Any]] = field(default_factory=dict)
    timers: list[threading.Timer] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1001))
    lock: Any = field(default_factory=threading.RLock)

    def answer(self, route: str, given: Mapping[str, Any]) -> dict[str, Any]:
        calls: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "jobs/runs/submit": self.submit,
            "jobs/runs/get": self.get,
            "jobs/runs/get-output": self.output,
            "jobs/runs/list": self.list_runs,
            "jobs/runs/cancel": self.cancel,
            "jobs/runs/repair": self.repair,
            "jobs/create": self.create,
            "jobs/delete": self.delete,
            "jobs/reset": self.reset,
            "jobs/get": self.get_job,
            "jobs/list": self.list_jobs,
            "jobs/run-now": self.run_now,
        }
        if route not in calls:
            raise ApiError(404, "ENDPOINT_NOT_FOUND", f"No API found for {route}")
        with self.lock:
            return calls[route](given)

    # -- starting ------------------------------------------------------------------------------

    def submit(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if (known := self._of_token(given.get("idempotency_token"))) is not None:
            return {"run_id": known.run_id}
        check_submission(given)
        name = given.get("run_name", "Untitled")
        run = Run(next(self.numbers), name, given, "SUBMIT_RUN")
        return {"run_id": self._start(run, given)}

    def run_now(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if (known := self._of_token(given.get("idempotency_token"))) is not None:
            return {"run_id": known.run_id}
        check_parameters(given.get("python_params") or [])
        settings = self._job(given)["settings"]
        run = Run(next(self.numbers), settings["name"], settings, "JOB_RUN", int(given["job_id"]))
        run.parameters = given.get("python_params")
        return {"run_id": self._start(run, given), "number_in_job": run.run_id}

    def _start(self, run: Run, given: Mapping[str, Any]) -> int:
        if len(run.settings["tasks"]) != 1:
            raise invalid("This workspace runs one task a run.")
        run.token = given.get("idempotency_token")
        self.runs[run.run_id] = run
        self._try(run, run.settings, run.parameters)
        return run.run_id

    def _try(
        self, run: Run, settings: Mapping[str, Any], given: list[str] | None, retry: int = 0
    ) -> None:
        number = next(self.numbers)
        attempt = TaskRun(number, settings, self.machine.folder / str(number), given, retry)

        def again() -> None:
            with self.lock:
                self._try(run, settings, given, retry + 1)
                run.waits = False

        run.tries.append(attempt)
        self.machine.start(run, attempt, lambda: self._held(run), again)

    def _held(self, run: Run) -> str | None:
        """What becomes of a job's run while as many go on as may."""
        with self.lock:
            before = [r for r in self.runs.values() if r.run_id < run.run_id]
        going = [r for r in before if r.job_id == run.job_id and r.is_active]
        if not run.job_id or len(going) < run.settings.get("max_concurrent_runs", 1):
            return None
        return "QUEUED" if run.settings.get("queue", {}).get("enabled") else "SKIPPED"

    def _of_token(self, token: str | None) -> Run | None:
        return next((r for r in self.runs.values() if token and r.token == token), None)

    def repair(self, given: Mapping[str, Any]) -> dict[str, Any]:
        run = self._run(given)
        if run.is_active:
            raise invalid("Cannot repair a run that is in progress.")
        if run.kind == "SUBMIT_RUN" and not self.repairs_submitted:
            raise invalid("One-time runs cannot be repaired.")
        if run.last.result == "SUCCESS":
            raise invalid("There is no failed task to repair.")
        if run.repairs and given.get("latest_repair_id") != run.repairs[-1]:
            raise invalid("The latest repair ID needs to be provided in order to create a repair.")
        run.repairs.append(next(self.numbers))
        # As documented: the settings are the job's of now, the parameters those that are given.
        settings = (
            run.settings
            if run.kind == "SUBMIT_RUN"
            else self._job({"job_id": run.job_id})["settings"]
        )
        check_parameters(given.get("python_params") or [])
        again = (run, settings, given.get("python_params"))
        if not self.late:
            self._try(*again)
            return {"repair_id": run.repairs[-1]}
        self.timers.append(threading.Timer(self.late, self._try, again))
        self.timers[-1].start()
        return {"repair_id": run.repairs[-1]}

    def cancel(self, given: Mapping[str, Any]) -> dict[str, Any]:
        run = self._run(given)
        if run.is_active:
            run.last.cancelled = True
            kill(run.last)
        return {}

    # -- looking -------------------------------------------------------------------------------

    def get(self, given: Mapping[str, Any]) -> dict[str, Any]:
        run = self._run(given)
        history = given.get("include_history") in (True, "true") and run.repairs
        return {**self._told(run), **({"repair_history": self._history(run)} if history else {})}

    def _history(self, run: Run) -> list[dict[str, Any]]:
        first = {"type": "ORIGINAL", "state": run.tries[0].state()}
        others = [{"type": "REPAIR", "id": number} for number in run.repairs]
        return [first, *others]

    def _told(self, run: Run) -> dict[str, Any]:
        git = dict(run.last.settings.get("git_source") or {})
        if git and run.commit:
            git["git_snapshot"] = {"used_commit": run.commit}
        own = {"python_params": run.parameters} if run.parameters is not None else {}
        return {
            "run_id": run.run_id,
            "overriding_parameters": own,
            "job_id": run.job_id,
            "run_name": run.name,
            "run_type": run.kind,
            "run_page_url": f"{self.url}/jobs/{run.job_id}/runs/{run.run_id}",
            "state": run.state(),
            **({} if run.waits else {"status": run.last.status()}),
            "start_time": int(run.tries[0].started * 1000),
            "end_time": int(run.last.ended * 1000),
            "git_source": git,
            "tasks": [
                {
                    "run_id": attempt.run_id,
                    "task_key": attempt.task["task_key"],
                    "spark_python_task": attempt.task["spark_python_task"],
                    "attempt_number": attempt.number,
                    "start_time": int(attempt.started * 1000),
                    "end_time": int(attempt.ended * 1000),
                    "state": attempt.state(),
                    "run_page_url": f"{self.url}/jobs/{run.job_id}/runs/{attempt.run_id}",
                }
                for attempt in run.tries
            ],
        }

    def output(self, given: Mapping[str, Any]) -> dict[str, Any]:
        number = int(given["run_id"])
        if number in self.runs:
            raise invalid(
                "Retrieving the output of runs with multiple tasks is not supported. Please "
                "retrieve the output of each individual task run instead."
            )
        for run in self.runs.values():
            for attempt in run.tries:
                if attempt.run_id == number:
                    told = {"metadata": {"run_id": number, "state": attempt.state()}}
                    if attempt.life in ACTIVE:
                        return told
                    if attempt.life == "SKIPPED":
                        raise invalid(f"Run {number} was never started: it has no output.")
                    return {**told, **attempt.error(), "logs": attempt.logs()}
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"Run {number} does not exist.")

    def list_runs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        since = int(given.get("start_time_from", 0))
        job = int(given["job_id"]) if "job_id" in given else None
        found = [
            self._told(run)
            for run in reversed(self.runs.values())
            if given.get("run_type") in (None, run.kind)
            and run.tries[0].started * 1000 >= since
            and job in (None, run.job_id)
        ]
        return _page("runs", found, given, self.page)

    def _run(self, given: Mapping[str, Any]) -> Run:
        found = self.runs.get(int(given["run_id"]))
        if found is None:
            message = f"Run {given['run_id']} does not exist."
            raise ApiError(400, "INVALID_PARAMETER_VALUE", message)
        return found

    # -- jobs ----------------------------------------------------------------------------------

    def create(self, given: Mapping[str, Any]) -> dict[str, Any]:
        check_job({k: v for k, v in given.items() if k != "access_control_list"})
        number = next(self.numbers)
        now = int(time.time() * 1000)
        self.jobs[number] = {"job_id": number, "created_time": now, "settings": dict(given)}
        self.jobs[number]["settings"].pop("access_control_list", None)
        return {"job_id": number}

    def delete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        del self.jobs[self._job(given)["job_id"]]
        return {}

    def reset(self, given: Mapping[str, Any]) -> dict[str, Any]:
        job = self._job(given)
        check_job(given["new_settings"])
        job["settings"] = dict(given["new_settings"])
        return {}

    def get_job(self, given: Mapping[str, Any]) -> dict[str, Any]:
        job = self._job(given)
        return {**job, "settings": with_defaults(job["settings"])}

    def list_jobs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        name = given.get("name", "").lower()
        found = [job for job in self.jobs.values() if name in ("", job["settings"]["name"].lower())]
        return _page("jobs", found, given, self.page)

    def _job(self, given: Mapping[str, Any]) -> dict[str, Any]:
        found = self.jobs.get(int(given["job_id"]))
        if found is None:
            message = f"Job {given['job_id']} does not exist."
            raise ApiError(400, "INVALID_PARAMETER_VALUE", message)
        return found


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A job is told with what it was not set to."""
    nobody: dict[str, Any] = {"email_notifications": {}, "timeout_seconds": 0}
    told = {"format": "MULTI_TASK", "max_concurrent_runs": 1, "webhook_notifications": {}, **nobody}
    tasks = [{"run_if": "ALL_SUCCESS", **nobody, **task} for task in settings["tasks"]]
    return {**told, **settings, "tasks": tasks}


def _page(
    name: str, found: list[dict[str, Any]], given: Mapping[str, Any], size: int
) -> dict[str, Any]:
    start = int(given.get("page_token") or 0)
    size = min(size, int(given.get("limit") or size))
    more = {"next_page_token": str(start + size)} if len(found) > start + size else {}
    return {name: found[start : start + size], "has_more": bool(more), **more}
