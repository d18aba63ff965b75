"""Alembic runs this file; app/storage/database.py passes it an open connection."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
