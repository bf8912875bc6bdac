"""Sockets, streams, listeners and the functions that open them."""
