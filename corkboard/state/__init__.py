"""State: what was known of a user at a moment, and the stores that hold it; the same code for replay and live."""
