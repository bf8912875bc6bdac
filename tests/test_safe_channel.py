"""Async generators behind channels: lockstep, prompt closing, and whose exception comes out."""

import pytest

import uringtrio


@pytest.fixture
def generate(record):
    """A function whose channel has one object; it says when the generator is closed."""

    @uringtrio.as_safe_channel
    async def generate():
        try:
            yield 1
        finally:
            record("closed")

    return generate


def test_values_come_in_order_and_end(run):
    @uringtrio.as_safe_channel
    async def count(stop):
        for i in range(stop):
            yield i

    async def main():
        async with count(3) as channel:
            return [i async for i in channel]

    assert run(main) == [0, 1, 2]


def test_generator_does_not_run_ahead(run, settle, record):
    @uringtrio.as_safe_channel
    async def generate():
        record("first")
        yield 1
        record("second")
        yield 2

    async def main():
        async with generate() as channel:
            await settle()
            assert record.events == []
            assert await channel.receive() == 1
            await settle()
        assert record.events == ["first"]

    run(main)


def test_leaving_the_block_closes_the_generator_before_it_goes_on(run, generate, record):
    async def main():
        async with generate() as channel:
            await channel.receive()
        record("left")

    run(main)

    assert record.events == ["closed", "left"]


def test_exception_of_the_generator_comes_out_by_itself(run):
    @uringtrio.as_safe_channel
    async def generate():
        yield 1
        raise LookupError("why")

    async def main():
        async with generate() as channel:
            async for _ in channel:
                pass

    with pytest.raises(LookupError, match="why"):
        run(main)


def test_exceptions_of_both_come_out_in_a_group(run):
    @uringtrio.as_safe_channel
    async def generate():
        try:
            yield 1
        finally:
            raise LookupError

    async def main():
        async with generate() as channel:
            await channel.receive()
            raise KeyError

    with pytest.raises(ExceptionGroup) as caught:
        run(main)

    assert {type(exc) for exc in caught.value.exceptions} == {LookupError, KeyError}


def test_timeout_between_values_stays_inside_the_generator(run, clock):
    @uringtrio.as_safe_channel
    async def generate():
        yield 1
        with uringtrio.move_on_after(1):
            await uringtrio.sleep(5)
        yield 2

    async def main():
        async with generate() as channel:
            return [await channel.receive(), await channel.receive()]

    assert run(main, clock=clock) == [1, 2]


def test_timeout_around_the_block_closes_the_generator(run, clock, generate, record):
    async def main():
        with uringtrio.move_on_after(1) as scope:
            async with generate() as channel:
                await channel.receive()
                await uringtrio.sleep_forever()
        assert scope.cancelled_caught

    run(main, clock=clock)

    assert record.events == ["closed"]


def test_several_tasks_may_receive(run):
    @uringtrio.as_safe_channel
    async def count(stop):
        for i in range(stop):
            yield i

    async def main():
        received = []

        async def receive(channel):
            received.append(await channel.receive())

        async with count(5) as channel, uringtrio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(receive, channel)
        return sorted(received)

    assert run(main) == [0, 1, 2, 3, 4]


def test_closing_the_channel_ends_the_receiver_and_the_generator(run, generate, record):
    async def main():
        async with generate() as channel:
            await channel.receive()
            await channel.aclose()
            with pytest.raises(uringtrio.ClosedResourceError):
                await channel.receive()

    run(main)

    assert record.events == ["closed"]
