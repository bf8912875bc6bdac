"""Both orders of a completion and a cancellation or a close, as transfers of files see them."""

import errno
import os

import pytest

import uringtrio
from uringtrio import socket
from uringtrio._drivers.scripted import ScriptedDriver
from uringtrio._net.send_file import FileSending
from uringtrio._ops.net import SendLarge
from uringtrio._ops.op import Op
from uringtrio._ops.transfer import SendFile

FILE = b"0123456789" * 1000
CANCELED = -errno.ECANCELED


class Transfer:
    """A stream with one transfer in it, whose ops the script completes.

    Attributes:
        outcome: what it returned, or the type of the exception.
        sent_bytes: what the stream said at the end.
    """

    def __init__(self, driver, start):
        self.driver = driver
        self.scope = uringtrio.CancelScope()
        self.outcome = None
        self.sent_bytes = None
        self._start = start

    def cancel(self):
        self.scope.cancel()

    def close(self):
        self.stream.socket.close()

    def answer(self, res, **options):
        (op,) = self.driver.in_flight.values()
        self.driver.complete(op, res, **options)

    def answers(self, *results):
        return [lambda res=res: self.answer(res) for res in results]

    def run(self, *steps):
        for step in steps:
            self.driver.at_wait(lambda _driver, step=step: step())
        uringtrio.run(self._main, driver=self.driver)

    async def _main(self):
        left, right = socket.socketpair()
        self.stream = uringtrio.SocketStream(left)
        with left, right, self.scope:
            try:
                self.outcome = await self._start(self.stream)
            except BaseException as exc:
                self.outcome = type(exc)
                raise
            finally:
                self.sent_bytes = self.stream.sent_bytes


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(FILE)
    return path


@pytest.fixture
def file(path):
    with open(path, "rb") as file:
        yield file


def both_orders(transfer, res):
    """Return the steps of each order: the cancel first, the completion first."""

    def at_once():
        transfer.answer(res)
        transfer.cancel()

    return [[transfer.cancel, *transfer.answers(res)], [at_once]]


orders = pytest.mark.parametrize("order", [0, 1], ids=["cancel first", "completion first"])


# send_file of what is on a disk: file to pipe, pipe to socket.


@pytest.fixture
def splicing(file, monkeypatch):
    monkeypatch.setattr(FileSending, "_is_in_memory", lambda *_: False)
    return Transfer(
        ScriptedDriver(cancels_complete=False), lambda stream: stream.send_file(file, 5, 8000)
    )


def test_spliced_file_is_counted_as_the_socket_takes_it(splicing):
    splicing.run(*splicing.answers(5000, 2000, 3000, 3000, 3000))
    assert (splicing.outcome, splicing.sent_bytes) == (8000, 8000)


def test_file_that_ends_early_ends_the_splice(splicing):
    splicing.run(*splicing.answers(5000, 5000, 0))
    assert (splicing.outcome, splicing.sent_bytes) == (5000, 5000)


@orders
def test_cancel_while_the_file_is_read_leaves_it_unsent(splicing, order):
    splicing.run(*splicing.answers(3000, 3000), *both_orders(splicing, 5000)[order])
    assert (splicing.outcome, splicing.sent_bytes) == (uringtrio.Cancelled, 3000)


@orders
def test_cancel_with_a_full_pipe_counts_what_the_socket_took(splicing, order):
    splicing.run(*splicing.answers(5000), *both_orders(splicing, 2000)[order])
    assert (splicing.outcome, splicing.sent_bytes) == (uringtrio.Cancelled, 2000)


def test_cancel_that_stops_the_splice_in_time_sent_nothing_more(splicing):
    splicing.run(*splicing.answers(5000, 1000), splicing.cancel, *splicing.answers(CANCELED))
    assert (splicing.outcome, splicing.sent_bytes) == (uringtrio.Cancelled, 1000)


@orders
def test_cancel_with_the_last_bytes_is_the_next_checkpoints(splicing, order):
    splicing.run(*splicing.answers(8000), *both_orders(splicing, 8000)[order])
    assert (splicing.outcome, splicing.sent_bytes) == (8000, 8000)


def test_stream_that_is_closed_while_the_file_is_read_is_not_sent_to(splicing):
    """Its descriptor's number may be another's by then."""
    with pytest.raises(uringtrio.ClosedResourceError):
        splicing.run(splicing.close, *splicing.answers(5000))
    assert (splicing.outcome, splicing.sent_bytes) == (uringtrio.ClosedResourceError, 0)


@pytest.mark.parametrize("res", [CANCELED, -errno.EBADF])
def test_close_ends_the_splice_to_the_socket(splicing, res):
    with pytest.raises(uringtrio.ClosedResourceError):
        splicing.run(*splicing.answers(5000), splicing.close, *splicing.answers(res))
    assert (splicing.outcome, splicing.sent_bytes) == (uringtrio.ClosedResourceError, 0)


