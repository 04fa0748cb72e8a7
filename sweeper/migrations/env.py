"""What Alembic runs: the connection is handed in, the platform's tables are not its business."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="sweeper",
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
