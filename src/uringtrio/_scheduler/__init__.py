"""The scheduler: tasks, nurseries, cancel scopes, time, and the run loop."""
