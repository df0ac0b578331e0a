"""Backfills: old rows from files and databases, poured into the bulk inbox, resumable anywhere."""
