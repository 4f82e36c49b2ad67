"""Bipartite graphs of items and what holds them together, and random walks on them."""
