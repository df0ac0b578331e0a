"""The dashboard: plots of the views named `dash_*`, and how the inboxes stand now."""
