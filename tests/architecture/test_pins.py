"""What `make` installs is pinned, so that today's build is tomorrow's."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    found = (re.match(r"([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", line) for line in lines)
    return {canonical(match[1]): match[2] for match in found if match}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named(requirements: list[str]) -> set[str]:
    names = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {canonical(name[0]) for name in names if name} - {"fraud-mlops"}


def test_every_package_that_an_install_names_is_pinned_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base, more = pins("requirements.txt"), pins("infra/constraints.txt")
    assert named(project["dependencies"]) - base.keys() == set()
    extras = project["optional-dependencies"]
    installed = {name for extra in extras if extra != "otel" for name in named(extras[extra])}
    assert installed - base.keys() - more.keys() == set()
    assert base.keys() & more.keys() == set()


def test_pins_that_stand_elsewhere_too_are_the_same() -> None:
    pinned = pins("requirements.txt") | pins("infra/constraints.txt")
    for name, version in pins("infra/azure/requirements.txt").items():
        assert pinned[name] == version
    image = (ROOT / "infra" / "aws" / "Dockerfile").read_text()
    for name, version in re.findall(r'"([\w-]+)==([^"]+)"', image):
        assert pinned[canonical(name)] == version


def test_every_pin_installs_on_the_first_python_that_is_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first = project["requires-python"].removeprefix(">=") + ".0"
    pinned = pins("requirements.txt") | pins("infra/constraints.txt")
    too_new = {
        name: wanted
        for package in distributions()
        if (name := canonical(package.name)) in pinned
        and (wanted := package.metadata["Requires-Python"])
        and first not in SpecifierSet(wanted)
    }
    assert too_new == {}
