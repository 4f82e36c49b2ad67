"""Looks: what can be bought of a picture (Shop The Look), and what goes with it (Complete The Look)."""
