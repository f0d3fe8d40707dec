"""Erasure from texts: a dataset's reports, exported cards, and records of bad files.

A person's value may be a word or a number of everybody's, such as 7 or north. So it is masked where
it can be nothing else: as the whole value of a field that is named for the claim id or the entity;
in quotes, or behind such a name and `=`, as messages write it; and as a word where it has letters
and digits both. Numbers are never touched, nor addresses, nor times.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import delete, list_files, read_bytes, write_bytes
from fraud_mlops.maintenance.erased import Erased, one_by_one
from fraud_mlops.maintenance.erasure import Person

_MASK = "***"
_DATA = re.compile(r"([A-Za-z0-9+/]{64,}={0,2})")
"""What is base 64, most likely: a picture, or a card's content."""

_KEPT = frozenset({"uri", "path", "quarantine_uri", "card", "plots", "run", "data_version", "tag"})
"""Fields by which files and runs are found, and that say nothing of who is in them."""

_UNOWNED = "is of a run that has not told which dataset it was of: look at it, and delete it"


class _Marks(NamedTuple):
    """values: the person's. fields: that hold them. told: where a message says one for certain;
    words: those of them that can be nothing else wherever they stand, None without any. claims: by
    their time, as reports show it, without ids."""

    values: frozenset[str]
    fields: frozenset[str]
    told: re.Pattern[str]
    words: re.Pattern[str] | None
    claims: Mapping[str, list[dict[str, Any]]]


