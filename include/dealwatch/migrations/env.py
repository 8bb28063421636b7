"""Alembic's entry: runs the revisions on the connection that `migrations.upgrade` hands over."""

from alembic import context

from dealwatch.tables import metadata

connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    # Two workers that start at once must not both create the tables.
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('dealwatch migrations'))")
else:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table="dealwatch_alembic_version",
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
