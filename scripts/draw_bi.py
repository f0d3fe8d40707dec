"""Pictures of the Power BI report's figures, from the warehouse that the settings mean.

    python scripts/draw_bi.py docs/images [--dataset synthetic_claims]

Sync metrics first (metrics_sync_job, or scripts/sync_metrics_to_snowflake.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraud_mlops.errors import FraudMlopsError, WarehouseError
from fraud_mlops.settings import settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fraud_mlops.warehouse.engine import Session, Warehouse

_ORDER = {
    "BI_DAILY_KPIS": "PERIOD_START",
    "BI_ALERT_FUNNEL": "STAGE_NUMBER",
    "BI_MODEL_COMPARISON": "IS_CURRENT DESC, LAST_SCORED DESC, METRIC",
    "BI_DRIFT": "PERIOD_START",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--dataset", default="synthetic_claims")
    arguments = parser.parse_args()
    from fraud_mlops.plots import to_png

    try:
        figures = _figures(arguments.dataset)
    except FraudMlopsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        path = arguments.folder / f"bi_{name}.png"
        path.write_bytes(to_png(figure))
        print(path)
    return 0


def _figures(dataset: str) -> dict[str, Figure]:
    from fraud_mlops.plots import bi
    from fraud_mlops.warehouse.choice import warehouse_of
    from fraud_mlops.warehouse.views import told_of_views

    warehouse = warehouse_of(settings(), settings().lakehouse_uri)
    with warehouse.reading(print) as session:
        if session is None:
            raise WarehouseError(_nothing(warehouse, dataset))
        if told := told_of_views(session, warehouse):
            raise WarehouseError(f"{warehouse.address}: {told}")
        kpis, funnel, models, drift = (_rows(session, view, dataset) for view in _ORDER)
    if not kpis:
        raise WarehouseError(_nothing(warehouse, dataset))
    current = [row for row in models if row["MODEL_VERSION"] == models[0]["MODEL_VERSION"]]
    return {
        "claims_and_alerts": bi.claims_and_alerts(kpis),
        "alert_funnel": bi.alert_funnel(bi.stages_of(funnel)),
        "models": bi.promised_and_kept(current),
        "drift": bi.drift_of_features(drift),
    }


def _nothing(warehouse: Warehouse, dataset: str) -> str:
    return (
        f"{warehouse.address}: holds nothing of {dataset}; sync its metrics first: "
        f"python scripts/sync_metrics_to_snowflake.py --dataset {dataset}"
    )


def _rows(session: Session, view: str, dataset: str) -> list[Mapping[str, Any]]:
    names = list(session.columns(view))
    listed = ", ".join(f'"{name}"' for name in names)
    found = session.execute(
        f'SELECT {listed} FROM {view} WHERE "DATASET" = ? ORDER BY {_ORDER[view]}', [dataset]
    )
    return [dict(zip(names, row, strict=True)) for row in found]


if __name__ == "__main__":
    sys.exit(main())
