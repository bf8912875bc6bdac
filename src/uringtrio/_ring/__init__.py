"""The io_uring ring of one thread: the only room that knows C."""
