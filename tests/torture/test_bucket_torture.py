"""A study whose curves and checkpoints lie in a bucket: killed, and answered 503 for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_program import Program
from fault_proxy import FaultProxy
from torture_program import STEPS, Bits, bits_of, small_study
from witnessed_card import Witness, trained_again, trained_twice_at_once

from sweeper.store.store import Store
from sweeper.study.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def bucket(
    s3_server: tuple[str, int], s3: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    """Yields what stands before the bucket that the environment names for files."""
    proxy = FaultProxy(*s3_server)
    monkeypatch.setenv("SWEEPER_FILES", s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    yield proxy
    proxy.close()


def await_request(proxy: FaultProxy, text: str, count: int) -> None:
    until = time.monotonic() + 90
    while sum(r.method in ("PUT", "POST") and text in r.path for r in proxy.requests) < count:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_run_that_is_killed_goes_on_from_its_checkpoints_in_a_bucket(
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
    witness: Witness,
    bucket: FaultProxy,
    tmp_path: Path,
) -> None:
    study = small_study(4, times=3)
    place = f"sqlite:///{tmp_path}/sweeper.db"
    run = program(study, store=place)
    for begun in (1, 4):
        bucket.requests.clear()
        run.start()
        await_request(bucket, "step-", 2 * begun)
        run.kill()

    run.start()
    # The third start is answered 503 for a while, as soon as it trains.
    bucket.requests.clear()
    await_request(bucket, "step-", 1)
    bucket.busy_for(6.0)
    assert run.wait() == 0, run.said

    assert "waiting for the object store" in run.said
    assert "the object store is back" in run.said
    trained = witness.stretches()
    assert any(part.first > 1 for part in trained), "it went on from a checkpoint"
    assert not trained_twice_at_once(trained)
    assert trained_again(trained, 3 * STEPS) <= 1
    with Store.open(place, create=False) as store:
        assert bits_of(store, study.name) == calm(study)
        assert store.verify().findings == ()
        assert store.prune() == []
        assert not [*store.paths.checkpoint_folders()]
