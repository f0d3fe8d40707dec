"""AWS Batch whose jobs really run: as processes in empty folders, a bounded number at a time.

Queues, compute environments and job definitions are moto's; jobs are kept here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil

GROUP = "/aws/batch/job"
UNFINISHED = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
_EXITED = "Essential container in task exited"
_MOST_OVERRIDES = 8_192
_TOO_LONG = f"Container Overrides length must be at most {_MOST_OVERRIDES}"
Logs = Callable[[str, str], None]


@dataclass
class Job:
    """One job. spec: what DescribeJobs tells of it that does not change."""

    id: str
    spec: dict[str, Any]
    attempts: int
    seconds: float | None
    status: str = "SUBMITTED"
    told: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)
    tries: list[dict[str, Any]] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    killed: str | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def described(self) -> dict[str, Any]:
        more = {"status": self.status, "attempts": list(self.tries), **self.told}
        return {**self.spec, **more, "container": {**self.spec["container"], **self.container}}


class Jobs:
    """All jobs of the cloud.

    folder: for their folders. environment: what the image gives, PATH above all. logs: takes
    (stream, line), as CloudWatch does. at_once: jobs that run at one time.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], logs: Logs, at_once: int
    ) -> None:
        self._environment = dict(environment)
        self._logs = logs
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(at_once, "job")
        # A job's folder has the same name as one before it, so that Python finds what it has
        # compiled of the same code package: a container image would bring that with it.
        self._slots: SimpleQueue[Path] = SimpleQueue()
        self._compiled = folder / "compiled"
        for number in range(at_once):
            self._slots.put(folder / f"slot-{number}")

    def submit(self, request: Mapping[str, Any], definition: Mapping[str, Any]) -> Job:
        """request, definition: as SubmitJob and RegisterJobDefinition take them."""
        name, given = str(uuid.uuid4()), request.get("containerOverrides") or {}
        base = definition["containerProperties"]
        parameters = {**(definition.get("parameters") or {}), **(request.get("parameters") or {})}
        retry = request.get("retryStrategy") or definition.get("retryStrategy") or {}
        limit = request.get("timeout") or definition.get("timeout") or {}
        environment = [*(base.get("environment") or []), *(given.get("environment") or [])]
        container = {
            "image": base["image"],
            "command": [
                re.sub(r"^Ref::(.+)$", lambda match: parameters[match[1]], word)
                for word in given.get("command") or base["command"]
            ],
            "environment": environment,
            "jobRoleArn": base.get("jobRoleArn"),
        }
        spec = {
            "jobArn": f"arn:aws:batch:us-east-1:123456789012:job/{name}",
            "jobName": request["jobName"],
            "jobId": name,
            "jobQueue": request["jobQueue"],
            "jobDefinition": request["jobDefinition"],
            "parameters": parameters,
            "tags": request.get("tags") or {},
            "createdAt": _now(),
            "container": container,
        }
        seconds = limit.get("attemptDurationSeconds")
        job = Job(name, spec, int(retry.get("attempts") or 1), seconds and float(seconds))
        with self._lock:
            self._jobs[name] = job
        if len(json.dumps(given, separators=(",", ":"))) > _MOST_OVERRIDES:
            self._end(job, "FAILED", _TOO_LONG)  # taken, and failed: as AWS does
            return job
        job.status = "RUNNABLE"
        self._pool.submit(self._run, job)
        return job

    def job(self, name: str) -> Job:
        return self._jobs[name]

    def describe(self, names: Sequence[str]) -> list[dict[str, Any]]:
        return [self._jobs[name].described() for name in names if name in self._jobs]

    def queues(self) -> set[str]:
        """Names of those that jobs have been sent to."""
        with self._lock:
            return {job.spec["jobQueue"].rpartition("/")[2] for job in self._jobs.values()}

    def list(self, queue: str, status: str | None, prefix: str | None) -> list[dict[str, Any]]:
        """By state, RUNNING by default; or, of all states, those whose name begins so."""
        with self._lock:
            found = list(self._jobs.values())
        keys = ("jobArn", "jobId", "jobName", "createdAt")
        return [
            {"status": job.status, **{key: job.spec[key] for key in keys}}
            for job in found
            if job.spec["jobQueue"].endswith(queue)
            and (
                job.spec["jobName"].startswith(prefix)
                if prefix is not None
                else job.status == (status or "RUNNING")
            )
        ]

    def terminate(self, name: str, reason: str) -> None:
        """The job has failed with `reason`; nothing of it is left running."""
        job = self._jobs.get(name)
        if job is None or job.done.is_set():
            return
        job.killed = reason
        if job.process is not None:
            kill_tree(job.process.pid)
        elif job.status != "STARTING":
            self._end(job, "FAILED", reason)

    def stop_all(self) -> None:
        for name in list(self._jobs):
            self.terminate(name, "the cloud is closed")
        self._pool.shutdown(cancel_futures=True)

    # -- one job -------------------------------------------------------------------------------

    def _run(self, job: Job) -> None:
        slot = self._slots.get()
        try:
            for number in range(1, job.attempts + 1):
                if job.killed or self._attempt(job, number, slot):
                    break
        finally:
            shutil.rmtree(slot, ignore_errors=True)
            self._slots.put(slot)
            if not job.done.is_set():
                code = job.container.get("exitCode")
                well = code == 0 and not job.killed
                self._end(job, "SUCCEEDED" if well else "FAILED", job.killed or _EXITED)

    def _attempt(self, job: Job, number: int, folder: Path) -> bool:
        """Whether it ended well."""
        job.status = "STARTING"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stream = f"{job.spec['jobName'][:40]}/default/{job.id}-{number}"
        started = _now()
        job.process = subprocess.Popen(
            job.spec["container"]["command"],
            cwd=folder,
            env=self._variables(job, number, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        job.container.pop("exitCode", None)
        job.container["logStreamName"] = stream
        job.told.setdefault("startedAt", started)
        job.status = "RUNNING"
        reason = self._wait(job, job.process, stream)
        code = job.process.returncode
        job.process = None
        job.container["exitCode"] = 128 - code if code < 0 else code
        words = {"exitCode": job.container["exitCode"], "logStreamName": stream}
        if reason:
            job.container["reason"] = words["reason"] = reason
        tried = {"container": words, "startedAt": started, "stoppedAt": _now()}
        job.tries.append({**tried, "statusReason": reason or _EXITED})
        return code == 0

    def _wait(self, job: Job, process: subprocess.Popen[bytes], stream: str) -> str | None:
        """Why it was killed, if it was."""
        late = threading.Event()

        def too_late() -> None:
            late.set()
            kill_tree(process.pid)

        timer = threading.Timer(job.seconds or 1e6, too_late)
        timer.daemon = True
        timer.start()
        if job.killed:  # while it was being started
            kill_tree(process.pid)
        assert process.stdout is not None
        for line in process.stdout:
            self._logs(stream, line.decode("utf-8", "replace").rstrip("\n"))
        process.wait()
        timer.cancel()
        kill_what_is_left(job.id)
        if late.is_set():
            return "Job attempt duration exceeded timeout"
        if process.returncode == -signal.SIGKILL:
            return "OutOfMemoryError: Container killed due to memory usage"
        return None

    def _variables(self, job: Job, number: int, folder: Path) -> dict[str, str]:
        given = {pair["name"]: pair["value"] for pair in job.spec["container"]["environment"]}
        code = given.get("METAFLOW_CODE_SHA", "none")
        return {
            **self._environment,
            "HOME": str(folder),
            "PYTHONPYCACHEPREFIX": str(self._compiled / code),
            **given,
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(number),
            "AWS_BATCH_CE_NAME": "local-compute",
            "AWS_BATCH_JQ_NAME": job.spec["jobQueue"],
            "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
        }

    def _end(self, job: Job, status: str, reason: str) -> None:
        job.told |= {"stoppedAt": _now(), "statusReason": reason}
        job.status = status
        job.done.set()


def kill_tree(pid: int) -> None:
    """The process and all below it, in whatever session they are."""
    try:
        top = psutil.Process(pid)
        family = [*top.children(recursive=True), top]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def kill_what_is_left(job: str) -> None:
    """As a container's end does: a task that was killed leaves helpers."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("AWS_BATCH_JOB_ID") == job:
                process.kill()
        except (psutil.Error, OSError):  # another user's, or gone
            continue


def _now() -> int:
    return int(time.time() * 1000)
