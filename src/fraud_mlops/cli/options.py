"""Options that several commands have, and what they stand for when left out."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def dataset_option() -> Decorator:
    return click.option(
        "--dataset",
        required=True,
        callback=lambda _context, _option, value: dataset_name(value),
        help="Name of a dataset, or the path of its contract.",
    )


def output_option() -> Decorator:
    return click.option(
        "--output-uri",
        callback=lambda _context, _option, value: output_uri(value),
        help="Root of the lakehouse; LAKEHOUSE_URI, or ./lakehouse, when left out.",
    )


def model_option() -> Decorator:
    return click.option(
        "--model-uri",
        callback=lambda _context, _option, value: model_uri(value),
        help="Root of the model registry; FRAUD_MODEL_URI, or `models` in the lakehouse.",
    )


def dataset_name(text: str) -> str:
    """The name in a contract, when a path is given; else the name itself.

    A dataset may be in the lakehouse while its contract is not on this machine.
    """
    if not text.endswith((".yaml", ".yml")) and "/" not in text:
        return text
    from fraud_mlops import catalog

    return catalog.load(text).name


def output_uri(given: str | None) -> str:
    from fraud_mlops.settings import settings

    return given or settings().lakehouse_uri


def model_uri(given: str | None) -> str:
    from fraud_mlops.lakehouse.stores import join
    from fraud_mlops.settings import settings

    return given or settings().model_uri or join(settings().lakehouse_uri, "models")


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        return "unknown"
