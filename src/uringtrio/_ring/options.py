"""RingOptions: what a user may tune about a ring. Imports no C, so any platform can name it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RingOptions:
    """Sizes and habits of the io_uring ring of one run; other drivers ignore them.

    Attributes:
        entries: length of the submission queue, 1 to 32768, rounded up to a power of two. How
            many ops one system call can submit, not how many can be in flight.
        cq_entries: length of the completion queue, at least `entries`. What does not fit is kept
            by the kernel and delivered late, never lost.
        buffer_count: how many buffers the kernel may fill with received data before they are
            handed back, a power of two up to 32768. 0: each receive brings its own buffer.
        buffer_size: bytes in each of them, and thus the most one receive returns, 1 to 1 MiB.
            Memory becomes resident only as it is filled.
        sqpoll: let a kernel thread pick up submissions: saves system calls, costs a CPU.
        sqpoll_idle_ms: milliseconds after which that thread sleeps.
        iowq_max_workers: kernel worker threads for file ops, bounded and unbounded each; 0 leaves
            the kernel's choice.
        spin_us: before it sleeps, the loop watches the ring for this many microseconds. Takes
            the wake-up latency out of the last microseconds and costs that much CPU.
    """

    entries: int = 512
    cq_entries: int = 2048
    buffer_count: int = 256
    buffer_size: int = 65536
    sqpoll: bool = False
    sqpoll_idle_ms: int = 1000
    iowq_max_workers: int = 0
    spin_us: int = 0

    def __post_init__(self) -> None:
        self._within("entries", 1, 32768)
        self._within("cq_entries", self.entries, 65536)
        self._within("buffer_count", 0, 32768)
        self._within("buffer_size", 1, 1 << 20)
        self._within("sqpoll_idle_ms", 0, 1 << 30)
        self._within("iowq_max_workers", 0, 1 << 16)
        self._within("spin_us", 0, 1_000_000)
        if self.buffer_count & (self.buffer_count - 1):
            raise ValueError(f"buffer_count must be a power of two or 0, not {self.buffer_count}")

    def _within(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int):
            raise TypeError(f"RingOptions({name}=...) must be an int, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"RingOptions({name}={value}) must be from {least} to {most}")
