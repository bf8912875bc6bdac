"""Synchronisation between the tasks of one run."""
