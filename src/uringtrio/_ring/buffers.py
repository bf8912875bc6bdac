"""Provided buffers: the kernel fills them, so that a waiting receive holds no memory.

A buffer belongs to the kernel from `ut_provide`, or from the enter after its id was put into
`returned`, until a CQE names it; then it is ours. The driver copies the bytes out and returns it
at once: no user code ever holds a provided buffer.
"""

from __future__ import annotations

import mmap
from typing import Any

from ._shim import ffi, lib


class ProvidedBuffers:
    """The pool of one ring.

    Attributes:
        memory: buffer `i` begins at `i * size`. Slicing an mmap makes bytes in one step.
        size: bytes in each buffer.
        returned: ids of the buffers to give back at the next enter, see `Ring.returned_count`;
            the shim's own memory, with room for one for each CQE that an enter hands out.
    """

    __slots__ = ("memory", "returned", "size")

    def __init__(self, ring: Any, *, size: int, count: int) -> None:
        # Anonymous memory is resident only where the kernel has written.
        self.memory = mmap.mmap(-1, size * count)
        self.size = size
        self.returned = memoryview(ffi.buffer(lib.ut_returned(ring), 2 * lib.ut_reap_max())).cast(
            "H"
        )
        res = lib.ut_provide(ring, ffi.from_buffer(self.memory), size, count)
        if res < 0:
            raise OSError(-res, "io_uring_register_buf_ring")
