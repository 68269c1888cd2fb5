"""Requests share batches, wait no longer than allowed, and don't fail each other."""

import asyncio
import threading

import pytest

from imder.serve import ServeConfig
from imder.serve.batcher import Batcher
from imder.serve.errors import Refusal
from imder.serve.features import FeatureSample


def samples(*names):
    return [FeatureSample(name, {}) for name in names]


def echo(batch):
    return [{"id": sample.id} for sample in batch]


def run(scenario, predict=echo, **settings):
    """What a scenario, called with a batcher, returns, and the sizes of batches."""
    sizes = []

    async def main():
        batcher = Batcher(predict, ServeConfig(**settings), sizes.append)
        try:
            return await scenario(batcher)
        finally:
            await batcher.close()

    return asyncio.run(main()), sizes


def test_requests_that_wait_share_a_batch():
    async def scenario(batcher):
        work = [asyncio.ensure_future(batcher.predict(samples(f"{i}a", f"{i}b"))) for i in range(4)]
        await asyncio.sleep(0)
        assert batcher.queued == 8
        batcher.start()
        return await asyncio.gather(*work)

    answers, sizes = run(scenario, batch_size=4, batch_wait=60)
    assert [[row["id"] for row in rows] for rows in answers] == [[f"{i}a", f"{i}b"] for i in range(4)]
    assert sizes == [4, 4]


def test_workers_share_what_waits_and_compute_at_once():
    meet = threading.Barrier(2, timeout=60)

    def predict(batch):
        meet.wait()  # returns only while both workers compute
        return echo(batch)

    async def scenario(batcher):
        work = [asyncio.ensure_future(batcher.predict(samples(name))) for name in "abcd"]
        await asyncio.sleep(0)
        batcher.start()
        return await asyncio.gather(*work)

    answers, sizes = run(scenario, predict, workers=2, batch_wait=0)
    assert [rows[0]["id"] for rows in answers] == [*"abcd"]
    assert sizes == [2, 2]


def test_a_lone_request_does_not_wait_for_company_for_ever():
    async def scenario(batcher):
        batcher.start()
        return await batcher.predict(samples("a"))

    assert run(scenario, batch_wait=0.001) == ([{"id": "a"}], [1])


def test_a_request_that_fails_fails_alone_and_each_sample_counts_once():
    def predict(batch):
        if any(sample.id == "bad" for sample in batch):
            raise ValueError("bad")
        return echo(batch)

    async def scenario(batcher):
        names = ("a", "bad", "b")
        work = [asyncio.ensure_future(batcher.predict(samples(name))) for name in names]
        await asyncio.sleep(0)
        batcher.start()
        return await asyncio.gather(*work, return_exceptions=True)

    answers, sizes = run(scenario, predict, batch_wait=0)
    assert sizes == [1, 1, 1]
    assert answers[0] == [{"id": "a"}]
    assert isinstance(answers[1], ValueError)
    assert answers[2] == [{"id": "b"}]


def test_the_end_cancels_what_is_being_computed():
    computing, go_on = threading.Event(), threading.Event()

    def predict(batch):
        computing.set()
        go_on.wait(60)
        return echo(batch)

    async def scenario(batcher):
        batcher.start()
        request = asyncio.ensure_future(batcher.predict(samples("a")))
        await asyncio.to_thread(computing.wait, 60)
        await batcher.close()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await request

    run(scenario, predict, batch_wait=0)


def test_a_full_queue_refuses_at_once_and_forgets_who_has_left():
    async def scenario(batcher):
        waiting = asyncio.ensure_future(batcher.predict(samples("a", "b")))
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refusal:
            await batcher.predict(samples("c"))
        assert (refusal.value.status, refusal.value.headers) == (429, {"Retry-After": "1"})
        waiting.cancel()
        batcher.start()
        await asyncio.sleep(0)
        while batcher.queued:
            await asyncio.sleep(0)
        return await batcher.predict(samples("d"))

    answer, sizes = run(scenario, queue=2, batch_wait=0)
    assert answer == [{"id": "d"}]
    assert sizes == [1]
