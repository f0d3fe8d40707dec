"""The toy's code location, for Dagster processes of their own. TOY_FOLDER says where it plays."""

import os
from pathlib import Path

import dagster as dg
from toy_kit import FLOW, MONTHS, Toy

from dagster_metaflow import MetaflowFlow

toy = Toy(Path(os.environ["TOY_FOLDER"]))
BOTH = ["first", "second"]
monthly = [dg.AssetSpec(["monthly", name]) for name in BOTH]


@dg.asset(deps=["second"])
def summary() -> None:
    """What others make of the toy's second asset."""


defs = dg.Definitions(
    assets=[
        toy.assets(),
        toy.assets(
            flow=MetaflowFlow(FLOW.path, fixed={"prefix": "monthly"}),
            assets=monthly,
            check_specs=(),
            name="toy_monthly",
            partitions_def=MONTHS,
        ),
        summary,
    ],
    jobs=[
        dg.define_asset_job("toy_job", selection=BOTH),
        dg.define_asset_job("process_job", selection=BOTH, executor_def=dg.multiprocess_executor),
        dg.define_asset_job("monthly_job", selection=["monthly/first", "monthly/second"]),
        dg.define_asset_job("summary_job", selection=["summary"]),
    ],
    resources={"metaflow": toy.resource()},
    executor=dg.in_process_executor,
)
