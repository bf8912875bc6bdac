"""What is wrong is refused where it was written, in words that name object, cause and remedy."""

import asyncio
import errno
import functools
import socket as stdlib
import threading

import pytest

import uringtrio
from uringtrio import lowlevel, socket

# Outside of a run.

SYNC_CALLS = {
    "current_time": uringtrio.current_time,
    "current_effective_deadline": uringtrio.current_effective_deadline,
    "current_task": lowlevel.current_task,
    "current_root_task": lowlevel.current_root_task,
    "current_clock": lowlevel.current_clock,
    "current_statistics": lowlevel.current_statistics,
    "current_trio_token": lowlevel.current_trio_token,
    "spawn_system_task": lambda: lowlevel.spawn_system_task(uringtrio.sleep_forever),
    "open_nursery": uringtrio.open_nursery,
    "CancelScope": lambda: uringtrio.CancelScope().__enter__(),
}


@pytest.mark.parametrize("name", SYNC_CALLS)
def test_call_outside_of_a_run_names_the_call_and_the_way_in(name):
    with pytest.raises(RuntimeError, match="must be called from async context") as caught:
        SYNC_CALLS[name]()

    assert name in str(caught.value)
    assert "uringtrio.run()" in str(caught.value)


def waits():
    """Return calls that wait, made outside of a run."""
    send, receive = uringtrio.open_memory_channel(1)
    event = uringtrio.Event()
    return {
        "sleep": lambda: uringtrio.sleep(1),
        "sleep nothing": lambda: uringtrio.sleep(0),
        "sleep_until": lambda: uringtrio.sleep_until(0),
        "sleep_forever": uringtrio.sleep_forever,
        "checkpoint": lowlevel.checkpoint,
        "checkpoint_if_cancelled": lowlevel.checkpoint_if_cancelled,
        "cancel_shielded_checkpoint": lowlevel.cancel_shielded_checkpoint,
        "wait_task_rescheduled": lambda: lowlevel.wait_task_rescheduled(lambda _: None),
        "Event.wait": event.wait,
        "send": lambda: send.send(1),
        "receive": receive.receive,
        "getaddrinfo": lambda: socket.getaddrinfo("127.0.0.1", 80),
        "open_tcp_stream": lambda: uringtrio.open_tcp_stream("127.0.0.1", 80),
        "open_tcp_listeners": lambda: uringtrio.open_tcp_listeners(0),
        "serve_listeners": lambda: uringtrio.serve_listeners(uringtrio.sleep, []),
    }


@pytest.mark.parametrize("name", waits())
def test_wait_under_another_loop_says_where_it_belongs(name):
    with pytest.raises(RuntimeError, match="must be called from async context"):
        asyncio.run(waits()[name]())


def socket_waits(sock):
    return {
        "recv": lambda: sock.recv(1),
        "recv_into": lambda: sock.recv_into(bytearray(1)),
        "recvfrom": lambda: sock.recvfrom(1),
        "recvmsg": lambda: sock.recvmsg(1),
        "send": lambda: sock.send(b"x"),
        "sendmsg": lambda: sock.sendmsg([b"x"]),
        "accept": lambda: sock.accept(),  # noqa: PLW0108  # there is none while names are listed
        "connect": lambda: sock.connect(("127.0.0.1", 9)),
        "bind": lambda: sock.bind(("127.0.0.1", 0)),
        "receive_some": lambda: uringtrio.SocketStream(sock).receive_some(1),
        "send_all": lambda: uringtrio.SocketStream(sock).send_all(b"x"),
        "aclose": lambda: uringtrio.SocketStream(sock).aclose(),
    }


@pytest.mark.parametrize("name", socket_waits(None))
def test_socket_under_another_loop_says_where_it_belongs(name):
    with socket.socket() as sock:
        with pytest.raises(RuntimeError, match="must be called from async context"):
            asyncio.run(socket_waits(sock)[name]())


def test_call_in_another_thread_says_where_it_belongs():
    refused = []

    def elsewhere():
        with pytest.raises(RuntimeError, match="in the same thread"):
            uringtrio.current_time()
        refused.append(True)

    async def main():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(10)

    uringtrio.run(main)

    assert refused


# What is to be run.


async def good(*_args):
    pass


def sync_function():
    return 7


async def generator():
    yield


