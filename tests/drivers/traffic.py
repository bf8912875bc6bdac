"""What the other side of a connection does, and is called, in the tests of drivers."""

import os


def fill(sock):
    """Send until the kernel takes no more; return how much that was."""
    sent = 0
    while True:
        try:
            sent += sock.send(bytes(65536))
        except BlockingIOError:
            return sent


def drain(sock):
    """Receive and return all that is there."""
    received = bytearray()
    while True:
        try:
            data = sock.recv(1 << 20)
        except BlockingIOError:
            return bytes(received)
        if not data:
            return bytes(received)
        received += data


def abstract(name):
    """Return a Unix socket's name without a file, which suites that run beside this do not use."""
    return b"\0uringtrio %d %b" % (os.getpid(), name)
