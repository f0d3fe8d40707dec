"""What travels to tasks that run elsewhere, beside the flows' own folder.

Tasks on AWS Batch find the packages of infra/requirements.lock and not this project. Metaflow packs
the libraries that are loaded and say METAFLOW_PACKAGE_POLICY = "include", as both of ours do;
contracts that a dataset can be named by are added here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from metaflow import FlowMutator  # noqa: TID253 - this file is part of the flows

import dagster_metaflow.reports  # noqa: F401 - loaded, and so packed
import fraud_mlops.errors  # noqa: F401 - loaded, and so packed


class Packed(FlowMutator):  # type: ignore[misc]
    """Put on a flow: adds `datasets/` to its code package, and settings of this shell to its tasks,
    wherever they run."""

    def mutate(self, mutable_flow: Any) -> None:
        from fraud_mlops.settings import TRAVELLING

        known = {name: os.environ[name] for name in TRAVELLING if os.environ.get(name)}
        for _, one in mutable_flow.steps if known else ():
            one.add_decorator("environment", deco_kwargs={"vars": known})

    def add_to_package(self) -> Iterator[tuple[str, str, Any]]:
        from metaflow.packaging_sys import ContentType

        from fraud_mlops import catalog

        for path in catalog.available().values():
            yield str(path), f"datasets/{path.name}", ContentType.USER_CONTENT
