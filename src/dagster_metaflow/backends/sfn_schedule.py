"""The rule of EventBridge by which a deployed flow starts by itself.

Metaflow's `create` switches it off where the flow says no time, as it does where a variable that
says it is set in the shell of whoever deployed the schedule, and not here. That it was on is noted
in a tag of the state machine before, with the code that is deployed: when a deployment is killed
in between, the next launch switches it on again, and one of another host that looks in between
knows that it is to be on.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from dagster_metaflow.backends.aws_api import Aws, said
from dagster_metaflow.backends.sfn_mark import is_made_of

SCHEDULE_TAG = "dagster_metaflow/schedule"

_SETTLED = "settled"
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Schedule:
    """Of the state machine of that address. tags: of the machine, as it was looked at; None when it
    is not there."""

    aws: Aws
    arn: str
    tags: Mapping[str, str] | None

    def mend(self, definition: str) -> None:
        """Brings a deployment to its end that was killed. definition: that is deployed, which is
        another one when somebody has settled the schedule since. Raises LaunchError."""
        if (code := self._noted) != _SETTLED:
            with said("to switch the flow's schedule on again"):
                if is_made_of(self.aws, definition, code):
                    self._switch_on()
                    self._note(_SETTLED)

    @contextmanager
    def kept(self, code: str) -> Iterator[None]:
        """On if it is on, whatever `create` does meanwhile. code: that is deployed. Raises
        LaunchError."""
        with said("to look at the flow's schedule"):
            # Once more, as another deployment may come to its end between the first two.
            on = self._is_on() or self._is_off_for_now() or self._is_on()
            if on or self._noted != _SETTLED:
                self._note(code if on else _SETTLED)
        try:
            yield
        finally:
            if on:
                with said("to leave the flow's schedule on"):
                    self._switch_on()
                    if self._noted_now() == code:  # else another deployment goes on
                        self._note(_SETTLED)

    @property
    def _noted(self) -> str:
        return (self.tags or {}).get(SCHEDULE_TAG, _SETTLED)

    def _noted_now(self) -> str:
        if self.tags is None:
            return _SETTLED
        return self.aws.machine_tags(self.arn).get(SCHEDULE_TAG, _SETTLED)

    def _is_off_for_now(self) -> bool:
        """By a deployment of another host, which will switch it on again, or was killed."""
        if (code := self._noted_now()) == _SETTLED:
            return False
        found = self.aws.client("stepfunctions").describe_state_machine(stateMachineArn=self.arn)
        return is_made_of(self.aws, found["definition"], code)

    def _note(self, value: str) -> None:
        if self.tags is not None:
            tag = {"key": SCHEDULE_TAG, "value": value}
            self.aws.client("stepfunctions").tag_resource(resourceArn=self.arn, tags=[tag])

    def _switch_on(self) -> None:
        if not self._is_on():
            self.aws.client("events").enable_rule(Name=self._rule)

    def _is_on(self) -> bool:
        client = self.aws.client("events")
        try:
            return bool(client.describe_rule(Name=self._rule)["State"] == "ENABLED")
        except client.exceptions.ResourceNotFoundException:
            return False

    @property
    def _rule(self) -> str:
        """As Metaflow names it."""
        machine = self.arn.rpartition(":")[2]
        if len(machine) <= _LONGEST_NAME:
            return machine
        digest = hashlib.sha1(machine.encode(), usedforsecurity=False).digest()
        return f"{machine[:47]}-{base64.b32encode(digest).decode()[:16].lower()}"
