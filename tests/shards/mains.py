"""What the tests run in shards: at the top level of a module, where processes find it."""

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from pathlib import Path

import uringtrio
from uringtrio import current_shard, lowlevel


async def describe(*args):
    shard = current_shard()
    driver = lowlevel.current_statistics().io_statistics.driver
    in_thread = await uringtrio.to_thread.run_sync(lambda: current_shard().index)
    assert in_thread == shard.index
    return {
        "index": shard.index,
        "count": shard.count,
        "kind": shard.kind,
        "cpus": shard.cpus,
        "affinity": os.sched_getaffinity(0),
        "grace_seconds": shard.grace_seconds,
        "pid": os.getpid(),
        "thread": threading.current_thread().name,
        "driver": driver,
        "args": args,
    }


async def return_index():
    return current_shard().index


class MainError(Exception):
    pass


class UnpicklableError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


async def fail_in_last(directory, error=None):
    """Raise in the last shard; the others note that they were cancelled, and clean up."""
    shard = current_shard()
    if shard.index == shard.count - 1:
        await wait_for_files(directory, shard.count - 1, "started")
        raise error or MainError(f"of shard {shard.index}")
    try:
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(uringtrio.sleep_forever)
            note(directory, "started")
    finally:
        note(directory, "cleaned")


def note(directory, what):
    (Path(directory) / f"{what}{current_shard().index}").write_text(str(os.getpid()))


async def wait_for_files(directory, count, what):
    while len(list(Path(directory).glob(f"{what}*"))) < count:
        await uringtrio.sleep(0.005)


async def fail_everywhere():
    raise MainError(f"of shard {current_shard().index}")


async def fail_with_group():
    async with uringtrio.open_nursery():
        raise MainError("inner")


async def fail_unpicklably():
    raise UnpicklableError("one", "two")


async def exit_program():
    raise SystemExit(3)


async def return_lambda():
    return lambda: None


async def exit_at_once():
    os._exit(7)


async def end_by_signal(signum, directory):
    if current_shard().index == 0:
        await wait_for_files(directory, 1, "started")
        os.kill(os.getpid(), signum)
    note(directory, "started")
    try:
        await uringtrio.sleep_forever()
    finally:
        note(directory, "cleaned")


async def signal_program(signum, directory):
    """Signal the process of the supervisor from shard 0, once the others run."""
    shard = current_shard()
    note(directory, "started")
    if shard.index == 0:
        await wait_for_files(directory, shard.count, "started")
        os.kill(os.getpid() if shard.kind == "thread" else os.getppid(), signum)
    try:
        await uringtrio.sleep_forever()
    finally:
        note(directory, "cleaned")


async def signal_and_return(signum):
    shard = current_shard()
    os.kill(os.getpid() if shard.kind == "thread" else os.getppid(), signum)
    await uringtrio.sleep(0.05)
    return shard.index


async def fail_when_interrupted(directory):
    try:
        await signal_program(signal.SIGINT, directory)
    finally:
        if current_shard().index == 1:
            raise MainError("while cleaning")


async def ignore_cancel(seconds):
    if current_shard().index == 1:
        raise MainError("stop")
    # Short, for a thread cannot be killed: it must end by itself some time.
    with uringtrio.CancelScope(shield=True):
        await uringtrio.sleep(seconds)


async def call_run_sharded():
    try:
        await uringtrio.to_thread.run_sync(
            lambda: uringtrio.run_sharded(return_index, shards=1, kind=current_shard().kind)
        )
    except RuntimeError as exc:
        return str(exc)


async def echo_once(listeners):
    """Answer one connection, and no other."""
    async with await listeners[0].accept() as stream:
        async for chunk in stream:
            await stream.send_all(chunk)
    await listeners[0].aclose()
    return current_shard().index


async def listen_on(port):
    """Listen on a port, together with all other shards."""
    listeners = await uringtrio.open_tcp_listeners(port, host="127.0.0.1")
    for listener in listeners:
        await listener.aclose()
    return len(listeners)


async def say(stream, words):
    await stream.send_all(b"%d:%b" % (current_shard().index, words))
    await stream.aclose()


async def drain(directory, address_file):
    """Serve; what has been asked is answered even when the shard is cancelled meanwhile."""

    async def answer(stream):
        while await stream.receive_some():
            with uringtrio.CancelScope(shield=True):
                note(directory, "asked")
                await wait_for_files(directory, 1, "cancelled")
                await stream.send_all(b"answer")

    listeners = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
    try:
        async with uringtrio.open_nursery() as nursery:
            await nursery.start(uringtrio.serve_listeners, answer, listeners)
            Path(address_file).write_text(str(listeners[0].socket.getsockname()[1]))
            try:
                await uringtrio.sleep_forever()
            finally:
                note(directory, "cancelled")
    finally:
        note(directory, "drained")


