"""Feed: from a user's state to a page, with rules, diversity, cursors, explanations and a served row for every page."""
