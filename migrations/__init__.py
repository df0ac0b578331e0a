"""Alembic's migrations: every step of the schema, tables and `dash_*` views. Run by `worker.migrate`."""