def test_broken_connection_keeps_the_count(splicing):
    with pytest.raises(uringtrio.BrokenResourceError):
        splicing.run(*splicing.answers(5000, 1000, -errno.ECONNRESET))
    assert splicing.sent_bytes == 1000


def test_broken_disk_is_an_error_of_the_file(splicing):
    with pytest.raises(OSError, match="Input/output error"):
        splicing.run(*splicing.answers(5000, 5000, -errno.EIO))
    assert (splicing.outcome, splicing.sent_bytes) == (OSError, 5000)


def test_socket_that_splices_not_gets_the_rest_by_reads_and_sends(splicing):
    kinds = []

    def note():
        kinds.append([type(op).__name__ for op in splicing.driver.in_flight.values()])

    splicing.driver.at_wait(lambda _driver: (note(), splicing.answer(5000)))
    splicing.driver.at_wait(lambda _driver: (note(), splicing.answer(-errno.EINVAL)))
    for res in (6000, 1000, 5000, 2000, 2000):
        splicing.driver.at_wait(lambda _driver, res=res: (note(), splicing.answer(res)))
    splicing.run()
    assert splicing.sent_bytes == 8000
    assert kinds == [["Splice"]] * 2 + [["Read"], ["Send"], ["Send"], ["Read"], ["Send"]]


@pytest.mark.parametrize("is_file_leg", [True, False])
def test_direction_is_taken_from_the_first_step_to_the_last(splicing, is_file_leg):
    """Between two steps on the socket it is the file that is waited for."""
    refused = []

    async def start_two(stream):
        async def another():
            for send in (lambda: stream.send_all(b"x"), stream.send_eof):
                with pytest.raises(uringtrio.BusyResourceError):
                    await send()
                refused.append(True)

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(another)
            return await splicing_start(stream)

    splicing_start, splicing._start = splicing._start, start_two
    steps = [8000, 8000] if is_file_leg else [4000, 4000, 4000, 4000]
    splicing.run(*splicing.answers(*steps))
    assert refused == [True, True]
    assert splicing.outcome == 8000


# send_file of what is in memory, to a socket without room.


@pytest.fixture
def sending(file, monkeypatch):
    def perform(_op):
        raise BlockingIOError

    monkeypatch.setattr(FileSending, "_is_in_memory", lambda *_: True)
    monkeypatch.setattr(SendFile, "perform", perform)
    return Transfer(
        ScriptedDriver(cancels_complete=False), lambda stream: stream.send_file(file, 5, 8000)
    )


def test_sent_file_is_counted(sending):
    sending.run(*sending.answers(5000, 3000))
    assert (sending.outcome, sending.sent_bytes) == (8000, 8000)


@orders
def test_cancel_counts_what_sendfile_sent(sending, order):
    sending.run(*sending.answers(1000), *both_orders(sending, 2000)[order])
    assert (sending.outcome, sending.sent_bytes) == (uringtrio.Cancelled, 3000)


def test_cancel_that_stops_sendfile_in_time_sent_nothing_more(sending):
    sending.run(*sending.answers(1000), sending.cancel, *sending.answers(CANCELED))
    assert (sending.outcome, sending.sent_bytes) == (uringtrio.Cancelled, 1000)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EPIPE, uringtrio.BrokenResourceError),
        (errno.EIO, OSError),
        (errno.EBADF, OSError),
    ],
)
def test_error_of_sendfile_is_the_files_or_the_connections(sending, number, error):
    with pytest.raises(error):
        sending.run(*sending.answers(1000, -number))
    assert (sending.outcome, sending.sent_bytes) == (error, 1000)


# send_all(zero_copy=True), which on a scripted TCP socket is a SendZC.


class ZeroCopy(Transfer):
    """Sends `DATA` through a TCP socket, which need not be connected for a script."""

    DATA = bytes(100_000)

    def __init__(self, driver):
        super().__init__(driver, lambda stream: stream.send_all(self.DATA, zero_copy=True))

    async def _main(self):
        sock = socket.socket()
        self.stream = uringtrio.SocketStream(sock)
        with sock, self.scope:
            try:
                self.outcome = await self._start(self.stream)
            except BaseException as exc:
                self.outcome = type(exc)
                raise
            finally:
                self.sent_bytes = self.stream.sent_bytes

    def notify(self):
        self.driver.notify(self.driver.find("Notification")[0])


@pytest.fixture
def uncopied(leftovers):
    # Notifications that the script keeps back.
    leftovers.allowed = True
    return ZeroCopy(ScriptedDriver(cancels_complete=False))


