"""This machine: Python, packages, clock, cores, memory, ports, programs."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from fraud_mlops.doctor.finding import Finding, absent, ok, warning, wrong
from fraud_mlops.machine import cores as available_cores
from fraud_mlops.machine import memory as available_memory
from fraud_mlops.settings import Settings

OLDEST, NEWEST = (3, 11), (3, 13)
LEAST_MEMORY = 4 << 30
"""Of which a training on 20,000 claims takes about one."""

PINS = "requirements.txt"
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)
_SIZES = {"K": 10, "M": 20, "G": 30, "T": 40}


class Use(NamedTuple):
    """Of a port. page, word: by which the program that is to have it is known. instead: a command
    that takes another port."""

    what: str
    page: str
    word: str
    instead: str


PORTS = {
    3000: Use(
        what="Dagster's pages",
        page="/server_info",
        word="dagster_webserver_version",
        instead="dagster-webserver -w workspace.yaml --port 3001",
    ),
    8080: Use(
        what="the scoring API",
        page="/healthz",
        word='"ok"',
        instead="uvicorn api.app:app --port 8081",
    ),
}
_PROGRAMS = {
    "git": ("the commit of a run on Databricks, notifications", "apt-get install git"),
    "azurite-blob": ("tests of ADLS", "npm install --global azurite@3.37.0"),
    "chromium": ("tests in a browser", "apt-get install chromium"),
    "java": ("tests of the Jenkinsfile", "apt-get install default-jre-headless"),
    "groovy": ("tests of the Jenkinsfile", "apt-get install groovy"),
    "initdb": ("tests of Dagster on PostgreSQL", "apt-get install postgresql"),
}
_OTHER_NAMES = {"chromium": ("chromium-browser", "google-chrome", "chrome")}
_POSTGRES = "/usr/lib/postgresql/*/bin"


def python() -> Finding:
    found, here = sys.version_info[:2], f"{platform.python_version()} at {sys.executable}"
    if found < OLDEST:
        return wrong(
            "Python", f"{here}: 3.11 or newer is needed", "make clean setup PYTHON=python3.11"
        )
    if found > NEWEST:
        says = f"{here}: tested up to {NEWEST[0]}.{NEWEST[1]}"
        return warning("Python", says, "make clean setup PYTHON=python3.13")
    return ok("Python", here)


def packages(root: Path | None = None) -> Finding:
    """Those of requirements.txt, where the project lies beside it, else what the wheel asks for.

    root: of the checkout; the one that this module is of when left out.
    """
    file = (root or Path(__file__).parents[3]) / PINS
    if not file.is_file():
        return _packages_of_the_wheel()
    pinned = _PIN.findall(file.read_text(encoding="utf-8"))
    missing, different = [], []
    for name, version in pinned:
        found = _version(name)
        if found is None:
            missing.append(name)
        elif found.partition("+")[0] != version:  # 2.13.0+cpu is a build of 2.13.0
            different.append(f"{name} {found} instead of {version}")
    mend = f"pip install -r {file} && pip install --no-deps -e {file.parent}"
    if missing:
        return wrong("packages", f"not installed: {', '.join(missing)}", mend)
    if different:
        says = f"{len(different)} of {len(pinned)} are other versions than those tested: "
        return warning("packages", says + ", ".join(different), mend)
    return ok("packages", f"{len(pinned)} as requirements.txt pins them")


def _packages_of_the_wheel() -> Finding:
    from packaging.requirements import Requirement

    asked = [Requirement(text) for text in metadata.requires("fraud-mlops") or ()]
    plain = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    unmet = [
        f"{one} ({_version(one.name) or 'not installed'})"
        for one in plain
        if (found := _version(one.name)) is None
        or not one.specifier.contains(found, prereleases=True)
    ]
    if unmet:
        says = f"not as fraud-mlops asks for: {', '.join(unmet)}"
        return wrong("packages", says, "pip install --upgrade fraud-mlops")
    return ok("packages", f"{len(plain)} as the installed wheel asks for")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def installed(name: str) -> bool:
    return _version(name) is not None


def clock(now: float | None = None) -> Finding:
    """No earlier than the code; how far it is from a service's is looked at with the service."""
    moment = time.time() if now is None else now
    newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    shown = time.strftime("%F %T UTC", time.gmtime(moment))
    if moment < newest - 86400:
        says = f"{shown}: earlier than this code was written; certificates and signatures fail"
        return wrong("clock", says, "sudo timedatectl set-ntp true")
    return ok("clock", shown)


def cores(settings: Settings) -> Finding:
    there = available_cores()
    if settings.threads > there:
        says = f"FRAUD_THREADS={settings.threads} on {there} cores slows training down"
        return warning("cores", says, "unset FRAUD_THREADS")
    return ok("cores", f"{settings.threads} of {there} are used")


def memory(settings: Settings) -> Finding:
    total = available_memory()
    limit = _bytes(settings.memory_limit)
    shown = f"{total / 2**30:.1f} GiB"
    if limit > total:
        says = f"{shown}, and FRAUD_MEMORY_LIMIT={settings.memory_limit} lets DuckDB take more"
        return wrong("memory", says, f"export FRAUD_MEMORY_LIMIT={max(1, total >> 31)}GB")
    if total < LEAST_MEMORY:
        says = f"{shown}: little for training several candidates at a time"
        return warning("memory", says, "python flows/training_flow.py run --max-workers 1")
    return ok("memory", shown)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([\d.]+)\s?([KMGT])i?B", text)
    return int(float(match[1]) * 2 ** _SIZES[match[2]]) if match else 0


def port(number: int, use: Use) -> Finding:
    """Free on this machine, or taken by the very program that is to have it."""
    name, host = f"port {number}", "127.0.0.1"
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
            return ok(name, f"free for {use.what}")
        except OSError as error:
            refused = error.strerror or str(error)
    if use.word in _page(f"http://{host}:{number}{use.page}"):
        return ok(name, f"{use.what} is there already: http://{host}:{number}")
    says = f"another program has it ({refused}), which {use.what} would have"
    return warning(name, says, use.instead)


def _page(url: str) -> str:
    import requests

    with contextlib.suppress(requests.RequestException):
        answer = requests.get(url, timeout=2)
        return answer.text if answer.ok else ""
    return ""


def programs() -> Iterator[Finding]:
    """Of other makers; the project runs without them."""
    for name, (what, mend) in _PROGRAMS.items():
        found = next(filter(None, map(_program, (name, *_OTHER_NAMES.get(name, ())))), None)
        yield ok(name, found) if found else absent(name, f"not installed; for {what}", mend)


def _program(name: str) -> str | None:
    elsewhere = sorted(map(str, Path("/").glob(_POSTGRES.lstrip("/"))))
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *elsewhere])
    return shutil.which(name, path=path)
