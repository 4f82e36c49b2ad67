"""Corkboard: a personalization engine, from raw events to a live page."""

__version__ = "0.1.0"
