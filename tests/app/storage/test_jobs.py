import threading
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.storage import tables
from app.storage.database import Database, DatabaseUnavailable, now
from app.storage.jobs import INTERRUPTED, Job, JobEnded, JobOwner, JobRunning, Jobs, KeyReused, UnknownJob
from models.fs import locked
from tests.support.conflicts import make_inserts_conflict

HERE, THERE = JobOwner("here", 1), JobOwner("there", 1)


@pytest.fixture
def jobs(database: Database, tmp_path: Path) -> Jobs:
    return Jobs(database, tmp_path / "home")


def claim(jobs: Jobs, owner: JobOwner) -> Job | None:
    name = jobs.queued()
    return None if name is None else jobs.claim(name, owner)


def age(database: Database, seconds: float) -> None:
    """Sets the time of the last heartbeat to that many seconds ago."""
    with database.write() as connection:
        connection.execute(sa.update(tables.lock).values(heartbeat=now() - timedelta(seconds=seconds)))


def test_a_job_is_claimed_updated_and_ended_once(jobs: Jobs) -> None:
    job = jobs.submit({"epochs": 3})
    assert (job.state, job.parameters, job.started_at, job.progress) == ("queued", {"epochs": 3}, None, 0)
    claimed = claim(jobs, HERE)
    assert claimed is not None
    assert (claimed.id, claimed.state) == (job.id, "running")
    assert claimed.started_at >= job.created_at
    assert claim(jobs, THERE) is None
    jobs.update(job.id, state="evaluating", progress=1.0, epoch=3, epochs=3, version="v2", log="a line")
    jobs.finish(job.id, "rejected", "worse")
    ended = jobs.get(job.id)
    assert (ended.state, ended.reason, ended.version, ended.log) == ("rejected", "worse", "v2", "a line")
    assert ended.ended
    assert ended.finished_at >= ended.started_at
    jobs.update(job.id, state="running")
    jobs.finish(job.id, "succeeded", None)
    assert jobs.get(job.id) == ended
    assert jobs.submit({}).state == "queued"


def test_one_of_many_jobs_submitted_at_once_is_queued(jobs: Jobs) -> None:
    outcomes: list[str] = []

    def submit() -> None:
        try:
            outcomes.append(jobs.submit({}).id)
        except JobRunning as error:
            outcomes.append(f"busy {error.members['job']}")

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = jobs.list_newest()
    assert sorted(outcomes) == sorted([job.id] + [f"busy {job.id}"] * 7)


def test_conflicts_without_end_are_an_unavailable_database(jobs: Jobs, database: Database) -> None:
    """A trigger stands for a worker that is always faster: each insert meets a conflict."""
    with database.write() as connection:
        make_inserts_conflict(connection, "lock")
    with pytest.raises(DatabaseUnavailable):
        jobs.submit({})
    assert jobs.list_newest() == []


def test_jobs_are_listed_newest_first(jobs: Jobs) -> None:
    names = []
    for _ in range(3):
        names.append(jobs.submit({}).id)
        jobs.cancel(names[-1])
    assert [job.id for job in jobs.list_newest()] == names[::-1]


def test_an_idempotency_key_gives_its_job_for_24_hours(jobs: Jobs, database: Database) -> None:
    job = jobs.submit({"epochs": 1}, "key")
    assert jobs.submit({"epochs": 1}, "key").id == job.id
    with pytest.raises(KeyReused, match=job.id):
        jobs.submit({"epochs": 2}, "key")
    jobs.cancel(job.id)
    assert jobs.submit({"epochs": 1}, "key").state == "cancelled"
    with database.write() as connection:
        connection.execute(sa.update(tables.jobs).values(created_at=now() - timedelta(hours=24, seconds=1)))
    assert jobs.submit({"epochs": 2}, "key").id != job.id


