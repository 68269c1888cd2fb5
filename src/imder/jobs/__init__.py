"""Running work in several processes or on several machines: backends, locks, heartbeats, threads, atomic files."""
