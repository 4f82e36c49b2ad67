"""Steps, what is stale, building, gates and promotion. This room alone knows who feeds whom."""