class FailsToLoad:
    def __reduce__(self):
        return (fail_to_load, ())


def fail_to_load():
    raise MainError("not here")


class FailsToPickle:
    def __reduce__(self):
        raise MainError("never")


async def take(_thing):
    return None


async def return_big(size):
    return bytes(size)


async def fork_a_child_that_stays(seconds):
    """Return although a forked child keeps every descriptor of this process open."""
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
    return "done"


async def fail_after_drain(directory, address_file):
    """Serve in shard 0 as `drain` does, and fail in shard 1 once there is a request."""
    if current_shard().index == 0:
        await drain(directory, address_file)
    await wait_for_files(directory, 1, "asked")
    raise MainError("stop")


async def pass_on(send, receive, count):
    """Even shards send, odd ones receive; each returns what it has sent or received."""
    index = current_shard().index
    values = []
    if index % 2 == 0:
        receive.close()
        with send:
            for number in range(count):
                await send.send((index, number))
                values.append((index, number))
    else:
        send.close()
        with receive:
            values += [value async for value in receive]
    return values


async def receive_until_killed(directory, send, receive, count):
    """Shard 0 sends, 1 is killed in the middle, 2 goes on alone; all write down what they did.

    At least `count` numbers are sent, and as many more as it takes until shard 1 got one to die of.
    """
    index = current_shard().index
    dying = Path(directory) / "dying"
    # The death of a shard cancels the others, which this test wants to go on.
    with uringtrio.CancelScope(shield=True):
        with (Path(directory) / f"log{index}").open("w") as log:
            if index == 0:
                receive.close()
                with send:
                    for number in itertools.count():
                        if number >= count and dying.exists():
                            return
                        await send.send(number)
                        log.write(f"{number}\n")
            send.close()
            with receive:
                async for number in receive:
                    log.write(f"{number}\n")
                    if index == 1:
                        log.flush()
                        if number >= count // 4:
                            dying.touch()
                            os.kill(os.getpid(), signal.SIGKILL)


async def outlive_senders(directory, send, receive):
    """Shard 0 is killed with the only send handle; shard 1 sees the end."""
    if current_shard().index == 0:
        await send.send("last words")
        os.kill(os.getpid(), signal.SIGKILL)
    send.close()
    with uringtrio.CancelScope(shield=True), uringtrio.fail_after(30):
        values = [value async for value in receive]
        receive.close()
    (Path(directory) / "got").write_text(repr(values))


async def outlive_receivers(directory, send, receive):
    """Shard 0 is killed with the only receive handle; shard 1 sees that."""
    if current_shard().index == 0:
        await receive.receive()
        os.kill(os.getpid(), signal.SIGKILL)
    receive.close()
    with uringtrio.CancelScope(shield=True), uringtrio.fail_after(30):
        try:
            while True:
                await send.send("hello")
        except uringtrio.BrokenResourceError:
            (Path(directory) / "got").write_text("broken")
    send.close()


async def die_with_the_lock(directory, send, receive):
    """Shard 0 is killed while it has locked the buffer; shard 1 goes on."""
    if current_shard().index == 0:
        with send._buffer:
            note(directory, "locked")
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
    with uringtrio.CancelScope(shield=True):
        await wait_for_files(directory, 1, "locked")
        await send.send("hello")
        (Path(directory) / "got").write_text(await receive.receive())
    send.close()
    receive.close()


async def close_all(*channels):
    for channel in channels:
        channel.close()


async def count_sockets(sockets):
    distinct = {sock.fileno() for sock in sockets}
    for sock in sockets:
        sock.close()
    return len(distinct)


# The mesh.


async def send_to_all(values):
    """Send to every shard, this one too; return what came from each, in order."""
    shard = current_shard()
    got = {source: [] for source in range(shard.count)}

    async def collect():
        async for source, value in shard:
            got[source].append(value)
            if sum(map(len, got.values())) == shard.count * len(values):
                return

    async def send(index):
        for value in values:
            await shard.send(index, value)

    async with uringtrio.open_nursery() as nursery:
        nursery.start_soon(collect)
        for index in range(shard.count):
            nursery.start_soon(send, index)
    return got


