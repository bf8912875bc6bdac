"""Work in other threads, waited for by tasks."""
