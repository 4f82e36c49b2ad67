"""Towers that turn an item, a query or a user into a vector. One file a published system; ``content`` is what all others fall back to."""
