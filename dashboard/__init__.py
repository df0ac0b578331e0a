"""The web pages: to try the model, see results, review them, and look after what failed."""
