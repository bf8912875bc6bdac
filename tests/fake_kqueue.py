"""`select.kqueue` for systems without it, in pure Python over epoll: only for tests.

It keeps the rules of kevent(2) on the BSDs that a driver can run into:

- A filter of a descriptor is registered by its number and reports once with EV_ONESHOT.
- Closing the descriptor removes its filters, whatever the number is used for later.
- An error of a change is an event with EV_ERROR where there is room for one, else it is raised.
- At the end of a stream EV_EOF is set, also while there is data left; `data` counts the bytes.
- A regular file is readable while it is not at its end, and always writable.
- A user event is triggered by NOTE_TRIGGER, also in the change that adds it.

`install` hands it to the driver; other users of `select`, asyncio among them, do not see it.
"""

import array
import errno
import fcntl
import importlib
import math
import os
import select
import selectors  # noqa: F401  # it chooses now, and from what this system has
import stat
import termios
import time

KQ_FILTER_READ = -1
KQ_FILTER_WRITE = -2
KQ_FILTER_USER = -11
KQ_EV_ADD = 0x0001
KQ_EV_DELETE = 0x0002
KQ_EV_ENABLE = 0x0004
KQ_EV_DISABLE = 0x0008
KQ_EV_ONESHOT = 0x0010
KQ_EV_CLEAR = 0x0020
KQ_EV_ERROR = 0x4000
KQ_EV_EOF = 0x8000
KQ_NOTE_TRIGGER = 0x01000000

_POLL_EVENTS = {KQ_FILTER_READ: select.EPOLLIN, KQ_FILTER_WRITE: select.EPOLLOUT}
_BROKEN = select.EPOLLERR | select.EPOLLHUP
# Until something that epoll does not know, a file or a user event, is looked at again.
_LOOK_SECONDS = 0.01


class kevent:  # noqa: N801  # as in `select`
    def __init__(
        self,
        ident,
        filter=KQ_FILTER_READ,  # noqa: A002
        flags=KQ_EV_ADD,
        fflags=0,
        data=0,
        udata=0,
    ):
        self.ident = ident if isinstance(ident, int) else ident.fileno()
        self.filter = filter
        self.flags = flags
        self.fflags = fflags
        self.data = data
        self.udata = udata


class _Knote:
    """A registered filter, and which file its descriptor was open on."""

    def __init__(self, event, file, is_file):
        self.event = event
        self.file = file
        self.is_file = is_file
        self.is_enabled = True
        self.is_triggered = False


def _file_of(fd):
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino), stat.S_ISREG(status.st_mode)


def _int_from_ioctl(fd, request):
    count = array.array("i", [0])
    try:
        fcntl.ioctl(fd, request, count)
    except OSError:
        return 0
    return count[0]


