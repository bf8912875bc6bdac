"""Unix sockets by name: connecting, listening, and the files that this leaves or does not."""

import errno
import os
import pathlib
import socket as stdlib
import stat
import subprocess
import threading

import pytest

import uringtrio
from uringtrio import abc, socket
from uringtrio._net import unix as module
from uringtrio.testing import open_stream_to_socket_listener


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "socket"


@pytest.fixture
def umask():
    """Set the umask to what lets everything through, and put it back."""
    before = os.umask(0)
    yield os.umask
    os.umask(before)


def leave_behind(path, kind=stdlib.SOCK_STREAM):
    """Make the file of a socket that nobody has open."""
    with stdlib.socket(stdlib.AF_UNIX, kind) as sock:
        sock.bind(os.fspath(path))


def inode(path):
    return os.lstat(path).st_ino


# open_unix_socket.


@pytest.mark.parametrize("form", [str, os.fsencode, pathlib.Path, lambda path: path])
def test_stream_is_connected_by_any_form_of_path(run, path, form):
    async def main():
        (listener,) = await uringtrio.open_unix_listeners(form(path))
        async with listener:
            client = await uringtrio.open_unix_socket(form(path))
            async with client, await listener.accept() as server:
                assert isinstance(client, uringtrio.SocketStream)
                await client.send_all(b"hello")
                assert await server.receive_some() == b"hello"
                await server.send_all(b"world")
                assert await client.receive_some() == b"world"

    run(main)


def test_what_cannot_be_connected_to_is_an_os_error(run, path):
    async def main():
        with pytest.raises(FileNotFoundError):
            await uringtrio.open_unix_socket(path)
        leave_behind(path)
        with pytest.raises(ConnectionRefusedError):
            await uringtrio.open_unix_socket(path)
        with pytest.raises(OSError, match="too long") as caught:
            await uringtrio.open_unix_socket("x" * 200)
        assert caught.value.errno == errno.ENAMETOOLONG

    run(main)


@pytest.mark.parametrize("wrong", [4, 4.5, None, ("path", 1)])
def test_what_is_no_path_is_refused(run, wrong):
    async def main():
        with pytest.raises(TypeError):
            await uringtrio.open_unix_socket(wrong)
        with pytest.raises(TypeError):
            await uringtrio.open_unix_listeners(wrong)

    run(main)


def test_connecting_asks_the_custom_factory(run):
    class Refusing(abc.SocketFactory):
        def socket(self, *args):
            raise OSError(errno.EPERM, f"no sockets here: {args}")

    async def main():
        socket.set_custom_socket_factory(Refusing())
        with pytest.raises(PermissionError, match="no sockets here"):
            await uringtrio.open_unix_socket("name")

    run(main)


def test_cancelled_connection_leaves_no_socket(run, path):
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await uringtrio.open_unix_socket(path)
        assert scope.cancelled_caught

    run(main)


# The file of a listener.


def test_file_lives_as_long_as_the_listener(run, path):
    async def main():
        (listener,) = await uringtrio.open_unix_listeners(path)
        assert stat.S_ISSOCK(path.lstat().st_mode)
        await listener.aclose()
        assert not path.exists()
        await listener.aclose()

    run(main)


def test_file_of_a_relative_path_is_found_again(run, tmp_path, monkeypatch):
    async def main():
        monkeypatch.chdir(tmp_path)
        (listener,) = await uringtrio.open_unix_listeners("socket")
        monkeypatch.chdir("/")
        await listener.aclose()
        assert not (tmp_path / "socket").exists()

    run(main)


@pytest.mark.parametrize("replacement", ["file", "socket", "nothing"])
def test_file_that_another_has_put_there_is_left_alone(run, path, replacement):
    async def main():
        (listener,) = await uringtrio.open_unix_listeners(path)
        path.unlink()
        if replacement == "file":
            path.write_text("precious")
        elif replacement == "socket":
            leave_behind(path)
        await listener.aclose()
        assert path.exists() is (replacement != "nothing")

    run(main)


def test_close_in_a_cancelled_scope_removes_the_file_too(run, path):
    async def main():
        (listener,) = await uringtrio.open_unix_listeners(path)
        await uringtrio.aclose_forcefully(listener)
        assert not path.exists()
        with pytest.raises(uringtrio.ClosedResourceError):
            await listener.accept()

    run(main)


