"""Pinning the serving process to one processor must not pin its policy workers there as well."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from sealward.controlplane.adapters.policy_engine.process import Worker, WorkerSettings


def started_on(processor: int) -> Worker:
    os.sched_setaffinity(0, {processor})  # of this thread alone; the child inherits it
    return Worker(WorkerSettings())


def test_a_worker_may_run_where_its_parent_may_not():
    all_of_them = os.sched_getaffinity(0)
    if len(all_of_them) == 1:
        pytest.skip("this machine lets the tests run on one processor only")
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(started_on, min(all_of_them)).result(30)
    try:
        assert os.sched_getaffinity(worker.pid) >= all_of_them
    finally:
        worker.kill()
    assert os.sched_getaffinity(0) == all_of_them
