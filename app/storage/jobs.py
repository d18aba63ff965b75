"""Retraining jobs in the database, and the lock that lets one of them run at a time.

    queued -> running -> evaluating -> succeeded | rejected
    failed and cancelled can follow any of the first three

Workers submit, read and cancel jobs. The job runner (app/processes/job_runner.py) claims a job, renews its lease and
records its progress and its end. While it works on the job it also holds the lock of a file under HOME, which tells
everybody with the same HOME whether it lives. Others judge by the lease, and by the clock of the database.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.storage.database import Database, now, retry_conflicts
from app.storage.tables import jobs, lock
from models import fs
from models.contract import ENDED_STATES, JOB_STATES, JobState
from models.errors import InklingError

STALE_AFTER = timedelta(seconds=15)
"""A lease whose last heartbeat is further away is abandoned: also one in the future, after a clock was set back."""
IDEMPOTENCY_PERIOD = timedelta(hours=24)
MAX_LISTED = 100

INTERRUPTED = "interrupted: the process that ran the job is gone"

_LOCK = "retraining"
_ID = re.compile("[0-9a-f]{16}")


class JobRunning(InklingError):
    """Another job is not done yet."""

    problem = "job-running"


class JobEnded(InklingError):
    problem = "job-ended"


class UnknownJob(InklingError):
    problem = "not-found"


class KeyReused(InklingError):
    """The idempotency key was used before with other parameters."""

    problem = "idempotency-key-reused"


@dataclass(frozen=True)
class Job:
    """progress: 0 to 1. cancelling: its end was requested. log: the trainer's last lines."""

    id: str
    state: JobState
    parameters: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    epoch: int | None
    epochs: int | None
    progress: float
    metrics: dict[str, Any]
    reason: str | None
    version: str | None
    log: str
    cancelling: bool

    @property
    def ended(self) -> bool:
        return self.state in ENDED_STATES


@dataclass(frozen=True)
class JobOwner:
    host: str
    pid: int


