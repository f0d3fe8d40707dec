"""The `fraud-mlops` command line: look at datasets, models and zones, and move pointers.

Commands import what they need when they run, so that `--help` comes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fraud_mlops import __version__
from fraud_mlops.cli.aside import aside
from fraud_mlops.cli.check import check
from fraud_mlops.cli.datasets import datasets
from fraud_mlops.cli.doctor import doctor
from fraud_mlops.cli.erase import erase
from fraud_mlops.cli.lake import lake
from fraud_mlops.cli.leaving import leave
from fraud_mlops.cli.model_card import model_card
from fraud_mlops.cli.models import models
from fraud_mlops.cli.predictions import predictions
from fraud_mlops.cli.quarantine import quarantine
from fraud_mlops.cli.summary import summary
from fraud_mlops.cli.zones import metrics, scores
from fraud_mlops.errors import FraudMlopsError


class _Commands(click.Group):
    """What a person can act on ends as `Error: ...` and exit code 1, without a trace."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> Any:
        """Without arguments, which are the program's then, the process ends here."""
        try:
            return super().main(args, *rest, **more)
        except SystemExit as end:
            if args is not None or not isinstance(end.code, int | None):
                raise
            leave(end.code or 0)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (FraudMlopsError, PermissionError) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fraud-mlops")
def main() -> None:
    """Claims to a scored, validated fraud model: what there is, and how good it is.

    Runs are started with: python flows/fraud_detection_flow.py run
    """


_COMMANDS = (
    *(doctor, datasets, check, summary, scores, metrics, predictions, quarantine, aside),
    *(models, model_card, lake, erase),
)
for command in _COMMANDS:
    main.add_command(command)
