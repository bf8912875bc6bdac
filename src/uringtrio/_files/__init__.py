"""Files, paths, pipes: what has no connection."""
