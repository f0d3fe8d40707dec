"""What travels to tasks that run elsewhere, beside the flows' own folder.

Tasks on AWS Batch find the packages of requirements.txt and not this project: its libraries are in
the code package, and so is each contract that a dataset can be named by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metaflow import FlowMutator  # noqa: TID253 - this file is part of the flows


class Packed(FlowMutator):  # type: ignore[misc]
    """Put on a flow: adds `fraud_mlops`, `dagster_metaflow` and `datasets/` to its code package."""

    def add_to_package(self) -> Iterator[tuple[Any, str, Any]]:
        from metaflow.packaging_sys import ContentType

        import dagster_metaflow.reports
        import fraud_mlops
        from fraud_mlops import catalog

        for library in (fraud_mlops, dagster_metaflow):
            yield library, library.__name__, ContentType.MODULE_CONTENT
        for path in catalog.available().values():
            yield str(path), f"datasets/{path.name}", ContentType.USER_CONTENT