START = {
    "run": uringtrio.run,
    "start_soon": lambda fn, *args: started_by("start_soon", fn, *args),
    "start": lambda fn, *args: started_by("start", fn, *args),
    "spawn_system_task": lambda fn, *args: started_by("spawn_system_task", fn, *args),
}


def started_by(how, async_fn, *args):
    """Start `async_fn` in a run; raise what the starting call raised, and nothing else."""

    async def main():
        async with uringtrio.open_nursery() as nursery:
            try:
                if how == "spawn_system_task":
                    lowlevel.spawn_system_task(async_fn, *args)
                elif how == "start_soon":
                    nursery.start_soon(async_fn, *args)
                else:
                    await nursery.start(async_fn, *args)
            except TypeError as exc:
                return exc
            raise AssertionError("it was accepted")

    refused = uringtrio.run(main)
    raise refused


@pytest.mark.parametrize("how", START)
def test_coroutine_object_is_refused_with_the_right_call(how):
    """And it is closed: warnings about a coroutine never awaited are errors here."""
    with pytest.raises(TypeError, match="coroutine object") as caught:
        START[how](good(1))

    assert "good" in str(caught.value)
    assert "without the parentheses" in str(caught.value) or "(good, " in str(caught.value)


@pytest.mark.parametrize("how", ["run", "start_soon", "spawn_system_task"])
def test_sync_function_is_refused_and_named(how):
    with pytest.raises(TypeError, match=r"expected an async function.*sync_function") as caught:
        START[how](sync_function)

    assert "async def" in str(caught.value)


@pytest.mark.parametrize("how", ["run", "start_soon", "spawn_system_task"])
def test_async_generator_is_refused_and_explained(how):
    with pytest.raises(TypeError, match=r"async generator.*yield"):
        START[how](generator)


@pytest.mark.parametrize("how", ["run", "start_soon"])
def test_future_of_another_library_is_refused_and_explained(how):
    loop = asyncio.new_event_loop()

    def make_future():
        return loop.create_future()

    try:
        with pytest.raises(TypeError, match="asyncio"):
            START[how](make_future)
    finally:
        loop.close()


@pytest.mark.parametrize("how", START)
@pytest.mark.parametrize("thing", [None, 5, "text", object()], ids=["None", "int", "str", "object"])
def test_what_cannot_be_called_is_refused(how, thing):
    with pytest.raises(TypeError, match="async function") as caught:
        START[how](thing)

    assert repr(thing) in str(caught.value)


def test_wrong_number_of_arguments_is_pythons_own_error():
    async def two(a, b):
        pass

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'b'"):
        uringtrio.run(two, 1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'b'"):
        started_by("start_soon", two, 1)


def test_partial_of_an_async_function_is_fine():
    assert uringtrio.run(functools.partial(good, 1, 2)) is None


def test_nested_run_is_refused():
    async def main():
        with pytest.raises(RuntimeError, match=r"Attempted to call run\(\) from inside a run\(\)"):
            uringtrio.run(good)

    uringtrio.run(main)


# Sockets.


def test_two_receives_at_once_name_the_socket_as_busy(run, settle):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.recv, 1)
                await settle()
                with pytest.raises(uringtrio.BusyResourceError, match="already receiving"):
                    await left.recv(1)
                nursery.cancel_scope.cancel()

    run(main)


def test_closing_during_use_says_who_closed(run, settle):
    async def main():
        left, right = socket.socketpair()

        async def receive():
            with pytest.raises(uringtrio.ClosedResourceError, match="another task closed"):
                await left.recv(1)

        with right:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await settle()
                left.close()

    run(main)


def test_port_in_use_is_named(run):
    async def main():
        with stdlib.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(OSError, match=f"{port}.*in use") as caught:
                await uringtrio.serve_tcp(good, port, host="127.0.0.1")
            assert caught.value.errno == errno.EADDRINUSE

    run(main)


def test_unresolvable_name_is_an_error_of_the_call_that_names_it(run):
    async def main():
        with socket.socket() as sock:
            for call in (
                lambda: sock.connect(("name.invalid", 80)),
                lambda: sock.bind(("name.invalid", 80)),
                lambda: socket.getaddrinfo("name.invalid", 80),
                lambda: uringtrio.open_tcp_stream("name.invalid", 80),
                lambda: uringtrio.open_tcp_listeners(80, host="name.invalid"),
            ):
                with pytest.raises(stdlib.gaierror):
                    await call()

    run(main)


