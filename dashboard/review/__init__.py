"""The review queue: people say whether results are right, and correct them."""
