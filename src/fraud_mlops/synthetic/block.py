"""One block of claims as arrays: observables, then structure, then what follows from both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fraud_mlops.sources import SyntheticSource
from fraud_mlops.synthetic import fraud
from fraud_mlops.synthetic.columns import CHANNELS
from fraud_mlops.synthetic.draws import (
    LEVELS,
    Bits,
    Floats,
    midpoints,
    normal,
    random_bits,
    shares_table,
)
from fraud_mlops.synthetic.patterns import FollowUps
from fraud_mlops.synthetic.perils import INJURY, PERILS, draw_perils, guide_cost
from fraud_mlops.synthetic.population import Holders, Numbers, Population, describe
from fraud_mlops.synthetic.regimes import REFERENCE_RATE, REGIMES, by_regime, by_regime_and_peril
from fraud_mlops.synthetic.seasons import Calendar, calendar, months, to_seconds
from fraud_mlops.synthetic.structure import Involved, Structure, add_structure

BLOCK_ROWS = 65_536
"""Rows that are made together, from a generator of their own. Changing it changes the claims."""

_YEAR = 31_556_952
_LABEL_DELAY_DAYS, _LABEL_DELAY_SIGMA = 30.0, 0.25
_NEW_POLICY_DAYS = 90
_DEDUCTIBLES = (0.0, 150.0, 300.0, 500.0, 1_000.0)
_FACE_TO_FACE = (CHANNELS.index("agent"), CHANNELS.index("broker"))
_BACKGROUND = 0.006

# Columns of 16 random bits, by what they are spent on.
_DRAWS = (
    *("peril", "channel", "coverage", "police_report", "usage", "second_vehicle"),
    *("policy_age", "is_new", "new_age", "distance", "report_delay", "label_delay"),
    *("guide", "ratio", "is_inflated", "excess", "documents", "deductible"),
)
MISSING = (
    *("vehicle_value", "driver_age", "annual_mileage_km", "report_delay_hours", "distance_km"),
    *("amount_to_guide", "police_report", "usage"),
)
"""Fields that a claim may lack."""


@dataclass(frozen=True)
class Setting:
    """What every block of one source shares."""

    source: SyntheticSource
    population: Population
    calendar: Calendar
    drift_at: int | None

    @classmethod
    def of(cls, source: SyntheticSource) -> Setting:
        drift_at = to_seconds(source.drift_from) if source.drift_from else None
        population = Population.for_claims(source.claims, source.seed)
        return cls(source, population, calendar(source.start, source.end), drift_at)

    @property
    def incidence(self) -> float:
        """Patterns are as much more common as fraud is, up to where they would be the rule."""
        return min(self.source.fraud_rate / REFERENCE_RATE, 6.0)

    @property
    def rows_per_day(self) -> float:
        return self.source.claims / self.calendar.days

    def rows(self, number: int) -> int:
        return min(BLOCK_ROWS, self.source.claims - number * BLOCK_ROWS)

    def generator(self, number: int) -> np.random.Generator:
        sequence = np.random.SeedSequence([self.source.seed, 0, number])
        return np.random.Generator(np.random.SFC64(sequence))


@dataclass(frozen=True)
class Cost:
    amount: NDArray[np.float64]
    to_guide: Floats
    """Amount over the guide cost of such a damage; [rows]."""


@dataclass(frozen=True)
class Block:
    """Claims in order of time; [rows] each, `hazard` [len(KINDS) - 1, rows]."""

    time: NDArray[np.int64]
    label_time: NDArray[np.int64]
    involved: Involved
    vehicle: Numbers
    holders: Holders
    channel: NDArray[np.uint8]
    coverage: NDArray[np.uint8]
    police_report: NDArray[np.uint8]
    usage: NDArray[np.uint8]
    cost: Cost
    documents: Floats
    deductible: Floats
    report_delay: Floats
    missing: NDArray[np.uint8]
    """uint8 [len(MISSING), rows], uniform: a field is missing below its share of 256."""
    duplicates: FollowUps
    hazard: Floats


def make_block(setting: Setting, number: int, rng: np.random.Generator) -> Block:
    """Block `number` of the source: everything but labels."""
    rows = setting.rows(number)
    time = _times(setting, number, rng, rows)
    elapsed = time - setting.calendar.start
    regime = _regimes(setting, time)
    bits = dict(zip(_DRAWS, random_bits(rng, len(_DRAWS), rows), strict=True))
    missing = random_bits(rng, len(MISSING) // 2, rows).view(np.uint8).reshape(len(MISSING), rows)

    involved = _involve(setting, rng, bits, months(time), regime)
    structure = add_structure(
        involved,
        setting.population,
        rng,
        elapsed,
        regime,
        setting.rows_per_day,
        setting.incidence,
    )
    years = (elapsed / _YEAR).astype(np.float32)
    years[structure.duplicates.row] = years[structure.duplicates.source]
    vehicle, vehicle_age = setting.population.vehicles_of(
        involved.policyholder, involved.second_vehicle, years
    )
    holders = describe(setting.population, involved.policyholder, vehicle, vehicle_age)
    cost = _cost(setting, bits, regime, involved, holders, structure.duplicates)
    channel = _channels(regime, bits["channel"])
    documents = _documents().take(bits["documents"])
    return Block(
        time=time,
        label_time=time + _label_delays().take(bits["label_delay"]),
        involved=involved,
        vehicle=vehicle,
        holders=holders,
        channel=channel,
        coverage=shares_table((0.28, 0.30, 0.42)).take(bits["coverage"]),
        police_report=shares_table((0.35, 0.65)).take(bits["police_report"]),
        usage=shares_table((0.55, 0.33, 0.12)).take(bits["usage"]),
        cost=cost,
        documents=documents,
        deductible=_deductibles().take(bits["deductible"]),
        report_delay=_report_delays().take(bits["report_delay"]),
        missing=missing,
        duplicates=structure.duplicates,
        hazard=_hazards(setting, regime, involved, cost, channel, documents, structure),
    )


def _times(setting: Setting, number: int, rng: np.random.Generator, rows: int) -> NDArray[np.int64]:
    """A block owns its share of the claims in order of time, so blocks never overlap in time."""
    quantile = np.sort(rng.random(rows)) * rows
    quantile += number * BLOCK_ROWS
    quantile /= setting.source.claims
    return setting.calendar.times(quantile)


def _regimes(setting: Setting, time: NDArray[np.int64]) -> NDArray[np.uint8]:
    """0 before the drift, 1 from it on."""
    if setting.drift_at is None:
        return np.zeros(len(time), np.uint8)
    return (time >= setting.drift_at).astype(np.uint8)


def _involve(
    setting: Setting,
    rng: np.random.Generator,
    bits: dict[str, Bits],
    month: NDArray[np.uint8],
    regime: NDArray[np.uint8],
) -> Involved:
    population, rows = setting.population, len(month)
    peril = draw_perils(bits["peril"], month)
    policy_age = _policy_ages().take(bits["policy_age"])
    share = np.minimum(by_regime("early_incidence") * setting.incidence, 0.5)
    new = bits["is_new"] < (share * LEVELS).astype(np.uint16).take(regime)
    policy_age[new] = np.floor(bits["new_age"][new] * np.float32(_NEW_POLICY_DAYS / LEVELS))
    return Involved(
        policyholder=population.draw_policyholders(rng, rows),
        second_vehicle=population.draw_second_vehicle(bits["second_vehicle"]),
        provider=population.draw_providers(rng, peril == INJURY),
        agent=population.draw_agents(rng, rows),
        peril=peril,
        distance=_distances().take(bits["distance"]),
        policy_age=policy_age,
    )


def _cost(
    setting: Setting,
    bits: dict[str, Bits],
    regime: NDArray[np.uint8],
    involved: Involved,
    holders: Holders,
    duplicates: FollowUps,
) -> Cost:
    guide = guide_cost(involved.peril, holders.vehicle_value, normal(bits["guide"]))
    guide *= by_regime("price_level").take(regime)
    ratio = np.exp(np.float32(0.15) * normal(bits["ratio"]))
    share = np.minimum(by_regime_and_peril("inflated_incidence") * setting.incidence, 0.9)
    limit = (share * LEVELS).astype(np.uint16).take(_cell(regime, involved.peril))
    inflated = np.flatnonzero(bits["is_inflated"] < limit)
    ratio[inflated] *= 1 + np.exp(np.float32(0.35) * normal(bits["excess"][inflated]) - 0.2)
    for column in (guide, ratio):
        column[duplicates.row] = column[duplicates.source]
    amount = (guide * ratio).astype(np.float64)
    amount[duplicates.row] *= 1 + 0.01 * normal(bits["guide"][duplicates.row]).clip(-2, 2)
    return Cost(np.rint(amount * 100) / 100, ratio)


def _hazards(
    setting: Setting,
    regime: NDArray[np.uint8],
    involved: Involved,
    cost: Cost,
    channel: NDArray[np.uint8],
    documents: Floats,
    structure: Structure,
) -> Floats:
    cell = _cell(regime, involved.peril)
    rings, duplicates = structure.rings, structure.duplicates
    return fraud.hazards(
        fraud.Signals(
            background=_BACKGROUND * setting.incidence,
            amount_to_guide=cost.to_guide,
            documents=documents,
            inflated_strength=by_regime_and_peril("inflated_strength").take(cell),
            policy_age_days=involved.policy_age,
            remote_channel=(channel != _FACE_TO_FACE[0]) & (channel != _FACE_TO_FACE[1]),
            early_strength=by_regime_and_peril("early_strength").take(cell),
            ring_row=rings.row,
            ring_position=rings.position,
            ring_strength=by_regime("ring_strength").take(regime[rings.row]),
            duplicate_row=duplicates.row,
            duplicate_strength=by_regime("duplicate_strength").take(regime[duplicates.row]),
        )
    )


def _cell(regime: NDArray[np.uint8], peril: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return regime * np.uint8(len(PERILS)) + peril


def _channels(regime: NDArray[np.uint8], bits: Bits) -> NDArray[np.uint8]:
    first_after = int(np.searchsorted(regime, 1))
    before, after = (shares_table(r.channel_share) for r in REGIMES)
    return np.concatenate([before.take(bits[:first_after]), after.take(bits[first_after:])])


@lru_cache(maxsize=1)
def _policy_ages() -> Floats:
    """Weibull with shape 1.5, in days: few claims come from policies of the first weeks."""
    return np.floor(1_100 * (-np.log1p(-midpoints())) ** (1 / 1.5)).astype(np.float32)


@lru_cache(maxsize=1)
def _distances() -> Floats:
    return (12 * np.exp(0.8 * _all_normals())).astype(np.float32)


@lru_cache(maxsize=1)
def _report_delays() -> Floats:
    """Hours from damage to report: lognormal, median a day and a half."""
    return (36 * np.exp(1.1 * _all_normals())).astype(np.float32)


@lru_cache(maxsize=1)
def _label_delays() -> NDArray[np.int64]:
    """Seconds from event to label: lognormal about the median."""
    days = _LABEL_DELAY_DAYS * np.exp(_LABEL_DELAY_SIGMA * _all_normals())
    return (days * 86_400).astype(np.int64)


@lru_cache(maxsize=1)
def _documents() -> Floats:
    return shares_table((0.08, 0.20, 0.25, 0.20, 0.14, 0.08, 0.05)).astype(np.float32)


@lru_cache(maxsize=1)
def _deductibles() -> Floats:
    return np.array(_DEDUCTIBLES, np.float32).take(shares_table((0.15, 0.25, 0.30, 0.20, 0.10)))


def _all_normals() -> NDArray[np.float64]:
    return normal(np.arange(LEVELS, dtype=np.uint16)).astype(np.float64)