class kqueue:  # noqa: N801  # as in `select`
    def __init__(self):
        self._epoll = select.epoll()
        self._knotes = {}  # By (descriptor, filter).

    @property
    def closed(self):
        return self._epoll.closed

    def fileno(self):
        return self._epoll.fileno()

    def close(self):
        self._epoll.close()
        self._knotes.clear()

    def control(self, changelist, max_events, timeout=None):
        if max_events < 0:
            raise ValueError(f"Length of eventlist must be 0 or positive, got {max_events}")
        errors = []
        for change in changelist or ():
            try:
                self._change(change)
            except OSError as exc:
                if len(errors) == max_events:
                    raise
                errors.append(
                    kevent(change.ident, change.filter, KQ_EV_ERROR, 0, exc.errno, change.udata)
                )
        if errors or not max_events:
            return errors
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            found = self._harvest(max_events, end - time.monotonic())
            if found or time.monotonic() >= end:
                return found

    def _change(self, change):
        if change.filter != KQ_FILTER_USER and change.filter not in _POLL_EVENTS:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        knote = self._knote_for(change)
        if change.flags & KQ_EV_DELETE:
            del self._knotes[change.ident, change.filter]
        elif change.flags & KQ_EV_ADD:
            knote.event = change
        if change.flags & (KQ_EV_ADD | KQ_EV_ENABLE):
            knote.is_enabled = True
        if change.flags & KQ_EV_DISABLE:
            knote.is_enabled = False
        if change.filter == KQ_FILTER_USER:
            knote.is_triggered |= bool(change.fflags & KQ_NOTE_TRIGGER)
        elif not knote.is_file:
            self._update_epoll(change.ident)

    def _knote_for(self, change):
        """Return what the change is about, made anew if it adds."""
        key = (change.ident, change.filter)
        file, is_file = None, False
        if change.filter != KQ_FILTER_USER:
            file, is_file = _file_of(change.ident)  # EBADF when it is closed.
        knote = self._knotes.get(key)
        if knote is not None and knote.file != file:
            # Its descriptor was closed, and the number used again: the filter went with it.
            del self._knotes[key]
            knote = None
        if knote is None:
            if not change.flags & KQ_EV_ADD:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            knote = self._knotes[key] = _Knote(change, file, is_file)
        return knote

    def _update_epoll(self, fd):
        """Ask epoll for what the filters of `fd` want."""
        events = 0
        for number, bit in _POLL_EVENTS.items():
            knote = self._knotes.get((fd, number))
            if knote is not None and knote.is_enabled and not knote.is_file:
                events |= bit | (select.EPOLLET if knote.event.flags & KQ_EV_CLEAR else 0)
        try:
            if events:
                self._epoll.modify(fd, events)
            else:
                self._epoll.unregister(fd)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.EBADF):
                raise
            if events:
                self._epoll.register(fd, events)

    def _harvest(self, max_events, seconds):
        found = self._look(max_events)
        if found:
            seconds = 0.0
        elif any(knote.is_file for knote in self._knotes.values()):
            seconds = min(seconds, _LOOK_SECONDS)
        room = max(1, max_events - len(found))
        for fd, events in self._epoll.poll(-1 if seconds == math.inf else max(seconds, 0), room):
            for number, bit in _POLL_EVENTS.items():
                knote = self._knotes.get((fd, number))
                if knote is None or not knote.is_enabled or not events & (bit | _BROKEN):
                    continue
                if not self._is_still_open(fd, knote):
                    # A copy keeps the old file in the epoll set; in a kqueue it is gone.
                    del self._knotes[fd, number]
                elif len(found) < max_events:
                    found.append(self._fire(fd, knote, events))
        return found

    def _is_still_open(self, fd, knote):
        try:
            return _file_of(fd)[0] == knote.file
        except OSError:
            return False

    def _look(self, max_events):
        """Report files and user events, which epoll knows nothing of."""
        found = []
        for (fd, number), knote in list(self._knotes.items()):
            if not knote.is_enabled or len(found) == max_events:
                continue
            if number == KQ_FILTER_USER:
                is_ready = knote.is_triggered
                knote.is_triggered = is_ready and not knote.event.flags & KQ_EV_CLEAR
            else:
                is_ready = knote.is_file and (
                    number == KQ_FILTER_WRITE or os.lseek(fd, 0, os.SEEK_CUR) < os.fstat(fd).st_size
                )
            if is_ready:
                found.append(self._fire(fd, knote, 0))
        return found

    def _fire(self, fd, knote, events):
        wanted = knote.event
        flags, data = wanted.flags & ~KQ_EV_ENABLE, 0
        if wanted.filter == KQ_FILTER_READ and not knote.is_file:
            data = _int_from_ioctl(fd, termios.FIONREAD)
            if events & (select.EPOLLRDHUP | _BROKEN) or self._is_at_end(fd):
                flags |= KQ_EV_EOF
        elif wanted.filter == KQ_FILTER_WRITE and events & _BROKEN:
            flags |= KQ_EV_EOF
        if wanted.flags & KQ_EV_ONESHOT:
            del self._knotes[fd, wanted.filter]
            if not knote.is_file and wanted.filter != KQ_FILTER_USER:
                self._update_epoll(fd)
        return kevent(fd, wanted.filter, flags, wanted.fflags, data, wanted.udata)

    def _is_at_end(self, fd):
        poll = select.poll()
        poll.register(fd, select.POLLRDHUP)
        return bool(poll.poll(0))


def install():
    """Give the driver what a system with kqueue has in `select`, and nobody else."""
    names = [name for name in globals() if name.startswith("KQ_") or name in ("kevent", "kqueue")]
    for name in names:
        setattr(select, name, globals()[name])
    try:
        importlib.import_module("uringtrio._drivers.kqueue")
    finally:
        for name in names:
            delattr(select, name)
