"""Pins with hashes, a bill of materials, and licences that keep the policy."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
import lock  # noqa: E402
import sbom  # noqa: E402


def test_the_lock_has_the_pins_of_production_and_a_hash_for_each() -> None:
    locked = {name: version for name, (version, _) in sbom.locked().items()}
    base = lock.pins("requirements.txt")
    assert base.items() <= locked.items(), "make lock"
    more = lock.pins("infra/constraints.txt")
    assert {name: locked[name] for name in locked.keys() - base.keys()}.items() <= more.items()
    text = sbom.LOCK.read_text()
    assert len(locked) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE))
    assert all(hashes for _, hashes in sbom.locked().values())
    assert "://" not in text  # of whatever index it was made with


def test_the_lock_has_what_the_extras_for_production_name() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {
        lock.canonical(re.match(r"[\w.-]+", text)[0])
        for extra in lock.EXTRAS
        for text in extras[extra]
    }
    assert named <= sbom.locked().keys()


WITH_PYTHON = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "infra").rglob("*Dockerfile")
    if "pip install" in path.read_text() and path.name != "metaflow.Dockerfile"  # docs/security.md
)


@pytest.mark.parametrize("image", WITH_PYTHON)
def test_images_are_built_from_the_lock(image: str) -> None:
    assert "infra/docker/Dockerfile" in WITH_PYTHON
    text = " ".join((ROOT / image).read_text().replace("\\\n", " ").split())
    assert re.search(r"--require-hashes --no-deps (?:-r|--requirement) \S*requirements\.lock", text)


def test_every_licence_keeps_the_policy() -> None:
    found = sbom.packages(sbom.locked())
    assert [package for package in found if package.verdict] == []
    assert {"torch", "dagster", "metaflow"} <= {package.name for package in found}


def test_the_policy_has_no_exception_that_nothing_needs() -> None:
    policy = tomllib.loads(sbom.POLICY.read_text())
    assert policy["accepted"].keys() <= sbom.locked().keys()
    assert all(one["why"].endswith(".") for one in policy["accepted"].values())


def told(**headers: str) -> Message:
    message = Message()
    for name, value in {"Name": "some", "Version": "1", **headers}.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({"License_Expression": "MIT AND (Apache-2.0 OR BSD-3-Clause)"}, None),
        ({"License_Expression": "AGPL-3.0-only"}, "AGPL-3.0-only is not among"),
        ({"License_Expression": "MIT OR GPL-3.0-only"}, "GPL-3.0-only is not among"),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, None),
        ({"Classifier": "License :: Other/Proprietary License"}, "Proprietary"),
        ({"License": "BSD-2-Clause"}, None),
        ({}, "says no licence"),
        ({"Classifier": "License :: OSI Approved"}, "says no licence"),
    ],
)
def test_a_licence_is_allowed_or_named(headers: dict[str, str], verdict: str | None) -> None:
    policy = tomllib.loads(sbom.POLICY.read_text())
    found = sbom._judged("some", told(**headers), policy).verdict
    assert found is None if verdict is None else verdict in str(found)


def test_one_that_was_accepted_and_has_changed_is_looked_at_again() -> None:
    policy = tomllib.loads(sbom.POLICY.read_text())
    changed = sbom._judged("certifi", told(License_Expression="GPL-3.0-only"), policy)
    assert "look at it again" in str(changed.verdict)


def some(bill: dict[str, Any]) -> dict[str, Any]:
    """With the first and the last references of each component: the validator compares them all,
    which takes minutes for all files of all packages."""
    components = [
        one
        | {"externalReferences": [*one["externalReferences"][:2], one["externalReferences"][-1]]}
        for one in bill["components"]
    ]
    return bill | {"components": components}


def test_the_bill_of_materials_is_cyclonedx_and_has_hashes_and_licences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    monkeypatch.setattr(sys, "argv", ["sbom.py", "--folder", str(tmp_path)])
    assert sbom.main() == 0
    text = (tmp_path / "sbom.cdx.json").read_text()
    bill = json.loads(text)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(some(bill))) is None
    named = {sbom.canonical(one["name"]): one for one in bill["components"]}
    assert named.keys() == sbom.locked().keys()
    click = named["click"]
    assert click["licenses"]
    files = [one for one in click["externalReferences"] if one["type"] == "distribution"]
    assert [one["hashes"][0]["content"] for one in files if "hashes" in one] == sbom.locked()[
        "click"
    ][1]
    assert "| click |" in (tmp_path / "licences.md").read_text()
    assert str(Path.home()) not in text
