"""What is told of the raw zone."""

from __future__ import annotations

from fraud_mlops import plots
from fraud_mlops.claims.report import IngestReport
from fraud_mlops.claims.schema import masked_columns, raw_schema
from fraud_mlops.contract import CLAIM_ID
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.uniqueness import repeated_values
from fraud_mlops.pipeline.ingesting import Periods
from fraud_mlops.reporting.told import NEWEST, Finding, Told, newest_with_rows, published_partitions
from fraud_mlops.words import counted, share_of


def told(lakehouse: Lakehouse, ingested: IngestReport, periods: Periods) -> Told:
    """periods: of the partitions that were written."""
    contract = ingested.contract
    facts = {
        value: {
            "contract_version": contract.version,
            "labelled": labelled,
            "fraud_rate": rate,
            "quarantine_uri": ingested.quarantine_uri,
        }
        for value, labelled, rate in zip(
            periods.values, periods.labelled, periods.fraud_rates, strict=True
        )
    }
    return Told(
        published=published_partitions(
            lakehouse,
            ingested.partitions,
            raw_schema(contract),
            facts,
            masked=masked_columns(contract),
        ),
        findings=(_contract(ingested), _quarantine(ingested), _duplicates(lakehouse, ingested)),
        figures={
            "claims_over_time": plots.claims_over_time(
                periods.values, periods.claims, periods.fraud_rates
            ),
            "quarantine_reasons": plots.quarantine_reasons(ingested.reasons),
        },
    )


def _contract(ingested: IngestReport) -> Finding:
    """A claim that breaks the contract is not published, so that this holds by construction."""
    return Finding(
        "contract",
        passed=True,
        facts={
            "contract_version": ingested.contract.version,
            "read": ingested.read,
            "kept": ingested.kept,
            "immature_labels": ingested.immature_labels,
            "labels_added": ingested.labels_added,
            "warnings": list(ingested.warnings),
        },
    )


def _quarantine(ingested: IngestReport) -> Finding:
    """Before it is too late: at more than all of the limit nothing is published."""
    limit = ingested.contract.quality.max_bad_share
    return Finding(
        "quarantine_share",
        passed=ingested.bad_share <= limit / 2,
        severity="WARN",
        facts={
            NEWEST: newest_with_rows(ingested.partitions),
            "reason": _bad_rows_in_words(ingested, limit),
            "bad_share": ingested.bad_share,
            "limit": limit,
            "quarantined": ingested.quarantined,
            "reasons": ingested.reasons,
            "quarantine_uri": ingested.quarantine_uri,
        },
    )


def _bad_rows_in_words(ingested: IngestReport, limit: float) -> str:
    often = sorted(ingested.reasons.items(), key=lambda item: -item[1])[:3]
    why = "".join(f"; {reason}: {count:,}" for reason, count in often)
    return (
        f"{counted(ingested.quarantined, 'row')} of {ingested.read:,} are in quarantine, "
        f"{share_of(ingested.bad_share)}: told from {share_of(limit / 2)} on, and with more than "
        f"{share_of(limit)} nothing is published"
        f"{why}"
    )


def _duplicates(lakehouse: Lakehouse, ingested: IngestReport) -> Finding:
    """In what this run has written. A claim that also stands in an old partition, since its date
    was corrected, is for a look over the whole zone, and must not keep new claims from going on."""
    twice = repeated_values(lakehouse, ingested.partitions, CLAIM_ID)
    return Finding("no_duplicate_claims", passed=not twice, facts={"claims_twice": twice})