def test_file_that_cannot_be_removed_is_left(run, path, monkeypatch):
    def refuse(_path):
        raise PermissionError(errno.EACCES, "not any more")

    async def main():
        (listener,) = await uringtrio.open_unix_listeners(path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", refuse)
            await listener.aclose()
        assert path.exists()
        # The next listener takes care of it.
        (listener,) = await uringtrio.open_unix_listeners(path)
        await listener.aclose()

    run(main)


# The file that was there before.


@pytest.mark.parametrize("kind", [stdlib.SOCK_STREAM, stdlib.SOCK_DGRAM, stdlib.SOCK_SEQPACKET])
def test_file_that_nobody_listens_on_is_replaced(run, path, kind):
    leave_behind(path, kind)

    async def main():
        (listener,) = await uringtrio.open_unix_listeners(path)
        async with listener:
            stream = await uringtrio.open_unix_socket(path)
            await stream.aclose()
            await (await listener.accept()).aclose()

    run(main)


@pytest.mark.parametrize(
    ("kind", "is_full"),
    [
        (stdlib.SOCK_STREAM, False),
        (stdlib.SOCK_STREAM, True),
        (stdlib.SOCK_DGRAM, False),
        (stdlib.SOCK_SEQPACKET, False),
    ],
)
def test_file_that_somebody_listens_on_is_left_alone(run, path, kind, is_full):
    with stdlib.socket(stdlib.AF_UNIX, kind) as owner, stdlib.socket(stdlib.AF_UNIX) as client:
        owner.bind(os.fspath(path))
        if kind != stdlib.SOCK_DGRAM:
            owner.listen(0)
        if is_full:
            client.connect(os.fspath(path))
        before = inode(path)

        async def main():
            with pytest.raises(OSError, match=r"cannot listen on .*/socket") as caught:
                await uringtrio.open_unix_listeners(path)
            assert caught.value.errno == errno.EADDRINUSE

        run(main)
        assert inode(path) == before


@pytest.mark.parametrize("make", ["write_text", "mkdir", "symlink_to"])
def test_what_is_no_socket_is_left_alone(run, path, make):
    getattr(path, make)(*{"write_text": ["precious"], "symlink_to": ["/nowhere"]}.get(make, []))

    async def main():
        with pytest.raises(OSError, match="cannot listen on") as caught:
            await uringtrio.open_unix_listeners(path)
        assert caught.value.errno == errno.EADDRINUSE
        assert os.path.lexists(path)

    run(main)


def test_of_many_that_start_at_once_over_a_left_over_file_one_wins(path):
    leave_behind(path)
    barrier = threading.Barrier(8)
    outcomes = []

    def contend():
        async def main():
            barrier.wait()
            try:
                (listener,) = await uringtrio.open_unix_listeners(path)
            except OSError as exc:
                outcomes.append(exc.errno)
            else:
                outcomes.append("listens")
                barrier.wait()
                await listener.aclose()
                return
            barrier.wait()

        uringtrio.run(main)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes, key=str) == [errno.EADDRINUSE] * 7 + ["listens"]
    assert not path.exists()


def test_probe_is_not_made_between_the_bind_and_the_listen_of_another(run, path, monkeypatch):
    """A listener that is bound and not yet listening refuses connections like a dead one."""
    bound, go_on = threading.Event(), threading.Event()
    real = module.SocketFile

    def pause(file_path):
        bound.set()
        go_on.wait(10)
        return real(file_path)

    async def main():
        monkeypatch.setattr(module, "SocketFile", pause)
        async with uringtrio.open_nursery() as nursery:
            first = []

            async def open_first():
                first.extend(await uringtrio.open_unix_listeners(path))

            async def open_second():
                with pytest.raises(OSError, match="in use"):
                    await uringtrio.open_unix_listeners(path)

            nursery.start_soon(open_first)
            await uringtrio.to_thread.run_sync(bound.wait)
            nursery.start_soon(open_second)
            await uringtrio.sleep(0.02)
            go_on.set()
        async with await uringtrio.open_unix_socket(path), first[0]:
            pass

    run(main)


@pytest.mark.usefixtures("umask")
def test_directory_that_cannot_be_locked_will_do(run, path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.ENOLCK, "no locks")

    async def main():
        monkeypatch.setattr(module.fcntl, "flock", refuse)
        leave_behind(path)
        (listener,) = await uringtrio.open_unix_listeners(path)
        await listener.aclose()

    run(main)


def test_failure_after_the_bind_leaves_no_socket_open(run, tmp_path, path):
    async def main():
        with pytest.raises(FileNotFoundError, match="cannot listen on"):
            await uringtrio.open_unix_listeners(tmp_path / "no" / "such" / "directory")
        with pytest.raises(OSError, match="too long"):
            await uringtrio.open_unix_listeners("x" * 200)
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await uringtrio.open_unix_listeners(path)
        assert scope.cancelled_caught
        assert not path.exists()

    run(main)


# Permissions.


