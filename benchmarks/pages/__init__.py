"""The documents that results become: one file per group of sections, one per document."""
