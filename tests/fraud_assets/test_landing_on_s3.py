"""Files land in a bucket, and the records of the landing sensor lie in another one."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator

import pytest
import requests
from assets_kit import LANDED, Place, asked, rows

from fraud_assets.sensors import landing
from fraud_assets.sensors.landing_failing import unmarked
from fraud_assets.stores import Stores

SENSOR = "landing_sensor"
KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """A server of S3's protocol on this machine; lands a file in its bucket."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
            monkeypatch.setenv(name, value)
        requests.post(f"{endpoint}/moto-api/reset", timeout=10).raise_for_status()
        S3FileSystem.clear_instance_cache()
        store = S3FileSystem()
        for name in ("insurer", "lake"):
            store.mkdir(name)
        yield lambda name, text: store.pipe_file(f"insurer/claims/{name}", text.encode())
    finally:
        S3FileSystem.clear_instance_cache()
        server.stop()


@pytest.fixture
def place(bucket: Callable[[str, str], None], make_place: Callable[..., Place]) -> Place:
    made = make_place(LANDED.replace("landing/*.csv", "s3://insurer/claims/*.csv"))
    made.stores = Stores(lakehouse_uri="s3://lake")
    return made


def test_objects_are_ingested_once_and_a_replaced_one_again(
    place: Place, bucket: Callable[[str, str], None]
) -> None:
    bucket("a.csv", rows("2024-01-31", "2024-02-01"))
    bucket("broken.csv", "claim,day\nc1,2024-01-05\n")
    first = place.tick(SENSOR)
    assert asked(first) == ["2024-01..2024-02"]
    assert [record.path for record in place.aside()] == ["insurer/claims/broken.csv"]
    again = place.tick(SENSOR, first.cursor)
    assert asked(again) == []
    bucket("a.csv", rows("2024-01-31", "2024-02-01"))
    again = place.tick(SENSOR, again.cursor)
    assert asked(again) == [], "written again, and the same"

    bucket("a.csv", rows("2024-05-31", "2024-06-01"))
    bucket("broken.csv", rows("2024-09-05", start=9))
    assert asked(place.tick(SENSOR, again.cursor)) == ["2024-01..2024-02", "2024-05..2024-06",
                                                       "2024-09"]  # fmt: skip
    assert place.aside() == []


def test_a_tick_lists_the_bucket_once(
    place: Place, bucket: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        bucket(f"{number}.csv", rows("2024-01-31", start=number))
    first = place.tick(SENSOR)
    caplog.set_level(logging.INFO, "werkzeug")
    caplog.clear()
    assert asked(place.tick(SENSOR, first.cursor)) == []
    (request,) = [line for line in caplog.messages if "/insurer" in line]
    assert "list-type=2" in request


def test_a_bucket_that_is_silent_is_a_skipped_tick_in_time(
    place: Place, bucket: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket("a.csv", rows("2024-01-31"))
    first = place.tick(SENSOR)
    monkeypatch.setattr(landing, "LIST_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        skipped = place.tick(SENSOR, first.cursor)
    said = "s3://insurer/claims/*.csv: cannot be listed: no answer in 0.3 s"
    assert skipped.skip_message == said
    assert unmarked(skipped.cursor) == first.cursor, "nothing that was seen is forgotten"


def test_a_bucket_that_is_not_there_is_said_in_words(place: Place) -> None:
    contract = LANDED.replace("landing/*.csv", "s3://nobody/claims/")
    place.contracts = [contract]
    assert "s3://nobody/claims/" in place.tick(SENSOR).skip_message
