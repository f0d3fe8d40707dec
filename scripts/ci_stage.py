#!/usr/bin/env python3
"""Runs one stage of a build, and notes it when it fails: which command, how it ended, last lines.

    scripts/ci_stage.py "Unit tests" scripts/ci_tests.sh
    scripts/ci_stage.py --optional "Run log" ...     a failure is noted nowhere and fails nothing

The note, ci/failed/<stage>.json, is what scripts/notify.py tells people. Secrets of the environment
are masked in note and output. It needs nothing installed: it comes before there is an environment.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("ci")
_COOKIES = ("JENKINS_SERVER_COOKIE", "JENKINS_NODE_COOKIE")
_TAIL = 25


def main() -> int:
    arguments = sys.argv[1:]
    optional = arguments[:1] == ["--optional"]
    stage, *command = arguments[optional:] or [""]
    if not stage or not command:
        print(__doc__, file=sys.stderr)
        return 2
    code, tail = _run(command, _masker())
    if code and optional:
        print(f"{stage} ended with {code}; that fails nothing.", file=sys.stderr)
        return 0
    if code:
        _note(stage, shlex.join(command), code, tail)
    return code


def _run(command: list[str], mask: Callable[[str], str]) -> tuple[int, list[str]]:
    """Exit code and last lines. SIGTERM and SIGINT go on to the command, which is waited for.

    Jenkins finds the processes of a build that is aborted by cookies in their environment. Without
    them the command hears of it once, from here, and may take its time, as the launcher does that
    cancels its run.
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
            start_new_session=True,  # signals of the build's own group come through us, once
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
