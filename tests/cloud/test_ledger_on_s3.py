"""Looking for reports on a store that counts each call: rarely, and yet in time."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import pytest
from aws import BUCKET, KEY, LocalAws
from cloud_kit import CloudToy, made
from s3fs import S3FileSystem

from dagster_metaflow.backends.protocol import Handle, LaunchRequest, RunStatus
from dagster_metaflow.testing import ScriptedBackend, ScriptedStep, scripted_resource

QUIET_SECONDS = 6.0


class Quiet(ScriptedBackend):
    """Nothing comes for a while; then an asset, and the run goes on until it is seen."""

    def __init__(self, aws: LocalAws, instance: dg.DagsterInstance) -> None:
        super().__init__([ScriptedStep("start", ["first"]), ScriptedStep("end", ["second"])])
        self.aws, self.instance = aws, instance
        self.held = {"start"}
        self.looks = self.listings = 0
        self.seen_after: float | None = None
        self._begun = time.monotonic()
        self._published: float | None = None

    def launch(self, request: LaunchRequest, handle: Handle) -> Handle:
        self._begun = time.monotonic()
        self.aws.forget_calls()
        return super().launch(request, handle)

    def poll(self, handle: Handle) -> RunStatus:
        self.looks += 1
        if self._published is None and time.monotonic() - self._begun > QUIET_SECONDS:
            self.listings = self.aws.calls(KEY)["s3:GetBucket"]
            self.held, self._published = {"end"}, time.monotonic()
        elif self._published is not None and self.held:
            passed = time.monotonic() - self._published
            if self.instance.get_latest_materialization_event(dg.AssetKey("first")):
                self.seen_after = passed
            if self.seen_after is not None or passed > QUIET_SECONDS:
                self.held = set()
        return super().poll(handle)


def test_it_is_listed_rarely_while_nothing_comes_and_an_asset_appears_within_two_seconds(
    aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    S3FileSystem.clear_instance_cache()  # clients of servers that are gone
    for name, value in aws.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    toy = CloudToy(aws, tmp_path)
    backend = Quiet(aws, toy.instance)
    resource = scripted_resource(backend, f"s3://{BUCKET}/quiet", poll_seconds=0.05)
    result = toy.materialize("scripted", resource)
    toy.instance.dispose()
    S3FileSystem.clear_instance_cache()
    assert made(result) == ["first", "second"]
    assert backend.looks > 20
    # At 0.05 s, and half as long again each time, up to 2 s.
    assert 1 <= backend.listings <= 12
    assert backend.seen_after is not None
    assert backend.seen_after < 3  # of which one is for a machine with much to do
