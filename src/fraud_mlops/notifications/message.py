"""One message, and its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

Status = Literal["failed", "aborted", "unstable", "warning", "succeeded", "recovered"]
BAD: tuple[Status, ...] = ("failed", "aborted", "unstable", "warning")
_REASON_LENGTH = 1500


class Notification(BaseModel):
    """key: of the problem; what has the same key is the same problem told again,
    and the end of `key` is that of `key#part` too.

    what: the thing, such as `ingest_job` or `fraud-mlops main #17`. since: when it began; filled in
    from earlier messages with that key when left out. changed_by: who last changed it, and how.
    next_command: what to run or do now. facts: anything else worth a line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    status: Status
    what: str
    step: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = None
    changed_by: str | None = None
    link: str | None = None
    next_command: str | None = None
    facts: Mapping[str, str] = {}

    @property
    def bad(self) -> bool:
        return self.status in BAD

    @property
    def if_any(self) -> bool:
        """The end of a problem, if there was one: who tells does not know of any."""
        return self.status == "recovered" and self.since is None

    @property
    def title(self) -> str:
        """`ingest_job failed in raw_zone`."""
        verb = {"unstable": "is unstable", "warning": "needs a look", "aborted": "was aborted"}
        where = f" in {self.step}" if self.step and self.bad else ""
        return f"{self.what} {verb.get(self.status, self.status)}{where}"

    @property
    def body(self) -> str:
        """A line a thing, plain text: chat rooms and mail programs find the links themselves."""
        known = [
            ("Reason", self.reason and _short(self.reason)),
            ("Step", self.step),
            ("Since", self.since and f"{self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"),
            ("Last change", self.changed_by),
            ("Link", self.link),
            ("Next", self.next_command),
        ]
        lines = [f"{name}: {text}" for name, text in known if text]
        named = {text for _, text in known}
        lines += [f"{name}: {text}" for name, text in self.facts.items() if text not in named]
        return "\n".join(lines)

    def masked(self, mask: Callable[[str], str]) -> Notification:
        """Every text of it without what must not be shown."""
        texts = ("what", "step", "reason", "changed_by", "link", "next_command")
        update: dict[str, object] = {
            name: mask(text) for name in texts if (text := getattr(self, name))
        }
        update["facts"] = {name: mask(text) for name, text in self.facts.items()}
        return self.model_copy(update=update)

    def begun(self, since: datetime) -> Notification:
        return self if self.since else self.model_copy(update={"since": since})


def _short(text: str) -> str:
    """The beginning says what failed, the end what it said at last."""
    text = text.strip()
    if len(text) <= _REASON_LENGTH:
        return text
    half = _REASON_LENGTH // 2
    return f"{text[:half]}\n...\n{text[-half:]}"
