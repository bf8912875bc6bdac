"""One run on each CPU: how shards are placed, started, watched, ended, and talk to each other."""
