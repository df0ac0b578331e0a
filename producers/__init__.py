"""Everything that enqueues: the client, sources of items, and their commands."""
