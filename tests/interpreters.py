"""Pythons in which this project is not installed: what runs somewhere else has nothing of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fraud-mlops" / "pythons"
_KEPT_SECONDS = 7 * 86_400
_INSTALL_SECONDS = 800.0
_TOLD = 800
_DONE = ".done"


class NotInstalledError(Exception):
    """With what pip said."""


def with_packages_of_tests(folder: Path) -> Path:
    """It has all packages of this one, those for tests among them.

    Python reads no `.pth` of a folder that a `.pth` names: an editable install stays out.
    """
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def with_only(script: str, files: Mapping[str, str]) -> Path:
    """It has what the script installs, and pip.

    script: for bash, in a folder of these files; `pip` and `python` are the new Python's. It takes
    minutes and gigabytes: the same is made once, for all workers and for a week since it was last
    asked for. Raises NotInstalledError.
    """
    asked = json.dumps([sys.version, sys.base_prefix, script, dict(files)])
    folder = _KEPT / hashlib.sha256(asked.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock", timeout=2 * _INSTALL_SECONDS):
        if not (folder / _DONE).exists():
            _forget_old_ones()
            venv.create(folder, symlinks=True, clear=True, with_pip=True)
            for name, text in files.items():
                (folder / name).write_text(text)
            try:
                _run(script, folder)
            except BaseException:
                shutil.rmtree(folder)
                raise
        (folder / _DONE).touch()
    return folder / "bin" / "python"


def _run(script: str, folder: Path) -> None:
    quiet = {"PIP_QUIET": "2", "PIP_RETRIES": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with (folder / "told").open("w+") as told:
        installing = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**os.environ, **quiet, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
        try:
            code = installing.wait(_INSTALL_SECONDS)
        except BaseException:  # also when the test has run out of time
            os.killpg(installing.pid, signal.SIGKILL)
            installing.wait()
            raise
        told.seek(0)
        if code:
            raise NotInstalledError(told.read().strip()[-_TOLD:])


def _forget_old_ones() -> None:
    """Those that nobody is asking for, and that nobody else is removing."""
    for folder in filter(Path.is_dir, _KEPT.iterdir()):
        with suppress(Timeout), FileLock(f"{folder}.lock", timeout=0):
            used = folder / _DONE if (folder / _DONE).exists() else folder
            if used.exists() and time.time() - used.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder)
