"""The compose file with its example of settings, Kubernetes' manifests, the chart's values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from composed import COMPOSE, ROOT, interpolated

VALUES = yaml.safe_load((ROOT / "infra" / "helm" / "values.yaml").read_text())


def example() -> dict[str, str]:
    lines = (COMPOSE / "example.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose(text: str | None = None) -> dict[str, Any]:
    """Of the file, or of what somebody has made of its text."""
    text = (COMPOSE / "compose.yaml").read_text() if text is None else text
    found: dict[str, Any] = interpolated(yaml.safe_load(text), example())
    return found


SERVICES: dict[str, dict[str, Any]] = compose()["services"]


def manifests() -> Iterator[dict[str, Any]]:
    for file in sorted((ROOT / "infra" / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text())


def named(manifest: dict[str, Any]) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]
