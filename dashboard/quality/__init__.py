"""Quality: how right the results are by what reviewers said, and whether they drift."""
