"""What production is made of: a CycloneDX SBOM and a list of licences, held to a policy.

    python scripts/sbom.py [--folder build/sbom]

Packages are those of infra/requirements.lock that are installed here; what cyclonedx-py finds of
them is kept, and their hashes in the lock are added. Ends with 1 when a licence is not one that
infra/licences.toml allows.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "infra" / "requirements.lock"
POLICY = ROOT / "infra" / "licences.toml"
_PINNED = re.compile(
    r"^([\w.-]+)==([^\s;\\]+)[^\n]*((?:\n    --hash=sha256:\w+[^\n]*)+)", re.MULTILINE
)
_HASH = re.compile(r"sha256:(\w+)")
_OPERATORS = re.compile(r"\s+(?:AND|OR)\s+|[()]")
_UNSAID = ("OSI Approved", "UNKNOWN")


@dataclass(frozen=True)
class Package:
    """licence: an SPDX expression, or what the package says. verdict: why not, or None."""

    name: str
    version: str
    licence: str
    verdict: str | None
    note: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "sbom")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    pinned = locked()
    bill = sbom(pinned)
    (folder / "sbom.cdx.json").write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    found = packages(pinned)
    (folder / "licences.md").write_text(listed(found), encoding="utf-8")
    print(f"{folder}: sbom.cdx.json, licences.md, of {len(found)} packages")
    refused = [package for package in found if package.verdict]
    for package in refused:
        print(f"{package.name} {package.version}: {package.licence}: {package.verdict}")
    return 1 if refused else 0


def locked() -> dict[str, tuple[str, list[str]]]:
    """Version and hashes by canonical name."""
    found = _PINNED.findall(LOCK.read_text(encoding="utf-8"))
    return {canonical(name): (version, _HASH.findall(rest)) for name, version, rest in found}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# -- licences ------------------------------------------------------------------------------------


def packages(names: Any) -> list[Package]:
    """Of those that are installed, in order. Raises SystemExit that names what is not."""
    policy = tomllib.loads(POLICY.read_text(encoding="utf-8"))
    found, missing = [], []
    for name in sorted(names):
        try:
            found.append(_judged(name, cast("Message", metadata.metadata(name)), policy))
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        raise SystemExit(f"not installed here: {', '.join(missing)}; make dev")
    return found


def _judged(name: str, told: Message, policy: dict[str, Any]) -> Package:
    licence = licence_of(told, policy["words"])
    exception = policy.get("accepted", {}).get(name)
    note, verdict = "", None
    if exception:
        note = exception["why"]
        if exception["licence"] != licence:
            verdict = f"infra/licences.toml accepted {exception['licence']}; look at it again"
    elif not licence:
        verdict = "says no licence; look it up, and put it into infra/licences.toml"
    elif bad := [one for one in terms(licence) if one not in policy["allowed"]]:
        verdict = f"{', '.join(bad)} is not among those that infra/licences.toml allows"
    return Package(name, told["Version"], licence, verdict, note)


def licence_of(told: Message, words: dict[str, str]) -> str:
    """Its SPDX expression, else its classifiers, else its one line of licence."""
    if expression := told.get("License-Expression"):
        return str(expression)
    classifiers = told.get_all("Classifier") or []
    names = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License")]
    names = [name for name in names if name not in _UNSAID]
    if not names:
        line = (told.get("License") or "").strip()
        names = [line] if line and "\n" not in line and line not in _UNSAID else []
    return " OR ".join(words.get(name, name) for name in names)


def terms(expression: str) -> list[str]:
    """All licences of an expression; with OR, too, each must be one that is allowed."""
    return [part.strip() for part in _OPERATORS.split(expression) if part.strip()]


def listed(found: list[Package]) -> str:
    rows = [f"| {p.name} | {p.version} | {p.licence} | {p.note} |" for p in found]
    head = "| package | version | licence | accepted because |\n|---|---|---|---|"
    return "\n".join(["# Licences of what runs in production", "", head, *rows]) + "\n"


# -- the bill of materials -----------------------------------------------------------------------


def sbom(pinned: dict[str, tuple[str, list[str]]]) -> dict[str, Any]:
    """CycloneDX 1.6 of this environment, without what is not in the lock."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sbom.json"
        program = Path(sys.executable).with_name("cyclonedx-py")
        command = [str(program), "environment", "--pyproject", str(ROOT / "pyproject.toml")]
        command += ["--spec-version=1.6", "--output-reproducible", "--output-format=JSON"]
        command += ["--no-validate"]  # half a minute; a test validates what comes out
        subprocess.run(  # noqa: S603 - our own command
            [*command, f"--output-file={file}", sys.executable], check=True, capture_output=True
        )
        whole: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    kept = [one for one in whole["components"] if canonical(one["name"]) in pinned]
    for component in kept:
        hashes = pinned[canonical(component["name"])][1]
        reference = {
            "type": "distribution",
            "url": f"https://pypi.org/project/{component['name']}/{component['version']}/",
        }
        component["externalReferences"] = [
            *component.get("externalReferences", []),
            *(reference | {"hashes": [{"alg": "SHA-256", "content": one}]} for one in hashes),
        ]
    whole["components"] = kept
    own = whole["metadata"]["component"]["bom-ref"]
    there = {own, *(component["bom-ref"] for component in kept)}
    whole["dependencies"] = [
        {"ref": one["ref"], "dependsOn": [ref for ref in one.get("dependsOn", []) if ref in there]}
        for one in whole["dependencies"]
        if one["ref"] in there
    ]
    return whole


if __name__ == "__main__":
    sys.exit(main())
