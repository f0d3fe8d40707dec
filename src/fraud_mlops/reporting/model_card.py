"""A model card: what a version is, for whom, how good, and where it comes from, as Markdown.

The sections are those of Mitchell et al. (2019), Model Cards for Model Reporting,
https://doi.org/10.1145/3287560.3287596. Every figure is the manifest's; nothing is computed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fraud_mlops.contract import AMOUNT
from fraud_mlops.registry.bundle import Manifest
from fraud_mlops.registry.pointers import Pointer

_SLICES_AT_MOST = 40
_WORDS = {"roc_auc": "ROC-AUC", "brier": "Brier score"}
_INTENDED = """\
Ranks claims by the probability of fraud, so that a team of investigators looks first where a look
is worth most. **A score routes a claim to a person; it never denies a claim by itself.** Each
answer comes with the features that raised it.

Not meant for: pricing, acceptance of customers, or any decision about a person without a human
look; claims of another line of business, country or product than the training data's; claims from
long after the end of training, for which the drift checks say whether the figures still hold."""
_CAVEATS = """\
- Labels are what investigations found: fraud that nobody looked into counts as genuine.
- Claims that were alerted are looked into more often than others, which later labels reflect.
- Figures are of one window of time. The metrics zone has what became of them since.
- Intervals are bootstrap intervals over claims; they say nothing of a change in the world."""


def model_card(manifest: Manifest, pointer: Pointer | None = None) -> str:
    """pointer: the role that the version has now; None for one that leads nothing."""
    parts = [
        f"# Model card: {manifest.dataset} {manifest.version}",
        _details(manifest, pointer),
        "## Intended use\n\n" + _INTENDED,
        _factors(manifest),
        _metrics(manifest),
        _decision(manifest),
        _data(manifest),
        _slices(manifest),
        _people(manifest),
        "## Caveats\n\n" + _CAVEATS,
        _provenance(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _details(manifest: Manifest, pointer: Pointer | None) -> str:
    candidate = manifest.candidate
    role = "none"
    if pointer:
        role = f"{pointer.role} since {pointer.since:%F %H:%M} UTC, by {pointer.by}"
    rows = [
        ("version", manifest.version),
        ("role", role),
        ("model", f"{candidate.get('name')} ({candidate.get('family')})"),
        ("trained until", f"{manifest.trained_until:%F}"),
        ("labels as of", f"{manifest.labels_as_of:%F}"),
        ("gate", manifest.gate.get("reason")),
        ("derived from", manifest.derived_from),
        ("sample", manifest.sample),
        ("licence of the code", "Apache-2.0"),
    ]
    params = candidate.get("params") or {}
    told = ", ".join(f"{name} {value}" for name, value in sorted(params.items()))
    rows.append(("hyper-parameters", f"{told}; seed {candidate.get('seed')}"))
    return "## Model\n\n" + _table(("", ""), [row for row in rows if row[1]])


def _factors(manifest: Manifest) -> str:
    contract = manifest.contract
    entities = ", ".join(contract.get("entities") or {}) or "none"
    amount = (AMOUNT,) if contract.get("amount") else ()
    numeric, categorical = contract.get("numeric") or (), contract.get("categorical") or ()
    windows = ", ".join(str(days) for days in contract.get("windows") or ())
    return (
        "## Inputs\n\n"
        f"- Numeric columns: {_listed((*amount, *numeric))}.\n"
        f"- Categories: {_listed(categorical)}.\n"
        f"- Histories of {entities}, {windows} days back, each strictly before the claim and with "
        f"no label before it was known (delay {contract.get('label', {}).get('delay')})."
    )


def _metrics(manifest: Manifest) -> str:
    rows = [
        (_name(name), _number(m["value"]), f"{_number(m['low'])} to {_number(m['high'])}")
        for name, m in manifest.metrics.items()
    ]
    text = "## Out of time\n\n" + _table(("", "value", "95 % interval"), rows)
    report = manifest.oot.get("report") or {}
    if report:
        window = report["window"]
        text += (
            f"\n\n{report['rows']:,} labelled claims from {window['start'][:10]} to "
            f"{window['end'][:10]}, of which {report['frauds']:,} are fraud. The window played no "
            "part in the choice of the model, its calibration or its threshold."
        )
    best = manifest.oot.get("oracle_average_precision")
    if best is not None:
        text += f" The best possible average precision on these claims is {_number(best)}."
    return text


def _decision(manifest: Manifest) -> str:
    threshold, report = manifest.threshold, manifest.oot.get("report") or {}
    budget = (manifest.contract.get("alerts") or {}).get("budget")
    rows = [
        ("threshold (logit)", _number(threshold.get("value"))),
        ("rule", threshold.get("rule")),
        ("how it was chosen", threshold.get("detail")),
        ("note", threshold.get("silent")),
        ("budget", f"{budget:.1%}" if budget is not None else None),
        ("alerted out of time", _share(report.get("alert_share"))),
        ("frauds among alerts", _share(report.get("precision_of_alerts"))),
        ("frauds found", _share(report.get("recall_of_alerts"))),
        ("value found", _share(report.get("value_detected"))),
        ("calibration", manifest.calibration.get("kind")),
    ]
    return "## Decision\n\n" + _table(("", ""), [row for row in rows if row[1] is not None])


def _data(manifest: Manifest) -> str:
    names = sorted(manifest.data_versions)
    span = f"{names[0]} to {names[-1]}" if names else "none"
    windows = [
        (name, f"{window['start'][:10]} to {window['end'][:10]}")
        for name in ("train", "validation", "oot")
        if isinstance(window := manifest.split.get(name), dict)
    ]
    return (
        "## Data\n\n"
        f"{manifest.contract.get('description', '').strip()}\n\n"
        f"{len(names)} raw partitions, {span}, each pinned by the hash of its content; contract "
        f"version {manifest.contract.get('version')}.\n\n"
        + _table(("window", "event times, end excluded"), windows)
    )


def _slices(manifest: Manifest) -> str:
    found = (manifest.oot.get("report") or {}).get("slices") or []
    measured = [one for one in found if one.get("average_precision") is not None]
    measured.sort(key=lambda one: (one["kind"] != "month", one["feature"], one["value"]))
    rows = [
        (
            f"{one['feature'].replace('_', ' ')}: {one['value']}",
            f"{one['rows']:,}",
            f"{one['fraud_rate']:.1%}",
            f"{one['mean_probability']:.1%}",
            _number(one["average_precision"]),
            _share(one["recall_of_alerts"]),
        )
        for one in measured[:_SLICES_AT_MOST]
    ]
    if not rows:
        return "## Slices\n\nNo slice has claims enough to be measured by itself."
    head = ("slice", "claims", "fraud rate", "mean probability", "average precision", "found")
    more = len(found) - len(rows)
    rest = f"\n\n{more} more are in the manifest; small ones have counts only." if more else ""
    return "## Slices\n\n" + _table(head, rows) + rest


def _people(manifest: Manifest) -> str:
    personal = manifest.contract.get("personal") or ()
    return (
        "## People\n\n"
        f"Columns with personal data: {_listed(personal)}; with ids and entities they are masked "
        "where claims are shown, and reasons of scores name them without the value; scores bear "
        "the claim's id. Of these, none is left out of training by itself: that is the "
        "contract's `ignore`. Whether a column stands in for a protected attribute is for a person "
        "to judge, with the slices above. One person's claims leave every place, this model's "
        "sample of its training included, by `fraud-mlops erase`."
    )


def _provenance(manifest: Manifest) -> str:
    rows = [
        ("Metaflow run", manifest.run),
        ("Dagster run", manifest.dagster_run_id),
        ("Python", manifest.python),
        *sorted(manifest.libraries.items()),
    ]
    files = [(name, f"{entry.bytes:,}", entry.sha256) for name, entry in manifest.files.items()]
    return (
        "## Provenance\n\n"
        + _table(("", ""), [row for row in rows if row[1]])
        + "\n\n"
        + _table(("file", "bytes", "sha256"), files)
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    return "\n".join(_lines(head, rows))


def _lines(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield _row(head)
    yield "|" + "---|" * len(head)
    yield from map(_row, rows)


def _row(cells: Sequence[Any]) -> str:
    """Values of data never end a cell, a row or the page's markup."""
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(value: Any) -> str:
    text = " ".join(str(value).split())
    for sign in ("\\", "|", "<", "`"):
        text = text.replace(sign, f"\\{sign}")
    return text


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(_cell, names)) or "none"


def _name(metric: str) -> str:
    return _WORDS.get(metric, metric.replace("_", " "))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"