def test_uncopied_send_returns_before_its_notification(uncopied):
    uncopied.run(lambda: uncopied.answer(100_000, more=True))
    assert (uncopied.outcome, uncopied.sent_bytes) == (None, 100_000)
    (notification,) = uncopied.driver.in_flight.values()
    assert notification.pins == uncopied.DATA
    uncopied.notify()
    assert uncopied.driver.in_flight == {}


@orders
@pytest.mark.parametrize("is_notified_first", [True, False])
def test_cancel_of_an_uncopied_send_counts(uncopied, order, is_notified_first):
    def first():
        uncopied.answer(60_000, more=True)
        if is_notified_first:
            uncopied.notify()

    if order == 0:
        uncopied.run(uncopied.cancel, first)
    else:
        uncopied.run(lambda: (first(), uncopied.cancel()))
    assert (uncopied.outcome, uncopied.sent_bytes) == (uringtrio.Cancelled, 60_000)
    assert len(uncopied.driver.in_flight) == (not is_notified_first)


@pytest.mark.parametrize("is_notified_first", [True, False])
def test_cancel_that_stops_an_uncopied_send_in_time(uncopied, is_notified_first):
    def answer():
        uncopied.answer(CANCELED, more=True)
        if is_notified_first:
            uncopied.notify()

    uncopied.run(uncopied.cancel, answer)
    assert (uncopied.outcome, uncopied.sent_bytes) == (uringtrio.Cancelled, 0)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOMEM])
@pytest.mark.parametrize("more", [True, False])
def test_refused_uncopied_send_is_copied(uncopied, monkeypatch, number, more):
    refused = set()
    monkeypatch.setattr("uringtrio._net.zero_copy._refused", refused)
    # As if the socket, which is not connected, had no room.
    monkeypatch.setattr(SendLarge, "arm", Op.arm)
    kinds = []

    def answer(res, **options):
        (op,) = [op for op in uncopied.driver.in_flight.values() if op.waiter is not None]
        kinds.append(type(op).__name__)
        uncopied.driver.complete(op, res, **options)

    uncopied.run(lambda: answer(-number, more=more), lambda: answer(100_000))
    assert kinds == ["SendZC", "SendLarge"]
    assert (uncopied.outcome, uncopied.sent_bytes) == (None, 100_000)
    # Only what lasts is remembered.
    assert bool(refused) == (number != errno.ENOMEM)


def test_rest_of_an_uncopied_send_is_copied_once_it_is_short(uncopied):
    uncopied.run(
        lambda: uncopied.answer(99_000, more=True),
        lambda: (uncopied.notify(), uncopied.answer(1000)),
    )
    assert (uncopied.outcome, uncopied.sent_bytes) == (None, 100_000)


def test_close_with_a_notification_to_come(uncopied):
    with pytest.raises(uringtrio.ClosedResourceError):
        uncopied.run(
            lambda: uncopied.answer(50_000, more=True),
            uncopied.close,
            lambda: uncopied.driver.complete(uncopied.driver.find("SendZC")[0], CANCELED),
        )
    assert uncopied.sent_bytes == 50_000
    assert len(uncopied.driver.find("Notification")) == 1


# copy, by splice from a file: what the sink did not take is still in the file.


@pytest.fixture
def copying(path):
    fd = os.open(path, os.O_RDONLY)
    os.lseek(fd, 100, os.SEEK_SET)
    transfer = Transfer(
        ScriptedDriver(cancels_complete=False), lambda stream: uringtrio.copy(fd, stream, 8000)
    )
    transfer.position = lambda: os.lseek(fd, 0, os.SEEK_CUR)
    yield transfer
    os.close(fd)


@orders
def test_cancelled_copy_leaves_the_file_behind_what_was_taken(copying, order):
    copying.run(*copying.answers(5000), *both_orders(copying, 2000)[order])
    assert (copying.outcome, copying.sent_bytes) == (uringtrio.Cancelled, 2000)
    assert copying.position() == 2100


@orders
def test_copy_that_is_cancelled_with_its_last_bytes_returns(copying, order):
    copying.run(*copying.answers(8000), *both_orders(copying, 8000)[order])
    assert (copying.outcome, copying.sent_bytes) == (8000, 8000)
    assert copying.position() == 8100


def test_sink_that_is_closed_while_the_file_is_read(copying):
    with pytest.raises(uringtrio.ClosedResourceError):
        copying.run(copying.close, *copying.answers(5000))
    assert copying.position() == 100


def test_sink_that_breaks(copying):
    with pytest.raises(uringtrio.BrokenResourceError):
        copying.run(*copying.answers(5000, 1000, -errno.EPIPE))
    assert copying.position() == 1100
