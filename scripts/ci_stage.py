#!/usr/bin/env python3
"""Runs one stage of a build, and notes it when it fails: which command, how it ended, last lines.

    scripts/ci_stage.py "Unit tests" scripts/ci_tests.sh
    scripts/ci_stage.py --optional "Run log" ...     a failure is noted nowhere and fails nothing;
                                                     it waits for stages that are still ending

The note, ci/failed/<stage>.json, is what scripts/notify.py tells people. Secrets of the environment
are masked in note and output. It needs nothing installed: it comes before there is an environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("ci")
_COOKIES = ("JENKINS_SERVER_COOKIE", "JENKINS_NODE_COOKIE")
_TAIL = 25
_PATIENCE = 90.0
"""Seconds; the launcher may need a minute to cancel a run."""


def main() -> int:
    arguments = sys.argv[1:]
    optional = arguments[:1] == ["--optional"]
    stage, *command = arguments[optional:] or [""]
    if not stage or not command:
        print(__doc__, file=sys.stderr)
        return 2
    _enter(last=optional)
    code, tail = _run(command, _masker())
    if code and optional:
        print(f"{stage} ended with {code}; that fails nothing.", file=sys.stderr)
        return 0
    if code:
        _note(stage, shlex.join(command), code, tail)
    return code


def _enter(*, last: bool) -> None:
    """A stage locks the folder as long as it lives, with others beside it; the last ones wait
    until there is none. Jenkins gives a step that it stops 20 s to end, and then goes on to `post`,
    where a command may still be at work that cancels a run."""
    if not FOLDER.is_dir():
        return
    folder = os.open(FOLDER, os.O_RDONLY)
    until = time.monotonic() + _PATIENCE
    with contextlib.suppress(OSError):  # a file system without locks
        while last and time.monotonic() < until:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.2)
            else:
                break
        fcntl.flock(folder, fcntl.LOCK_SH)


def _run(command: list[str], mask: Callable[[str], str]) -> tuple[int, list[str]]:
    """Exit code and last lines. SIGTERM and SIGINT go on to the command, which is waited for.

    Jenkins finds the processes of a step that it stops by cookies in their environment, and sends
    SIGTERM to their descendants first, then to themselves, more than once. So the command may hear
    of it again from here. Without cookies what it leaves running, as Dagster, hears of nothing.
    """
    environment = {k: v for k, v in os.environ.items() if k not in _COOKIES}
    try:
        process = subprocess.Popen(  # noqa: S603 - what a stage is
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal comes through us, once
        )
    except OSError as error:
        print(error, file=sys.stderr)
        return 127, [str(error)]

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    tail: deque[str] = deque(maxlen=_TAIL)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    for line in process.stdout:
        shown = mask(line)
        tail.append(shown.rstrip("\n"))
        with contextlib.suppress(OSError):  # who stopped us listens no more; the command still ends
            print(shown, end="", flush=True)
    code = process.wait()
    return (128 - code if code < 0 else code), list(tail)


def _note(stage: str, command: str, code: int, tail: list[str]) -> None:
    folder = FOLDER / "failed"
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat()
    note = {"stage": stage, "command": command, "code": code, "at": now, "tail": "\n".join(tail)}
    name = re.sub(r"[^A-Za-z0-9]+", "-", stage).strip("-").lower()
    (folder / f"{name}.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _masker() -> Callable[[str], str]:
    """The project's own, loaded by its file: its package may not be installed yet."""
    path = ROOT / "src" / "fraud_mlops" / "notifications" / "masking.py"
    spec = importlib.util.spec_from_file_location("masking", path)
    assert spec is not None  # noqa: S101 - a file's path always has one
    assert spec.loader is not None  # noqa: S101 - likewise
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mask: Callable[[str], str] = module.masker(os.environ)
    return mask


if __name__ == "__main__":
    sys.exit(main())
