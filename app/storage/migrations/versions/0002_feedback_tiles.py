"""Makes the tile of each feedback a column of its row. Before, it was a PNG under HOME/feedback.

The pictures stay until Database.migrate has committed, so a crash loses nothing.
"""

import logging

import sqlalchemy as sa
from alembic import context, op

from app.storage import feedback_files
from app.storage.database import DatabaseError

revision = "0002"
down_revision = "0001"

BATCH = 1000

log = logging.getLogger("app.storage.migrations")
feedback = sa.table("feedback", sa.column("id"), sa.column("label"), sa.column("tile", sa.LargeBinary))


def upgrade() -> None:
    connection = op.get_bind()
    op.add_column("feedback", sa.Column("tile", sa.LargeBinary, nullable=False, server_default=""))
    _read_pictures(connection)
    if connection.dialect.name != "sqlite":  # SQLite would copy the table to drop the default
        op.alter_column("feedback", "tile", server_default=None)


def _read_pictures(connection: sa.Connection) -> None:
    home = context.config.attributes["home"]
    total = connection.execute(sa.select(sa.func.count()).select_from(feedback)).scalar_one()
    folder = feedback_files.folder_of(home)
    if total and not folder.is_dir():  # most likely the wrong HOME, and no reason to delete all feedback
        raise DatabaseError(
            f"the database holds {total:,} feedback rows, but {folder}, which should hold their pictures, is missing; "
            "set INKLING_HOME to the folder that has them, or create an empty folder there to delete the rows"
        )
    last, done = "", 0
    while rows := connection.execute(
        sa.select(feedback.c.id, feedback.c.label).where(feedback.c.id > last).order_by(feedback.c.id).limit(BATCH)
    ).all():
        tiles, broken = [], []
        for row in rows:
            try:
                tiles.append({"row": row.id, "bytes": feedback_files.read_tile(home, row.id)})
            except feedback_files.BrokenPicture as error:
                log.warning("feedback %s, labelled %d, is deleted: %s", row.id, row.label, error)
                broken.append(row.id)
        if tiles:
            own = feedback.c.id == sa.bindparam("row")
            connection.execute(sa.update(feedback).where(own).values(tile=sa.bindparam("bytes")), tiles)
        if broken:
            connection.execute(sa.delete(feedback).where(feedback.c.id.in_(broken)))
        last, done = rows[-1].id, done + len(rows)
        log.info("moved %s of %s feedback tiles into the database", f"{done:,}", f"{total:,}")
