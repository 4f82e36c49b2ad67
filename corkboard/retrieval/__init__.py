"""From what a user did to a few hundred candidates: baselines, indexes, candidate sources and their blend."""
