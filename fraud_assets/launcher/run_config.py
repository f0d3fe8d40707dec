"""Run configuration as a person writes it, for a webserver that takes JSON."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import click


def read_run_config(given: str) -> dict[str, Any]:
    """From a YAML or JSON file, or from JSON on the command line. YAML's dates become ISO text.

    Raises click.BadParameter for what is neither, is no mapping, or holds what JSON cannot say.
    """
    import yaml

    inline = given.lstrip().startswith("{")
    if not inline and not Path(given).is_file():
        raise click.BadParameter(f"there is no file {given}, and it is no JSON object either.")
    try:
        config = yaml.safe_load(given if inline else Path(given).read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError) as error:  # also a date that no calendar has
        raise click.BadParameter(f"{given} is neither YAML nor JSON: {error}") from None
    if not isinstance(config, dict):
        raise click.BadParameter(f"{given} holds no mapping, such as ops: or resources:.")
    return {_key(key, ""): _as_json(value, _key(key, "")) for key, value in config.items()}


def _as_json(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        inner = ((_key(key, path), one) for key, one in value.items())
        return {key: _as_json(one, f"{path}.{key}") for key, one in inner}
    if isinstance(value, list):
        return [_as_json(one, f"{path}[{at}]") for at, one in enumerate(value)]
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    finite = not isinstance(value, float) or math.isfinite(value)
    if finite and (value is None or isinstance(value, str | int | float)):
        return value
    raise click.BadParameter(
        f"{path} is {value!r} ({type(value).__name__}), which JSON cannot say: give text, a "
        "number, true, false, null, a list or a mapping."
    )


def _key(key: Any, path: str) -> str:
    if isinstance(key, date):
        return key.isoformat()
    if isinstance(key, str):
        return key
    where = f"below {path}" if path else "at the top"
    raise click.BadParameter(f"{key!r} {where} is a key and no text: put it in quotes.")
