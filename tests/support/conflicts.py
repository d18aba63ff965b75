"""Makes inserts fail as if another worker were always faster."""

import sqlalchemy as sa


def make_inserts_conflict(connection: sa.Connection, table: str) -> None:
    """From now on each INSERT into the table fails as if another transaction had inserted the row before."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            f"CREATE TRIGGER conflict BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'conflict'); END"
        )
        return
    connection.exec_driver_sql(
        "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION USING ERRCODE = ''unique_violation''; END'"
    )
    connection.exec_driver_sql(
        f"CREATE TRIGGER conflict BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION conflict()"
    )