@pytest.mark.parametrize(
    ("mask", "mode", "expected"),
    [(0, None, 0o777), (0o077, None, 0o700), (0, 0o600, 0o600), (0o077, 0o666, 0o666)],
)
def test_mode_is_what_was_asked_for_whatever_the_umask(run, path, umask, mask, mode, expected):
    umask(mask)

    async def main():
        (listener,) = await uringtrio.open_unix_listeners(path, mode=mode)
        async with listener:
            assert stat.S_IMODE(path.lstat().st_mode) == expected

    run(main)


@pytest.mark.usefixtures("umask")
def test_file_never_has_more_permissions_than_asked_for(run, path, monkeypatch):
    seen = []

    def look(file, mode):
        seen.append((stat.S_IMODE(os.lstat(file).st_mode), mode))

    async def main():
        monkeypatch.setattr(module.os, "chmod", look)
        (listener,) = await uringtrio.open_unix_listeners(path, mode=0o600)
        await listener.aclose()

    run(main)
    assert seen == [(0o600, 0o600)]


def test_mode_is_checked_at_the_call(run, path):
    async def main():
        for wrong in (-1, 0o1000, 0o4755):
            with pytest.raises(ValueError, match="mode must be 0 to 0o777"):
                await uringtrio.open_unix_listeners(path, mode=wrong)
        with pytest.raises(TypeError, match="mode must be an int"):
            await uringtrio.open_unix_listeners(path, mode="0o600")
        with pytest.raises(TypeError, match="backlog must be an int"):
            await uringtrio.open_unix_listeners(path, backlog=1.5)
        with pytest.raises(ValueError, match="abstract"):
            await uringtrio.open_unix_listeners("\0name", mode=0o600)

    run(main)


# Abstract names.


@pytest.mark.parametrize("form", [str, os.fsencode])
def test_abstract_name_has_no_file(run, form):
    name = form(f"\0uringtrio-{os.getpid()}")

    async def main():
        (listener,) = await uringtrio.open_unix_listeners(name)
        async with listener:
            async with await uringtrio.open_unix_socket(name), await listener.accept():
                pass
            async with await open_stream_to_socket_listener(listener):
                pass
            with pytest.raises(OSError, match="in use") as caught:
                await uringtrio.open_unix_listeners(name)
            assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(ConnectionRefusedError):
            await uringtrio.open_unix_socket(name)

    run(main)


def test_empty_name_lets_the_kernel_choose_one(run):
    async def main():
        (listener,) = await uringtrio.open_unix_listeners("")
        async with listener:
            assert listener.socket.getsockname()[0] == 0
            async with await open_stream_to_socket_listener(listener):
                pass

    run(main)


# serve_unix.


def test_server_serves_and_removes_its_file_when_cancelled(run, path):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            (listener,) = await nursery.start(uringtrio.serve_unix, echo, path)
            assert listener.socket.getsockname() == os.fspath(path)
            for _ in range(3):
                async with await uringtrio.open_unix_socket(path) as stream:
                    await stream.send_all(b"hello")
                    assert await stream.receive_some() == b"hello"
            nursery.cancel_scope.cancel()
        assert not path.exists()

    run(main)


def test_options_of_the_server_are_those_of_its_parts(run, path, umask):
    umask(0o022)

    async def main():
        async with uringtrio.open_nursery() as handlers:
            async with uringtrio.open_nursery() as nursery:

                async def serve(*, task_status=uringtrio.TASK_STATUS_IGNORED):
                    await uringtrio.serve_unix(
                        echo,
                        path,
                        mode=0o660,
                        backlog=3,
                        handler_nursery=handlers,
                        task_status=task_status,
                    )

                await nursery.start(serve)
                assert stat.S_IMODE(path.lstat().st_mode) == 0o660
                stream = await uringtrio.open_unix_socket(path)
                await stream.send_all(b"x")
                await stream.receive_some()
                nursery.cancel_scope.cancel()
            await stream.send_all(b"still there")
            assert await stream.receive_some() == b"still there"
            await stream.aclose()

    run(main)


@pytest.mark.parametrize("client", [["socat", "-", "UNIX-CONNECT:"], ["nc", "-N", "-U", ""]])
def test_other_programs_are_served(run, path, client):
    command = [*client[:-1], client[-1] + os.fspath(path)]

    def call():
        return subprocess.run(command, input=b"hello", capture_output=True, check=True, timeout=10)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            await nursery.start(uringtrio.serve_unix, echo, path)
            done = await uringtrio.to_thread.run_sync(call)
            assert done.stdout == b"hello"
            nursery.cancel_scope.cancel()

    try:
        run(main)
    except* FileNotFoundError:
        pytest.skip(f"{client[0]} is not installed")
