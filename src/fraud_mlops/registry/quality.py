"""Whether a model version may be deployed, by what its manifest says of it out of time.

Losing to the champion is no failure: a version that was held back is not deployed, and that is all.
What fails is a champion that breaks a promise, since that one would be deployed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from fraud_mlops.errors import BundleError, RegistryError
from fraud_mlops.registry.bundle import Manifest, load_bundle, read_manifest
from fraud_mlops.registry.pointers import read_pointer

Verdict = Literal["passed", "held", "failed"]
_CHANCE = 0.5


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Criterion(_Frozen):
    """threshold and actual: as they are compared; text where that says more than a number."""

    name: str
    threshold: float | str
    actual: float | str
    passed: bool


class QualityGate(_Frozen):
    """held: it is not the champion, and stays where it is."""

    dataset: str
    version: str
    champion: str
    verdict: Verdict
    criteria: tuple[Criterion, ...]
    summary: str

    @property
    def passed(self) -> bool:
        return self.verdict != "failed"

    @property
    def deployable(self) -> bool:
        return self.verdict == "passed"


def judge(
    models_uri: str,
    dataset: str,
    version: str | None = None,
    least: Mapping[str, float] | None = None,
) -> QualityGate:
    """version: the champion when left out. least: what metrics must reach out of time, by name.

    Raises RegistryError when there is no champion, and for a metric that the version has not;
    BundleError when there is no such version.
    """
    champion = read_pointer(models_uri, dataset, "champion")
    if champion is None:
        raise RegistryError(
            f"{dataset} has no champion in {models_uri}: train one first, with "
            "python -m fraud_assets.launch training_job"
        )
    version = version or champion.version
    manifest = read_manifest(models_uri, dataset, version)
    criteria = (
        _whole(models_uri, dataset, version),
        *_out_of_time(manifest),
        *_calibrated(manifest),
        _against_champion(manifest),
        *(_at_least(manifest, name, value) for name, value in (least or {}).items()),
    )
    verdict: Verdict = "held"
    if version == champion.version:
        verdict = "passed" if all(one.passed for one in criteria) else "failed"
    return QualityGate(
        dataset=dataset,
        version=version,
        champion=champion.version,
        verdict=verdict,
        criteria=criteria,
        summary=_summary(verdict, manifest, champion.version, criteria),
    )


def _whole(models_uri: str, dataset: str, version: str) -> Criterion:
    try:
        load_bundle(models_uri, dataset, version)
    except BundleError as error:
        return Criterion(name="bundle", threshold="whole", actual=str(error), passed=False)
    return Criterion(name="bundle", threshold="whole", actual="whole", passed=True)


def _out_of_time(manifest: Manifest) -> list[Criterion]:
    """The lower ends of the intervals are above what chance would reach."""
    report: dict[str, Any] = manifest.oot.get("report", {})
    rate = report["frauds"] / report["rows"] if report.get("rows") else 0.0
    found = []
    for name, chance in (("average_precision", rate), ("roc_auc", _CHANCE)):
        low = manifest.metrics.get(name, {}).get("low")
        actual: float | str = "not known" if low is None else low
        above = low is not None and low > chance
        found.append(Criterion(name=f"{name}_low", threshold=chance, actual=actual, passed=above))
    return found


def _calibrated(manifest: Manifest) -> list[Criterion]:
    """Within what the contract allows, where that was measured."""
    limit = manifest.contract.get("checks", {}).get("calibration_error")
    actual = manifest.metrics.get("calibration_error", {}).get("value")
    if limit is None or actual is None:
        return []
    return [
        Criterion(name="calibration_error", threshold=limit, actual=actual, passed=actual <= limit)
    ]


def _against_champion(manifest: Manifest) -> Criterion:
    """The upper end of the paired gain: below 0 it is surely worse than the champion before it."""
    gain = manifest.gate.get("gain")
    if gain is None:
        return Criterion(
            name="gain_over_champion", threshold=0.0, actual="nothing compared", passed=True
        )
    high = float(gain["gain"]["high"])
    return Criterion(name="gain_over_champion_high", threshold=0.0, actual=high, passed=high >= 0)


def _at_least(manifest: Manifest, name: str, least: float) -> Criterion:
    if name not in manifest.metrics:
        raise RegistryError(
            f"{manifest.version} has no metric {name!r}; it has {', '.join(manifest.metrics)}"
        )
    actual = manifest.metrics[name]["value"]
    return Criterion(name=name, threshold=least, actual=actual, passed=actual >= least)


def _summary(
    verdict: Verdict, manifest: Manifest, champion: str, criteria: tuple[Criterion, ...]
) -> str:
    if verdict == "held":
        reason = manifest.gate.get("reason", "it was not promoted")
        return f"{manifest.version} is held, champion {champion} stays: {reason}"
    broken = [
        f"{one.name} is {_figure(one.actual)}, asked for is {_figure(one.threshold)}"
        for one in criteria
        if not one.passed
    ]
    if broken:
        return f"champion {champion} must not be deployed: {'; '.join(broken)}"
    found = manifest.metrics.get("average_precision")
    figures = (
        f", out-of-time average precision {found['value']:.3f} "
        f"({found['low']:.3f} to {found['high']:.3f})"
        if found
        else ""
    )
    return f"champion {champion} may be deployed{figures}"


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
