"""Child processes: starting them, their pipes, the notice of their exit, supervision."""
