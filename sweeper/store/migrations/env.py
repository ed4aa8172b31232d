"""Runs migrations on the connection, and in the transaction, that the store hands over."""

from __future__ import annotations

from alembic import context

from sweeper.store.tables import SCHEMA_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=SCHEMA_TABLE,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