@pytest.mark.parametrize("thing", [None, 5, "text", object()], ids=["None", "int", "str", "object"])
def test_what_is_no_socket_is_refused_and_shown(thing):
    for make in (
        uringtrio.SocketStream,
        uringtrio.SocketListener,
        socket.from_stdlib_socket,
    ):
        with pytest.raises(TypeError, match="socket") as caught:
            make(thing)
        assert repr(thing) in str(caught.value)


def test_standard_socket_is_refused_with_the_way_to_wrap_it():
    with stdlib.socket() as plain:
        with pytest.raises(TypeError, match=r"from_stdlib_socket\(\)"):
            uringtrio.SocketStream(plain)


def test_abstract_socket_type_is_not_made():
    with pytest.raises(TypeError, match=r"uringtrio\.socket\.socket\(\)"):
        socket.SocketType()


def test_buffers_that_cannot_be_written_are_refused_at_the_call(run):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            await right.send(b"data")
            for buffer in (b"read only", memoryview(b"read only")):
                for call in (
                    lambda buffer=buffer: left.recv_into(buffer),
                    lambda buffer=buffer: left.recvfrom_into(buffer),
                    lambda buffer=buffer: left.recvmsg_into([bytearray(1), buffer]),
                ):
                    with pytest.raises(TypeError, match="writable buffer"):
                        await call()
            # Nothing was taken.
            assert await left.recv(100) == b"data"

    run(main)


@pytest.mark.parametrize("wrong", ["text", 5, None, [1, 2]])
def test_what_is_no_bytes_is_refused_at_the_call(run, wrong):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            for call in (
                lambda: left.send(wrong),
                lambda: left.sendmsg([b"x", wrong]),
                lambda: left.sendto(wrong, "address"),
                lambda: uringtrio.SocketStream(left).send_all(wrong),
                lambda: left.recv_into(wrong),
            ):
                with pytest.raises(TypeError):
                    await call()
            assert not right.is_readable()
            # No half-made op is in the way.
            await left.send(b"fine")
            assert await right.recv(10) == b"fine"

    run(main)


def test_sizes_that_make_no_sense_are_refused(run):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            for call in (
                lambda: left.recv(-1),
                lambda: left.recvfrom(-1),
                lambda: left.recvmsg(-1),
                lambda: left.recv_into(bytearray(1), -1),
                lambda: left.recvfrom_into(bytearray(1), -1),
                lambda: left.recv_into(bytearray(4), 5),
                lambda: left.recvfrom_into(bytearray(4), 5),
            ):
                with pytest.raises(ValueError, match=r"buffer|negative"):
                    await call()

    run(main)


@pytest.mark.parametrize("wrong", ["10", 1.5, None])
def test_sizes_that_are_no_numbers_are_refused(run, wrong):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            await right.send(b"data")
            for call in (lambda: left.recv(wrong), lambda: left.recvfrom(wrong)):
                with pytest.raises(TypeError):
                    await call()
            assert await left.recv(100) == b"data"

    run(main)


def test_option_arguments_that_contradict_are_refused():
    with socket.socket() as sock:
        with pytest.raises(TypeError, match="value"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1, 4)
        with pytest.raises(TypeError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, None)


def test_sendto_without_an_address_shows_the_right_call(run):
    async def main():
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            for arguments in ((), (0, ("127.0.0.1", 9), 0)):
                with pytest.raises(TypeError, match=r"\(data, address\)"):
                    await sock.sendto(b"x", *arguments)

    run(main)


def test_unix_path_that_is_too_long_is_refused(run):
    async def main():
        with socket.socket(socket.AF_UNIX) as sock:
            for call in (sock.bind, sock.connect):
                with pytest.raises(OSError, match="too long"):
                    await call("/" + "x" * 200)

    run(main)


def test_unconnected_socket_is_an_os_error(run):
    async def main():
        with socket.socket() as sock:
            for call in (lambda: sock.recv(1), lambda: sock.send(b"x")):
                with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is looked at
                    await call()
                assert caught.value.errno in (errno.ENOTCONN, errno.EPIPE)

    run(main)


def test_accept_without_listen_is_an_os_error(run):
    async def main():
        with socket.socket() as sock:
            with pytest.raises(OSError, match="Invalid argument"):
                await sock.accept()

    run(main)
