"""The flows that materialize assets, as Dagster launches them for one dataset."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import fraud_mlops
from dagster_metaflow import MetaflowFlow
from fraud_assets.dataset import Dataset
from fraud_mlops import catalog

FOLDER = Path(__file__).parents[1] / "flows"
_LIBRARY = Path(fraud_mlops.__file__).parent
_IN_NO_FLOW = {"cli", "doctor", "notifications", "span.py", "warehouse", "__pycache__"}
"""No step imports them: assets do not become stale, nor are machines deployed anew, for them."""
_PLOTS = "plots"
"""Steps draw them, so that they are deployed; but no asset comes out otherwise for it."""


def flow(file: str, dataset: Dataset) -> MetaflowFlow:
    """A flow file with its dataset settled.

    Its code version covers the domain library and the contract, so that assets are stale when
    either changes what a run would do. What is deployed is the same for all datasets: each run is
    given its contract, and the code package holds all that have a name.
    """
    left_out = {*_IN_NO_FLOW, _PLOTS}
    code = [path for path in sorted(_LIBRARY.iterdir()) if path.name not in left_out]
    return MetaflowFlow(
        FOLDER / file,
        code=[path for path in code if path.is_dir() or path.suffix == ".py"],
        inputs=[dataset.file],
        packed=[*sorted(catalog.available().values()), _LIBRARY / _PLOTS],
        # The registry is the resource's to say, when a run starts.
        fixed={"dataset": str(dataset.file), "model_uri": None},
    )


ingest_flow = partial(flow, "ingest_flow.py")
training_flow = partial(flow, "training_flow.py")
scoring_flow = partial(flow, "scoring_flow.py")
