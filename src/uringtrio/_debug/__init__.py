"""Looking at a run: what its tasks wait for, and which of them hold up the others."""
