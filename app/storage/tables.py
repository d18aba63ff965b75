"""The tables of the database; app/storage/migrations creates them and brings them up to date."""

from datetime import UTC, datetime

import sqlalchemy as sa


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """Aware times, stored in UTC without a zone, so that every database groups them by the same day."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


REVISION = "0002"
"""The newest of app/storage/migrations: it leaves the tables as they are here."""

metadata = sa.MetaData()

alembic_version = sa.Table(
    "alembic_version",
    sa.MetaData(),  # Alembic's own, not one of ours
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # sha256 of the tile
    sa.Column("label", sa.Integer, nullable=False),
    sa.Column("prediction", sa.Integer, nullable=False),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("model", sa.String(20), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    sa.Column("tile", sa.LargeBinary, nullable=False),  # 28 x 28 bytes, row by row
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("epoch", sa.Integer),
    sa.Column("epochs", sa.Integer),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("version", sa.String(20)),
    sa.Column("log", sa.Text, nullable=False),
    sa.Column("cancelling", sa.Boolean, nullable=False),
    sa.Column("idempotency_key", sa.String(255), unique=True),
)

lock = sa.Table(
    "lock",
    metadata,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("job", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("host", sa.String(255)),  # null while the job is queued
    sa.Column("pid", sa.Integer),
    sa.Column("heartbeat", UtcDateTime),
)
