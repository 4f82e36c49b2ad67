"""The data at rest: what the tables are, how rows come in, how they are read back, and where time is cut."""
