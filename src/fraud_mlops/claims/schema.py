"""The canonical claims table of a contract, as an Arrow schema and as pandera rules."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fraud_mlops.claims.faults import EVENT_IN_FUTURE, LABEL_FROM_THE_FUTURE, NEGATIVE_AMOUNT
from fraud_mlops.claims.times import UTC_TIME
from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.errors import ContractError

if TYPE_CHECKING:
    import pandas as pd
    from pandera.pandas import Check, Column, DataFrameSchema

MASK = "***"
"""Stands for a value that is not to be shown."""


def raw_schema(contract: Contract) -> pa.Schema:
    """One row a claim: claim_id, event_time, label, label_time, amount, entities, features.

    Raises ContractError for a contract whose features have not been inferred yet.
    """
    numeric, categorical = _features(contract)
    fields = [
        pa.field(CLAIM_ID, pa.string(), nullable=False),
        pa.field(EVENT_TIME, UTC_TIME, nullable=False),
        pa.field(LABEL, pa.int8()),
        pa.field(LABEL_TIME, UTC_TIME),
    ]
    fields += [pa.field(AMOUNT, pa.float64())] if contract.amount else []
    fields += [pa.field(entity, pa.string()) for entity in contract.entities]
    fields += [pa.field(name, pa.float64()) for name in numeric]
    fields += [pa.field(name, pa.string()) for name in categorical]
    return pa.schema(fields)


def _features(contract: Contract) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if contract.numeric is None or contract.categorical is None:
        raise ContractError(
            f"{contract.name}: numeric and categorical columns are not known yet; "
            "pass the contract through fraud_mlops.claims.resolve first"
        )
    return contract.numeric, contract.categorical


def source_columns(contract: Contract) -> dict[str, str]:
    """The source column behind each canonical one, for messages that a person can follow."""
    numeric, categorical = _features(contract)
    columns = {name: name for name in (*numeric, *categorical)} | dict(contract.entities)
    columns[CLAIM_ID] = contract.claim_id or CLAIM_ID
    columns[EVENT_TIME] = contract.event_time.columns()[0]
    columns[LABEL] = contract.label.column
    columns[LABEL_TIME] = contract.label.time_column or LABEL_TIME
    if contract.amount:
        columns[AMOUNT] = contract.amount
    return columns


def masked_columns(contract: Contract) -> frozenset[str]:
    """Canonical columns whose values are not to be shown: ids, entities, personal data.

    Raises ContractError for a personal column that the claims do not have.
    """
    behind = source_columns(contract).values()
    if unknown := sorted(set(contract.personal) - set(behind)):
        raise ContractError(
            f"{contract.name}: personal names {', '.join(unknown)}, which is no column of the "
            f"claims; there are {', '.join(sorted(set(behind)))}"
        )
    return frozenset({CLAIM_ID, *unsaid_columns(contract)})


def masked_in_source(contract: Contract, names: Mapping[str, str]) -> frozenset[str]:
    """The same under the source's names, which are given of each canonical column."""
    return frozenset(names[column] for column in masked_columns(contract))


def require_seasonal(contract: Contract) -> None:
    """Raises ContractError for a seasonal column that is no feature of the claims."""
    there = {*(contract.numeric or ()), *(contract.categorical or ())}
    if unknown := sorted(set(contract.drift.seasonal) - there):
        raise ContractError(
            f"{contract.name}: drift.seasonal names {', '.join(unknown)}, which is no numeric or "
            f"categorical column of the claims; there are {', '.join(sorted(there))}"
        )


def unsaid_columns(contract: Contract) -> frozenset[str]:
    """Canonical columns of a person or an entity, also where the same column is a feature, too."""
    unsaid = {*contract.personal, *contract.entities.values()}
    return frozenset(name for name, source in source_columns(contract).items() if source in unsaid)


def pandera_schema(contract: Contract, as_of: datetime | None = None) -> DataFrameSchema:
    """The rules of the canonical table. A check is named for the reason a row breaks it.

    as_of: the moment the table is looked at; without it nothing counts as the future.
    """
    load_pandera()
    import pandas as pd
    from pandera.pandas import Check, Column, DataFrameSchema

    numeric, categorical = _features(contract)
    moment = pd.DatetimeTZDtype("us", "UTC")
    columns = {
        CLAIM_ID: Column("str", nullable=False),
        EVENT_TIME: Column(moment, _not_after(as_of, EVENT_IN_FUTURE), nullable=False),
        LABEL: Column(pd.Int8Dtype(), Check.isin([0, 1], **_named("unknown_label")), nullable=True),
        LABEL_TIME: Column(moment, _not_after(as_of, LABEL_FROM_THE_FUTURE), nullable=True),
    }
    if contract.amount:
        columns[AMOUNT] = _number(contract.quality.min_amount)
    columns |= {entity: Column("str", nullable=True) for entity in contract.entities}
    columns |= {name: _number() for name in numeric}
    columns |= {name: Column("str", nullable=True) for name in categorical}
    return DataFrameSchema(
        columns,
        checks=Check(_label_follows_event, **_named("label_before_event"), ignore_na=False),
        strict=True,
        ordered=True,
        name=f"{contract.name} v{contract.version}",
    )


def load_pandera() -> None:
    """To be called before anything of pandera is imported.

    Where PySpark is installed pandera loads PySpark's pandas, too, which warns of pandas 3.
    """
    with warnings.catch_warnings():
        message = "PySpark does not yet fully support pandas"
        warnings.filterwarnings("ignore", message=message, category=FutureWarning)
        import pandera.backends.pandas.builtin_checks
        import pandera.pandas  # noqa: F401 - loaded here for all who use it


def _number(least: float | None = None) -> Column:
    from pandera.pandas import Check, Column

    checks = [Check(lambda x: ~np.isinf(x), **_named("infinite_value"), ignore_na=False)]
    if least is not None:
        checks.append(Check.ge(least, **_named(NEGATIVE_AMOUNT)))
    return Column("float64", checks, nullable=True)


def _not_after(as_of: datetime | None, reason: str) -> list[Check]:
    import pandas as pd
    from pandera.pandas import Check

    return [] if as_of is None else [Check.le(pd.Timestamp(as_of), **_named(reason))]


def _named(reason: str) -> dict[str, Any]:
    """pandera reports a ready-made check by its error, any other by its name."""
    return {"name": reason, "error": reason}


def _label_follows_event(claims: pd.DataFrame) -> pd.Series:
    """A missing time breaks other rules, not this one."""
    return ~(claims[LABEL_TIME] < claims[EVENT_TIME])