class Jobs:
    def __init__(self, database: Database, home: Path) -> None:
        self.folder = home / "retraining"
        self._database = database

    def lock_file(self, name: str) -> Path:
        """Whoever works on the job holds `fs.locked` of this file from before its claim until after its end."""
        return self.folder / name / "lock"

    def submit(self, parameters: Mapping[str, Any], key: str | None = None) -> Job:
        """Queues a job; an idempotency key that was used in the last 24 hours returns its job.

        Raises JobRunning while another job is not done, KeyReused for a key that came with other parameters.
        """
        return retry_conflicts(lambda: self._submit(dict(parameters), key))

    def _submit(self, parameters: dict[str, Any], key: str | None) -> Job:
        with self._database.write() as connection:
            self._fail_abandoned(connection)
            if key is not None:
                old = sa.and_(jobs.c.idempotency_key == key, jobs.c.created_at < now() - IDEMPOTENCY_PERIOD)
                connection.execute(sa.update(jobs).where(old).values(idempotency_key=None))
                known = connection.execute(_select().where(jobs.c.idempotency_key == key)).first()
                if known is not None:
                    if known.parameters != parameters:
                        raise KeyReused(f"the Idempotency-Key came with other parameters for job {known.id}")
                    return Job(**known._mapping)
            holder = connection.execute(sa.select(lock.c.job)).scalar_one_or_none()
            if holder is not None:
                raise JobRunning(f"job {holder} is not done yet; one runs at a time", job=holder)
            name = secrets.token_hex(8)
            fresh = {"state": "queued", "progress": 0.0, "metrics": {}, "log": "", "cancelling": False}
            row = {"id": name, "parameters": parameters, "created_at": now(), "idempotency_key": key, **fresh}
            connection.execute(sa.insert(jobs).values(row))
            connection.execute(sa.insert(lock).values(name=_LOCK, job=name))
            return _get(connection, name)

    def get(self, name: str) -> Job:
        """Raises UnknownJob."""
        with self._database.read() as connection:
            return _get(connection, name)

    def find(self, names: Iterable[str]) -> list[Job]:
        """The jobs with these ids, in any order; unknown ids are left out."""
        return self._list(_select().where(jobs.c.id.in_(list(names))))

    def list_newest(self) -> list[Job]:
        """The newest MAX_LISTED jobs, newest first."""
        return self._list(_select().order_by(jobs.c.created_at.desc()).limit(MAX_LISTED))

    def _list(self, query: sa.Select[Any]) -> list[Job]:
        with self._database.read() as connection:
            return [Job(**row._mapping) for row in connection.execute(query)]

    def count_by_state(self) -> dict[JobState, int]:
        """The number of jobs in each state."""
        with self._database.read() as connection:
            counts = connection.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)).all()
        return dict.fromkeys(JOB_STATES, 0) | {row.state: row[1] for row in counts}

    def cancel(self, name: str) -> Job:
        """Ends a queued or abandoned job; asks the job runner to end a running one. Raises UnknownJob or JobEnded."""
        with self._database.write() as connection:
            job = _get(connection, name)
            if job.ended:
                raise JobEnded(f"job {name} has ended already: {job.state}", job=name)
            if job.state == "queued":
                _finish(connection, name, "cancelled", "cancelled before it began")
            elif name in self._abandoned(connection):
                _finish(connection, name, "cancelled", "cancelled; the process that ran it is gone")
            else:
                _update(connection, name, cancelling=True)
            return _get(connection, name)

    def queued(self) -> str | None:
        """The id of the queued job."""
        with self._database.read() as connection:
            return connection.execute(sa.select(lock.c.job).where(lock.c.host.is_(None))).scalar_one_or_none()

    def claim(self, name: str, owner: JobOwner) -> Job | None:
        """Makes the queued job a running job of the owner; None if it is not queued any more."""
        free = sa.and_(lock.c.job == name, lock.c.host.is_(None))
        with self._database.write() as connection:
            lease = {"host": owner.host, "pid": owner.pid, "heartbeat": _clock(connection)}
            if connection.execute(sa.update(lock).where(free).values(lease)).rowcount == 0:
                return None
            connection.execute(sa.update(jobs).where(jobs.c.id == name).values(state="running", started_at=now()))
            return _get(connection, name)

    def renew_lease(self, name: str, owner: JobOwner) -> bool:
        """Renews the heartbeat. False if another process has taken the job over."""
        mine = sa.and_(lock.c.job == name, lock.c.host == owner.host, lock.c.pid == owner.pid)
        with self._database.write() as connection:
            return connection.execute(sa.update(lock).where(mine).values(heartbeat=_clock(connection))).rowcount == 1

    def update(self, name: str, **values: Any) -> None:
        """Changes columns of a job, unless it has ended."""
        with self._database.write() as connection:
            _update(connection, name, **values)

    def finish(self, name: str, state: JobState, reason: str | None) -> None:
        """Ends a job, unless it has ended, and releases the lock for the next one."""
        with self._database.write() as connection:
            _finish(connection, name, state, reason)

    def fail_abandoned(self) -> None:
        """Fails the job whose owner is gone."""
        with self._database.read() as connection:  # the usual case, and it takes no write lock
            if not self._abandoned(connection):
                return
        with self._database.write() as connection:
            self._fail_abandoned(connection)

    def _fail_abandoned(self, connection: sa.Connection) -> None:
        for name in self._abandoned(connection):
            _finish(connection, name, "failed", INTERRUPTED)

    def _abandoned(self, connection: sa.Connection) -> list[str]:
        """The jobs that were claimed by an owner who is gone."""
        leases = connection.execute(sa.select(lock.c.job, lock.c.heartbeat).where(lock.c.host.is_not(None))).all()
        return [name for name, heartbeat in leases if self._is_gone(name, heartbeat, _clock(connection))]

    def _is_gone(self, name: str, heartbeat: datetime, clock: datetime) -> bool:
        """Whether the owner of a job has ended, or for all that is known here has been silent for too long."""
        held = fs.is_held(self.lock_file(name))
        return abs(clock - heartbeat) > STALE_AFTER if held is None else not held


def _select() -> sa.Select[Any]:
    return sa.select(*(column for column in jobs.c if column.name != "idempotency_key"))


def _get(connection: sa.Connection, name: str) -> Job:
    known = _ID.fullmatch(name)  # PostgreSQL fails on some other texts, such as a NUL
    row = connection.execute(_select().where(jobs.c.id == name)).first() if known else None
    if row is None:
        raise UnknownJob(f"there is no job {name[:40]!r}")
    return Job(**row._mapping)


def _update(connection: sa.Connection, name: str, **values: Any) -> None:
    not_ended = sa.and_(jobs.c.id == name, jobs.c.state.not_in(ENDED_STATES))
    connection.execute(sa.update(jobs).where(not_ended).values(**values))


def _finish(connection: sa.Connection, name: str, state: JobState, reason: str | None) -> None:
    _update(connection, name, state=state, reason=reason, finished_at=now())
    connection.execute(sa.delete(lock).where(lock.c.job == name))


def _clock(connection: sa.Connection) -> datetime:
    """The database's clock, which all hosts share; SQLite's is that of its host."""
    if connection.dialect.name == "sqlite":
        return now()
    found: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found.astimezone(UTC)