async def accept_for_others(listener, count):
    """Shard 0 accepts and hands the connections over in turn; the others answer."""
    shard = current_shard()
    answered = 0
    if shard.index == 0:
        for number in range(count):
            stream = await listener.accept()
            await shard.send(1 + number % (shard.count - 1), stream)
            # It is the other shard's now.
            assert stream.socket.fileno() == -1
    else:
        async for source, stream in shard:
            assert source == 0
            async with stream:
                await stream.send_all(b"%d" % shard.index)
            answered += 1
            if answered == count // (shard.count - 1):
                break
    await listener.aclose()
    return answered


async def wait_for_calls(directory):
    """Every shard starts a task on the next one, which says where it runs."""
    shard = current_shard()
    await shard.start_soon_on((shard.index + 1) % shard.count, say_where, directory, shard.index)
    await wait_for_files(directory, shard.count, "called")


async def say_where(directory, caller):
    note(directory, f"called-by-{caller}-in-")


async def call_a_failure():
    shard = current_shard()
    if shard.index == 0:
        await shard.start_soon_on(1, fail_everywhere)
    await uringtrio.sleep_forever()


async def leave_a_task(directory):
    """A task that another shard has started ends with the main function."""
    shard = current_shard()
    if shard.index == 0:
        await shard.start_soon_on(1, be_cancelled, directory)
    await wait_for_files(directory, 1, "runs")


async def be_cancelled(directory):
    note(directory, "runs")
    try:
        await uringtrio.sleep_forever()
    finally:
        note(directory, "cleaned")


async def send_to_one_that_has_ended():
    shard = current_shard()
    if shard.index == 1:
        return None
    with uringtrio.fail_after(30):
        try:
            while True:
                await shard.send(1, "hello")
        except uringtrio.BrokenResourceError as exc:
            return str(exc)


async def misuse():
    shard = current_shard()
    messages = []
    for call in (
        lambda: shard.send(shard.count, 1),
        lambda: shard.send(-1, 1),
        lambda: shard.start_soon_on(0, None),
        lambda: shard.send(0, lambda: None) if shard.kind == "process" else shard.send(9, 1),
    ):
        try:
            await call()
        except (IndexError, TypeError) as exc:
            messages.append(str(exc))
    return messages


async def cancel_sends():
    """Shard 0 sends with deadlines; shard 1 says what it has got."""
    shard = current_shard()
    sent = []
    if shard.index == 0:
        for number in range(400):
            # Every third is over before it begins; the others may or may not have to wait.
            with uringtrio.move_on_after(0 if number % 3 == 0 else 0.001) as scope:
                await shard.send(1, number)
            if not scope.cancelled_caught:
                sent.append(number)
        await shard.send(1, None)
        return sent
    async for _source, number in shard:
        if number is None:
            break
        sent.append(number)
        await uringtrio.sleep(0.0005)
    return sent


async def pass_on_with_cancellation(directory, send, receive, count):
    """Even shards send, odd ones receive, all with deadlines; the last one is killed midway."""
    shard = current_shard()
    chance = random.Random(shard.index)
    # The death of a shard cancels the others, which are to go on.
    with uringtrio.CancelScope(shield=True):
        note(directory, "ready")
        await wait_for_files(directory, shard.count, "ready")
        with (Path(directory) / f"log{shard.index}").open("w") as log:
            if shard.index % 2 == 0:
                receive.close()
                with send:
                    for number in range(count):
                        await send_in_the_end(send, shard.index * count + number, chance)
                return
            send.close()
            with receive, contextlib.suppress(uringtrio.EndOfChannel):
                for received in itertools.count():
                    if received == count // 3 and shard.index != shard.count - 1:
                        # So that something is left for the one that is to die of it.
                        await wait_for_files(directory, 1, "dying")
                    value = await receive_in_the_end(receive, chance)
                    log.write(f"{value}\n")
                    if shard.index == shard.count - 1:
                        log.flush()
                        # Early: how many each of the receivers gets is for nobody to say.
                        if received == count // 100:
                            note(directory, "dying")
                            os.kill(os.getpid(), signal.SIGKILL)


def some_patience(chance):
    return uringtrio.move_on_after(chance.random() * chance.choice((1e-5, 1e-3, 1)))


async def send_in_the_end(send, value, chance):
    while True:
        with some_patience(chance) as scope:
            await send.send(value)
        if not scope.cancelled_caught:
            return


async def receive_in_the_end(receive, chance):
    while True:
        with some_patience(chance):
            return await receive.receive()


async def close_values(channels):
    for channel in channels.values():
        channel.close()
