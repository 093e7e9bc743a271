"""Run by alembic inside the transaction that adapters/db/schema.py has begun; never offline."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
