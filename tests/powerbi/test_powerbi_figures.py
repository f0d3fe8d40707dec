"""What the measures count: no engine for DAX is here, so their text is held to rules."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tmdl import read, references

PROJECT = Path(__file__).parents[2] / "infra" / "powerbi"
TABLES = PROJECT / "FraudMetrics.SemanticModel" / "definition" / "tables"
MEASURES = {
    name: measure.value
    for path in TABLES.glob("*.tmdl")
    for table in read(path)
    for name, measure in table.all("measure").items()
}
JUDGING = (
    "Frauds caught",
    "Alerts with a label",
    "Precision of alerts",
    "Recall of alerts",
    "Average precision",
    "Value detected",
    "Claims in stage",
)
"""Figures by which a model is judged. How many claims and alerts there are is no such."""


def written_out(expression: str) -> str:
    """With the measures it refers to in its place."""
    for table, name in references(expression):
        if table is None:
            expression = expression.replace(f"[{name}]", f"({written_out(MEASURES[name])})")
    return expression


def figures_of_all_periods(expression: str) -> list[str]:
    """Of a measure written out: what is summed outside of a CALCULATE that leaves in-sample out."""
    rule = re.compile(r"KEEPFILTERS\('(Daily KPIs|Alert funnel)'\[In sample\] = FALSE\(\)\)")
    open_calls: list[tuple[int, str]] = []
    spans, at = [], 0
    for match in re.finditer(r"(\w*)\(|\)", expression):
        if match[0] != ")":
            open_calls.append((match.start(), match[1]))
            continue
        start, function = open_calls.pop()
        if function == "CALCULATE" and rule.search(expression[start : match.end()]):
            spans.append((start, match.end()))
        at = match.end()
    assert not open_calls, expression[at:]
    return [
        found[0]
        for found in re.finditer(r"\b(?:SUM|SUMX|AVERAGE|COUNTBLANK)\(", expression)
        if not any(start < found.start() < end for start, end in spans)
    ]


@pytest.mark.parametrize("name", JUDGING)
def test_a_model_is_not_judged_on_periods_that_it_may_have_learnt_from(name: str) -> None:
    assert figures_of_all_periods(written_out(MEASURES[name])) == []


def test_claims_and_alerts_are_counted_whoever_has_learnt_from_them() -> None:
    for name in ("Claims", "Alerts", "Alert share", "Fraud rate"):
        assert "In sample" not in written_out(MEASURES[name])


def test_alerts_a_day_are_divided_by_days_and_not_by_days_of_each_dataset() -> None:
    """Two datasets of one month are a month's work, not two months'."""
    expression = written_out(MEASURES["Alerts per day"])
    assert "SUMX" not in expression
    assert re.search(r"COUNTROWS\(FILTER\(ALL\('Date'\[Date\]\)", expression)


def test_the_report_says_where_it_is_out_of_sample() -> None:
    pages = PROJECT / "FraudMetrics.Report" / "definition" / "pages"
    for visual in ("overview/visuals/performance", "funnel/visuals/funnel_all"):
        shown = json.loads((pages / visual / "visual.json").read_text())["visual"]
        [title] = shown["visualContainerObjects"]["title"]
        assert "out of sample" in title["properties"]["text"]["expr"]["Literal"]["Value"]