def test_a_queued_job_is_cancelled_and_a_running_one_is_asked_to_end(jobs: Jobs) -> None:
    job = jobs.submit({})
    assert (jobs.cancel(job.id).state, claim(jobs, HERE)) == ("cancelled", None)
    with pytest.raises(JobEnded, match="cancelled"):
        jobs.cancel(job.id)
    job = jobs.submit({})
    claim(jobs, HERE)
    assert (jobs.cancel(job.id).state, jobs.get(job.id).cancelling) == ("running", True)
    with pytest.raises(UnknownJob, match="no job 'nobody'"):
        jobs.cancel("nobody")


@pytest.mark.parametrize("name", ["", "\x00", "A" * 16, "a" * 17, "\ud800", "a" * 15 + "\n"])
def test_text_that_is_no_id_is_an_unknown_job(name: str, jobs: Jobs) -> None:
    for call in (jobs.get, jobs.cancel):
        with pytest.raises(UnknownJob):
            call(name)


def test_a_job_without_a_heartbeat_for_15_seconds_fails(jobs: Jobs, database: Database) -> None:
    job = jobs.submit({})
    claim(jobs, HERE)
    age(database, 14)
    jobs.fail_abandoned()
    assert jobs.get(job.id).state == "running"
    assert jobs.renew_lease(job.id, HERE)
    assert not jobs.renew_lease(job.id, THERE)
    age(database, 15.1)
    jobs.fail_abandoned()
    ended = jobs.get(job.id)
    assert (ended.state, ended.reason) == ("failed", INTERRUPTED)
    assert not jobs.renew_lease(job.id, HERE)


@pytest.mark.parametrize("ahead", [timedelta(seconds=-16), timedelta(seconds=16), timedelta(days=3)])
@pytest.mark.parametrize("end", ["fail_abandoned", "submit", "cancel"])
def test_a_lease_far_from_the_clock_ends_its_job_whichever_way_the_clock_was_set(
    end: str, ahead: timedelta, jobs: Jobs, database: Database
) -> None:
    job = jobs.submit({})
    claim(jobs, HERE)
    age(database, -ahead.total_seconds())
    {"fail_abandoned": jobs.fail_abandoned, "submit": lambda: jobs.submit({}), "cancel": lambda: jobs.cancel(job.id)}[
        end
    ]()
    assert jobs.get(job.id).state == ("cancelled" if end == "cancel" else "failed")
    assert jobs.queued() is not None if end == "submit" else jobs.submit({}).state == "queued"


@pytest.mark.parametrize("ahead", [timedelta(days=-3), timedelta(0), timedelta(days=3)])
def test_an_owner_that_holds_the_lock_of_its_job_lives_whatever_the_clock_says(
    ahead: timedelta, jobs: Jobs, database: Database
) -> None:
    job = jobs.submit({})
    with locked(jobs.lock_file(job.id)):
        claim(jobs, HERE)
        age(database, -ahead.total_seconds())
        jobs.fail_abandoned()
        with pytest.raises(JobRunning):
            jobs.submit({})
        assert (jobs.cancel(job.id).state, jobs.get(job.id).cancelling) == ("running", True)
    jobs.fail_abandoned()
    assert (jobs.get(job.id).state, jobs.get(job.id).reason) == ("failed", INTERRUPTED)


def test_a_queued_job_is_claimed_once_and_by_its_name(jobs: Jobs) -> None:
    first = jobs.submit({})
    jobs.cancel(first.id)
    second = jobs.submit({})
    assert jobs.claim(first.id, HERE) is None
    assert jobs.queued() == second.id
    assert jobs.claim(second.id, HERE) is not None
    assert (jobs.claim(second.id, THERE), jobs.queued()) == (None, None)


def test_a_stale_lock_does_not_block_the_next_job(jobs: Jobs, database: Database) -> None:
    stale = jobs.submit({})
    claim(jobs, HERE)
    age(database, 16)
    assert jobs.submit({}).state == "queued"
    assert jobs.get(stale.id).state == "failed"


def test_a_queued_job_never_goes_stale(jobs: Jobs) -> None:
    job = jobs.submit({})
    jobs.fail_abandoned()
    assert jobs.get(job.id).state == "queued"
    assert claim(jobs, THERE) is not None
