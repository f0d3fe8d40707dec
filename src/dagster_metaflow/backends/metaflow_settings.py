"""What Metaflow's commands are set up by: METAFLOW_ variables, and `metaflow configure`'s file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dagster_metaflow.backends.protocol import LaunchError, UsageError

_SECRETS = ("METAFLOW_SERVICE_AUTH_KEY", "METAFLOW_SERVICE_HEADERS")
_URLS = re.compile(
    "METAFLOW_(SERVICE_URL|SERVICE_INTERNAL_URL|S3_ENDPOINT_URL|OTEL_ENDPOINT|(CONDA|DEBUG)_.*)"
)
_PLACE = ("METAFLOW_HOME", "METAFLOW_PROFILE")


def metaflow_settings(known: Mapping[str, str]) -> dict[str, Any]:
    """By the names of the variables, which go before the file; without those that say where it is.

    known: variables of the command. Raises LaunchError for a file that is none of Metaflow's.
    """
    of_file = _of_file(known)
    variables = {k: v for k, v in known.items() if k.startswith("METAFLOW_") and k not in _PLACE}
    return {**of_file, **variables}


def _of_file(known: Mapping[str, str]) -> dict[str, Any]:
    profile = known.get("METAFLOW_PROFILE")
    name = f"config_{profile}.json" if profile else "config.json"
    path = Path(known.get("METAFLOW_HOME", "~/.metaflowconfig"), name).expanduser()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LaunchError(f"Metaflow's configuration {path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise LaunchError(f"Metaflow's configuration {path} is no JSON object")
    return found


def refuse_secrets(known: Mapping[str, str]) -> None:
    """Metaflow writes these into the environment of jobs. Raises UsageError."""
    settings = metaflow_settings(known)
    if told := [name for name in _SECRETS if settings.get(name) not in (None, "", "{}", {})]:
        raise UsageError(
            f"{' and '.join(told)}: on AWS whoever may look at jobs or the state machine would "
            "read it. Unset it, and let the network guard the metadata service instead."
        )
    if told := [k for k, v in settings.items() if _URLS.fullmatch(k) and _has_a_login(v)]:
        raise UsageError(
            f"{' and '.join(told)}: on AWS whoever may look at jobs or the state machine would "
            "read the login in this address. Give the address without it."
        )


def _has_a_login(address: object) -> bool:
    try:
        found = urlsplit(str(address or ""))
    except ValueError:
        return False
    return bool(found.username or found.password or found.query)


def run_page(known: Mapping[str, str], flow: str, run_id: str | None) -> dict[str, str]:
    """A link to the run in Metaflow's UI, where METAFLOW_UI_URL says where that is."""
    place = metaflow_settings(known).get("METAFLOW_UI_URL")
    if not place or run_id is None:
        return {}
    return {"run": f"{str(place).rstrip('/')}/{flow}/{run_id}"}
