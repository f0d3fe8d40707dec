"""Options that several commands have, and what they stand for when left out."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any

import click

from fraud_mlops.command_options import options

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_OUTPUT = "fraud_mlops.output_uri"
CONTRACT = "fraud_mlops.contract"
"""In the context's meta: name of the dataset whose contract was given by its path."""
_GIVEN = "fraud_mlops.dataset_given"


def dataset_option() -> Decorator:
    return click.option(
        "--dataset",
        required=True,
        callback=_dataset,
        help="Name of a dataset, or the path of its contract.",
    )


def output_option(*, expose_value: bool = True) -> Decorator:
    """Not exposed where it only says where the models are."""
    return click.option(
        "--output-uri",
        callback=_output_uri,
        expose_value=expose_value,
        is_eager=True,  # known before --model-uri, which may depend on it
        help="Root of the lakehouse; LAKEHOUSE_URI, or ./lakehouse, when left out.",
    )


def model_option() -> Decorator:
    """Goes with `output_option`."""
    return click.option(
        "--model-uri",
        callback=_model_uri,
        help="Root of the model registry; FRAUD_MODEL_URI, or `models` in the lakehouse.",
    )


def _output_uri(context: click.Context, _option: click.Parameter, given: str | None) -> str:
    from fraud_mlops.lakehouse.addresses import require_root
    from fraud_mlops.settings import settings

    uri = require_root(given or settings().lakehouse_uri)
    context.meta[_OUTPUT] = uri
    return uri


def _model_uri(context: click.Context, _option: click.Parameter, given: str | None) -> str:
    from fraud_mlops.lakehouse.stores import models_root
    from fraud_mlops.settings import settings

    return models_root(context.meta[_OUTPUT], given or settings().model_uri)


def _dataset(context: click.Context, _option: click.Parameter, given: str) -> str:
    name = dataset_name(given)
    context.meta[_GIVEN] = given
    if name != given:
        context.meta[CONTRACT] = name
    return name


def same_options(dataset: str, *, root: str | None = None, models: str | None = None) -> str:
    """`options` of the command to go on with: the dataset as this command was given it, since a
    contract outside the datasets folder is not found by its name."""
    context = click.get_current_context(silent=True)
    given = context.meta.get(_GIVEN, dataset) if context else dataset
    return options(given, root=root, models=models)


def dataset_name(text: str) -> str:
    """The name in a contract, when a path is given; else the name itself.

    A dataset may be in the lakehouse while its contract is not on this machine.
    """
    if not text.endswith((".yaml", ".yml")) and "/" not in text:
        return text
    from fraud_mlops import catalog

    return catalog.load(text).name


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        return "unknown"