def erase_texts(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """Masks them. A card that shows one goes as a whole; Metaflow still has it.

    Reports of other datasets are not looked at. A card beside no report at all may be of any: it is
    told of, and left.
    """
    marks, dataset = _marks(person), person.contract.name

    def erase(uri: str) -> int:
        masked, times = _masked(uri, read_bytes(uri), marks)
        if times and not dry:
            if masked is None:
                delete(uri)
            else:
                write_bytes(uri, masked)
        return times

    own, unowned = _reports(lakehouse, dataset)
    yield from one_by_one("reports", own, erase)
    for found in one_by_one("reports", unowned, lambda uri: _times(uri, marks)):
        yield found._replace(left=found.left or _UNOWNED)
    aside = lakehouse.uri("_landing", dataset, "aside")
    yield from one_by_one("set aside", [f"{aside}/{f.path}" for f in list_files(aside)], erase)


def _reports(lakehouse: Lakehouse, dataset: str) -> tuple[list[str], list[str]]:
    """Of the dataset, and of runs that have no report: a run's are `<dataset>.<asset>.json`."""
    by_run: dict[str, list[str]] = {}
    for file in list_files(lakehouse.uri("_reports")):
        folder, _, name = file.path.rpartition("/")
        by_run.setdefault(folder, []).append(name)
    own, unowned = [], []
    for folder, names in by_run.items():
        reports = [n for n in names if n.endswith(".json") and not n.startswith(".")]
        told = {name.partition(".")[0] for name in reports}
        pages = [name for name in names if name.endswith(".html")]
        place = lakehouse.uri("_reports", folder) if folder else lakehouse.uri("_reports")
        if dataset in told:
            mine = [name for name in reports if name.partition(".")[0] == dataset]
            own += [f"{place}/{name}" for name in (*mine, *pages)]
        elif not told:
            unowned += [f"{place}/{name}" for name in pages]
    return own, unowned


def _marks(person: Person) -> _Marks:
    contract = person.contract
    source = contract.entities[person.entity]
    fields = {CLAIM_ID, person.entity, source, *([contract.claim_id] if contract.claim_id else [])}
    values = [person.value, *person.claim_ids]
    one, names = _any_of(values), _any_of(fields)
    quoted = rf"(?P<quote>['\"`])(?P<quoted>{one})(?P=quote)"
    named = rf"(?P<name>(?<![\w-])(?:{names})\s?=\s?)(?P<named>{one})(?![\w-]|\.\d)"
    sure = [value for value in values if _is_code(value)]
    return _Marks(
        frozenset(values),
        frozenset(fields),
        re.compile(f"{quoted}|{named}"),
        as_words(sure) if sure else None,
        _by_time(person),
    )


def _by_time(person: Person) -> dict[str, list[dict[str, Any]]]:
    shown = [n for n in (EVENT_TIME, *person.shared) if n in person.claims.column_names]
    found: dict[str, list[dict[str, Any]]] = {}
    for claim in person.claims.select(dict.fromkeys(shown)).to_pylist() if shown[1:] else []:
        found.setdefault(claim.pop(EVENT_TIME).isoformat(), []).append(claim)
    return found


def _is_claim(item: Any, marks: _Marks) -> bool:
    """A row of a sample that says the same as a claim, where it is not masked."""
    if not isinstance(item, dict) or not isinstance(item.get(EVENT_TIME), str):
        return False
    return any(
        all(name in item and item[name] in (value, _MASK) for name, value in claim.items())
        for claim in marks.claims.get(item[EVENT_TIME], ())
    )


def _is_code(value: str) -> bool:
    """Letters and digits both, and no number such as 1e5."""
    try:
        float(value)
    except ValueError:
        return bool(re.search(r"\d", value) and re.search(r"[^\W\d_]", value))
    return False


def as_words(values: Sequence[str]) -> re.Pattern[str]:
    """Whole words: `C1` is not in `C12`."""
    return re.compile(rf"(?<![\w-])(?:{_any_of(values)})(?![\w-])")


def _any_of(values: Sequence[str] | set[str]) -> str:
    return "|".join(map(re.escape, sorted(values, key=len, reverse=True)))


def _times(uri: str, marks: _Marks) -> int:
    return _masked(uri, read_bytes(uri), marks)[1]


def _masked(name: str, data: bytes, marks: _Marks) -> tuple[bytes | None, int]:
    """The file without them, and how often they were there; no file where they cannot go."""
    if name.endswith(".json"):
        found, times = _masked_json(json.loads(data), marks)
        return json.dumps(found, indent=1).encode() + b"\n", times
    page = data.decode("utf-8", "replace")
    if times := sum(_shown(text, marks) for text in _encoded(page)):
        return None, times
    if marks.words is None:  # what is not encoded is Metaflow's own page
        return data, 0
    parts = _DATA.split(page)
    masked = [marks.words.subn(_MASK, part) for part in parts]
    kept = [part if i % 2 else masked[i][0] for i, part in enumerate(parts)]
    return "".join(kept).encode(), sum(times for _, times in masked[::2])


def _encoded(page: str) -> Iterator[str]:
    """Texts that a page carries in base 64, as Metaflow's cards do."""
    for blob in _DATA.findall(page):
        try:
            yield base64.b64decode(blob, validate=True).decode()
        except ValueError:
            continue


def _shown(text: str, marks: _Marks) -> int:
    """How often an encoded text shows one: a card's content is JSON."""
    try:
        content = json.loads(text)
    except ValueError:
        return len(marks.words.findall(text)) if marks.words else 0
    return _masked_json(content, marks)[1]


def _masked_json(value: Any, marks: _Marks, field: str = "") -> tuple[Any, int]:
    if isinstance(value, str):
        if field in marks.fields and value in marks.values:
            return _MASK, 1
        return _masked_text(value, marks)
    if isinstance(value, list):
        others = [item for item in value if not _is_claim(item, marks)]
        masked = [_masked_json(item, marks, field) for item in others]
        gone = len(value) - len(others)
        return [item for item, _ in masked], gone + sum(times for _, times in masked)
    if isinstance(value, dict):
        found = {k: (v, 0) if k in _KEPT else _masked_json(v, marks, k) for k, v in value.items()}
        return {k: item for k, (item, _) in found.items()}, sum(t for _, t in found.values())
    return value, 0


def _masked_text(text: str, marks: _Marks) -> tuple[str, int]:
    def mask(found: re.Match[str]) -> str:
        if found["quoted"] is not None:
            return f"{found['quote']}{_MASK}{found['quote']}"
        return f"{found['name']}{_MASK}"

    text, told = marks.told.subn(mask, text)
    text, words = marks.words.subn(_MASK, text) if marks.words else (text, 0)
    return text, told + words
