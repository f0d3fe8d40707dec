"""Options of the commands that messages tell people to go on with.

A run with a lakehouse of its own is gone on with in that lakehouse: its address stands in what it
tells to do next, but for one that the settings name anyway.
"""

from __future__ import annotations

import contextlib
import shlex

from fraud_mlops.errors import FraudMlopsError

FIRST_RUN = "python flows/fraud_detection_flow.py run"
"""Makes what a command finds nothing of; options go behind it."""


def options(dataset: str, *, root: str | None = None, models: str | None = None) -> str:
    """`--dataset ...`, and `--output-uri` and `--model-uri` where the command needs them.

    root: of the lakehouse, for a command that takes `--output-uri`; models: of the registry, for
    one that takes `--model-uri`.
    """
    from fraud_mlops.lakehouse.stores import absolute, models_root
    from fraud_mlops.settings import settings

    told, lake, usual = ["--dataset", dataset], None, settings()
    with contextlib.suppress(FraudMlopsError):  # an odd one matters to nobody who gives another
        lake = absolute(usual.lakehouse_uri)
    if root is not None and absolute(root) != lake:
        lake = absolute(root)
        told += ["--output-uri", lake]
    if models is not None and (lake is None or models != models_root(lake, usual.model_uri)):
        told += ["--model-uri", models]
    return shlex.join(told)
