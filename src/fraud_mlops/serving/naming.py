"""What is meant by the name of a field that a claim does not have."""

from __future__ import annotations

from fraud_mlops.contract import FEATURES, LABEL, LABEL_TIME
from fraud_mlops.serving.request import ClaimReader
from fraud_mlops.words import closest

_LONGEST, _MOST = 64, 8
"""Characters of a name, and names of one request, of which the nearest is looked for: that takes a
millisecond, and a batch may have another name in every line."""


class Names:
    """Of one request. table: of columns, among which those of `features` stand too."""

    def __init__(self, reader: ClaimReader, *, table: bool = False) -> None:
        self._derived = reader.derived
        own = [column.name for column in reader.columns]
        fields = {*own, *reader.derived} if table else set(own)
        self._elsewhere = {n: told for n, told in _elsewhere(reader).items() if n not in fields}
        # Of two that differ in case only, the claim's own field is meant.
        self._known = (*self._elsewhere, *sorted(fields))
        self._near: dict[tuple[str, bool], str] = {}

    def advice(self, name: str, *, inside: bool = False) -> str:
        """What to send instead; empty where that is not known. inside: of a claim's `features`."""
        if not inside and name in self._elsewhere:
            return self._elsewhere[name]
        known = self._near.get((name, inside))
        if known is not None or len(name) > _LONGEST or len(self._near) >= _MOST:
            return known or ""
        near = closest(name, self._derived if inside else self._known)
        return self._near.setdefault((name, inside), self._meant(near, inside) if near else "")

    def _meant(self, near: str, inside: bool) -> str:
        told = "" if inside else self._elsewhere.get(near, "")
        return f"did you mean `{near}`?" + (f" {told[0].upper()}{told[1:]}" if told else "")


def _elsewhere(reader: ClaimReader) -> dict[str, str]:
    """Columns of the source, and what a claim brings in another place."""
    contract, label = reader.contract, reader.contract.label
    unseen = (LABEL, LABEL_TIME, label.column, label.time_column, *contract.ignore)
    told = {name: "no model looks at it: leave it out" for name in unseen if name}
    told |= dict.fromkeys(reader.derived, f"it goes into `{FEATURES}`")
    told |= dict.fromkeys(contract.event_time.columns(), "it is part of `event_time` here")
    for column in set(reader.sources.values()):
        here = [f"`{own}`" for own, source in reader.sources.items() if source == column]
        told[column] = f"it is called {' and '.join(here)} here"
    return told
