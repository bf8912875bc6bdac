"""Drivers: what carries out the ops of one thread."""
