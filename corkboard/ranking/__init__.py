"""Ranking: request features, training rows, the ranker's seam and the pointwise ranker behind it, utility."""
