"""Unix sockets: connecting to them by name, and listening under one.

A name in the file system outlives its listener, so a server finds the file that its predecessor
left, and nobody listens on. It is replaced; one that somebody listens on is not. To tell them
apart takes a connection, and a listener that is bound but not listening yet refuses it like a dead
one. So whoever opens a listener holds a lock on the directory from the bind to the listen, and
the file is taken for left over only under that lock.

When a listener is closed, its file goes too, if it is still the one that was made: another may
have been put in its place. An inode number is not used again while the socket is open, so the
file goes first.

Source: unix(7), flock(2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket as stdlib
import stat
from typing import TYPE_CHECKING, Any

from uringtrio._scheduler.nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus
from uringtrio._threads import to_thread

from .address import checked_path
from .listen import SocketListener, checked_backlog, closed_if_it_fails, serve_listeners
from .socket import from_stdlib_socket, socket as make_socket
from .stream import SocketStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

MODE_MAX = 0o777

UnixPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


async def open_unix_socket(filename: UnixPath) -> SocketStream:
    """Connect to a Unix socket of type SOCK_STREAM.

    Args:
        filename: its path, or a name in the abstract space, which begins with a null byte.

    Raises:
        TypeError: `filename` is no path.
        OSError: there is no such file (ENOENT), nobody listens (ECONNREFUSED), the listener's
            queue is full (EAGAIN), ...

    Checkpoint: always.
    """
    path = os.fspath(filename)
    sock = make_socket(stdlib.AF_UNIX, stdlib.SOCK_STREAM)
    try:
        await sock.connect(path)
        return SocketStream(sock)
    except BaseException:
        sock.close()
        raise


async def open_unix_listeners(
    path: UnixPath, *, mode: int | None = None, backlog: int | None = None
) -> list[SocketListener]:
    """Listen on a Unix socket of type SOCK_STREAM.

    A file that a former listener left under that name is replaced. When the listener is closed,
    its file is removed, if it is still the same.

    Args:
        path: where to make the file; or a name in the abstract space, which begins with a null
            byte and has no file.
        mode: the permissions of the file, at most 0o777: who may write to it may connect. At no
            time does it have more. None leaves them to the umask.
        backlog: how many connections may wait to be accepted; None is as many as the system
            allows.

    Returns:
        One listener. The socket is the system's, also in a run with a custom socket factory.

    Raises:
        TypeError: `path` is no path, or `mode` or `backlog` no int.
        ValueError: `mode` is out of range, or given for an abstract name.
        OSError: somebody listens there already, or a file that is no socket has the name
            (EADDRINUSE); there is no such directory (ENOENT); ...

    Checkpoint: always.
    """
    path = checked_path(path)
    has_file = path[:1] not in ("", b"", "\0", b"\0")
    if mode is not None:
        _check_mode(mode)
        if not has_file:
            raise ValueError(f"an abstract name such as {path!r} has no file, so leave out mode")
    backlog = checked_backlog(backlog)
    # In a thread: it looks at files, on whatever disk they are. Once begun it is not cancelled.
    sock, file = await to_thread.run_sync(_listen, path, mode, backlog, has_file)
    listener = SocketListener(from_stdlib_socket(sock))
    listener._file = file
    return [listener]


async def serve_unix(
    handler: Callable[[SocketStream], Awaitable[Any]],
    path: UnixPath,
    *,
    mode: int | None = None,
    backlog: int | None = None,
    handler_nursery: Nursery | None = None,
    task_status: TaskStatus[list[SocketListener]] = TASK_STATUS_IGNORED,
) -> None:
    """Listen on a Unix socket for ever, and run `handler(stream)` in a task for each connection.

    Args:
        handler: an async function, see `serve_listeners`; its stream can tell who has connected,
            see `SocketStream.get_peer_credentials`.
        path: see `open_unix_listeners`.
        mode: see `open_unix_listeners`.
        backlog: see `open_unix_listeners`.
        handler_nursery: see `serve_listeners`.
        task_status: for `nursery.start`, which then returns the list of one listener.

    Raises: what `open_unix_listeners` and `serve_listeners` raise.

    Checkpoint: always.
    """
    listeners = await open_unix_listeners(path, mode=mode, backlog=backlog)
    await serve_listeners(
        handler,
        listeners,
        handler_nursery=handler_nursery,
        task_status=task_status,  # type: ignore[arg-type]  # a list is a sequence
    )


class SocketFile:
    """The file that a listener made, so that it can be told from another of that name."""

    __slots__ = ("_identity", "_path")

    def __init__(self, path: str | bytes) -> None:
        # The working directory may be another when the listener is closed.
        self._path = os.path.abspath(path)
        self._identity = self._look()

    def _look(self) -> tuple[int, int]:
        status = os.lstat(self._path)
        return (status.st_dev, status.st_ino)

    def remove(self) -> None:
        """Remove the file if it is still the same; the socket must still be open."""
        # If it cannot be removed, it is left over, and the next listener replaces it.
        with contextlib.suppress(OSError):
            if self._look() == self._identity:
                os.unlink(self._path)


def _check_mode(mode: int) -> None:
    if not isinstance(mode, int):
        raise TypeError(f"mode must be an int such as 0o600, not {mode!r}")
    if not 0 <= mode <= MODE_MAX:
        raise ValueError(f"mode must be 0 to 0o777, not {mode:#o}")


def _listen(
    path: str | bytes, mode: int | None, backlog: int, has_file: bool
) -> tuple[stdlib.socket, SocketFile | None]:
    """Return a socket that listens on `path`, with its file."""
    sock = stdlib.socket(stdlib.AF_UNIX, stdlib.SOCK_STREAM)
    with closed_if_it_fails(sock, path):
        if not has_file:
            sock.bind(path)
            sock.listen(backlog)
            return sock, None
        with _locked(os.path.dirname(path)):
            _bind(sock, path, mode)
            file = SocketFile(path)
            sock.listen(backlog)
            return sock, file


@contextlib.contextmanager
def _locked(directory: str | bytes) -> Iterator[None]:
    fd = -1
    try:
        # Some directories cannot be read, and some file systems have no locks. There, of two that
        # start in the same moment, one may take the name from the other.
        with contextlib.suppress(OSError):
            fd = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        if fd != -1:
            os.close(fd)


def _bind(sock: stdlib.socket, path: str | bytes, mode: int | None) -> None:
    if mode is not None:
        # The file gets the permissions of the socket less the umask: no more than asked for.
        os.fchmod(sock.fileno(), mode)
    try:
        sock.bind(path)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE or not _is_left_over(path):
            raise
        os.unlink(path)
        sock.bind(path)
    if mode is not None:
        os.chmod(path, mode)


def _is_left_over(path: str | bytes) -> bool:
    """Say whether `path` is the file of a socket that nobody listens on."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with stdlib.socket(stdlib.AF_UNIX, stdlib.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            # Of another type, a full queue, no permission to ask: no sign that nobody is there.
            return False
    return False
