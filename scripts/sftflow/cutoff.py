"""How Snakemake decides here what runs: by content, and once more when a job's inputs are there.

Stock Snakemake (9.27) decides before the first job runs, from time stamps and from "its input
is going to be made again"; with checkpoints it decides again in the middle, but about some
jobs only. Here a job is stale if its record (provenance.py) says so. Jobs below a stale one are
planned too, and are looked at again the moment that all their inputs are there: those whose
inputs came out as they were are counted as done without having run. So the chain stops at the
first stage whose result is unchanged, in the same invocation, also inside the group of a
service: of the jobs that wait for a server only the stale ones run, and without any the
server is not started.

``install`` replaces two methods of Snakemake's DAG, in the process that plans; jobs on a
cluster are started by name and need no plan. Two methods of jobs are replaced everywhere
(keeping.py). The lock pins the Snakemake that this was made for.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import snakemake
from snakemake.dag import DAG
from snakemake.io import is_flagged
from snakemake.logging import logger

from sftflow.dagjobs import describe, is_service, jobs_of, wildcards_of
from sftflow.digests import Digests
from sftflow.explaining import explained
from sftflow.keeping import keep_results, recorded, restore_former
from sftflow.manifests import read_manifest, sha256_json, write_json
from sftflow.meanwhile import present_params, settled_params, told_params
from sftflow.provenance import Basis, Verdict, judge, read_record, write_record
from sftflow.reasons import keep_snapshots, sentence
from sftflow.servicegroups import end_failed_groups, keep_each_of_a_group

MADE_FOR = "9.27."


class Judgement:
    """Says of Snakemake's jobs which are stale, and writes down what finished ones were."""

    def __init__(self, digests: Digests, untracked: Iterable[str] = ()) -> None:
        """Judge by these digests, whatever the params named ``untracked`` are."""
        self.digests = digests
        self.untracked = set(untracked)
        self.verdicts: dict[Any, Verdict] = {}
        self.looked_at: set = set()
        self.begun: dict[Any, dict[str, Any]] = {}  # params at the start of a job
        self.ended: dict[Any, dict[str, Any]] = {}  # these, as they were still so at its end
        self._recording = threading.Lock()

    def basis(self, job: Any) -> Basis:
        """Return what the result of a job rests on by the plan.

        Files from outside results/ are told by a param with their digest: their names depend
        on where the work folder lies, and places in the spec on where a user keeps them. A file
        that is ``ancient`` is only waited for: what the job takes of it is among its params.
        """
        params = told_params(job.params)
        above = job.dag.dependencies[job]
        servers = {str(f) for one, files in above.items() if is_service(one) for f in files}
        unread = {str(path) for path in job.input if is_flagged(path, "ancient")}
        inputs = {
            path: self.content(path)
            for path in map(str, job.input)
            if path.startswith("results/") and path not in servers | unread
        }
        return Basis(" ".join(job.rule.shellcmd.split()), params, inputs)

    def content(self, path: str) -> str | None:
        """Return the digest of an input as far as a later stage reads it.

        What a manifest says of that stage's own inputs is for people: a raw file that came out
        as the same records makes no page stale.
        """
        if not path.endswith("/manifest.json"):
            return self.digests.content(path)
        try:
            said = read_manifest(path)
        except ValueError:
            return self.digests.content(path)
        return sha256_json({key: value for key, value in said.items() if key != "inputs"})

    def verdict(self, job: Any, undecided: Iterable[str] = ()) -> Verdict:
        """Return why a job is stale; empty if it is not."""
        record = read_record(job.rule.name, wildcards_of(job))
        found = judge(record, self.basis(job), map(str, job.output), self.digests, undecided)
        found.changed = [c for c in found.changed if c.name not in self.untracked]
        self.verdicts[job] = found
        return found

    def begin(self, job: Any) -> None:
        """Remember what a job that starts here finds."""
        self.ended.pop(job, None)
        found = present_params(job)
        if found is not None:
            self.begun[job] = found

    def record(self, job: Any) -> None:
        """Write down what a job that has just run was made from; one job at a time."""
        with self._recording:  # users of a server end in threads of their own
            self._record(job)

    def _record(self, job: Any) -> None:
        outputs = [str(path) for path in job.output]
        planned = self.basis(job)
        if job not in self.ended:  # one that asked a server is recorded again with its group
            then = self.begun.pop(job, planned.params)
            self.ended[job] = settled_params(then, present_params(job))
        found = self.ended[job]
        params = {
            n: v if n in self.untracked else found.get(n, v) for n, v in planned.params.items()
        }
        basis = replace(planned, params=params)
        keep_snapshots(basis.params.get("code", ""))
        write_record(job.rule.name, wildcards_of(job), basis, outputs, self.digests)


def _forced(dag: Any, job: Any) -> bool:
    by_rule = job.rule in dag.forcerules and job not in dag.omitforce
    return by_rule or not dag.forcefiles.isdisjoint(job.output)


def plan(dag: Any, judgement: Judgement) -> set:
    """Return the jobs that run, or may run; give each its reason."""
    needed: set = set()
    jobs = [job for level in dag.toposorted() for job in level if not dag.finished(job)]
    for job in jobs:
        reason = dag.reason(job)
        reason.clear()
        if is_service(job):
            continue
        above = {d: f for d, f in dag.dependencies[job].items() if d in needed}
        for files in above.values():
            reason.updated_input_run.update(files)
        if not job.is_norun:
            reason.forced = _forced(dag, job)
            explain(reason, judgement.verdict(job, {str(f) for fs in above.values() for f in fs}))
        if reason:
            needed.add(job)
    for job in jobs:
        if is_service(job) and any(waiting in needed for waiting in dag.depending[job]):
            dag.reason(job).service = True
            needed.add(job)
    return needed


def put_in_place(dag: Any, needed: set) -> None:
    """Let these be the jobs that the DAG runs."""
    dag._needrun.clear()
    dag._needrun.update(needed)
    dag._checkpoint_jobs.clear()
    dag._ready_jobs.clear()
    dag._n_until_ready.clear()
    for job in needed:
        dag._n_until_ready[job] = sum(above in needed for above in dag.dependencies[job])
    dag._len = len(dag._finished | needed)


class Sentence:
    """A reason in words, where Snakemake expects the change of params."""

    def __init__(self, text: str) -> None:
        """Say ``text``."""
        self.text = text

    def __str__(self) -> str:
        """Return the words."""
        return self.text


def explain(reason: Any, verdict: Verdict) -> None:
    """Tell Snakemake's reason what the verdict says."""
    reason.missing_output.update(verdict.missing)
    if verdict.damaged or verdict.unknown or verdict.changed:
        reason.params_changed = Sentence(sentence(verdict))


def install(workflow: Any, untracked: Iterable[str] = ()) -> Digests:
    """Let this process decide by content, unless it is a job's own; return the digests it uses.

    A change of a param that is ``untracked`` makes no job stale; it is still written down.

    Raises RuntimeError for a Snakemake that this was not made for.
    """
    digests = Digests("results/.cache/digests.json")
    if not workflow.is_main_process:
        keep_results(digests)
        end_failed_groups()
        return digests
    if not snakemake.__version__.startswith(MADE_FOR):
        raise RuntimeError(
            f"sftflow was made for Snakemake {MADE_FOR}x, this is {snakemake.__version__}; "
            "run `make setup`"
        )
    judgement = Judgement(digests, untracked)
    atexit.register(digests.save)
    finish = DAG.finish

    async def update_needrun(dag: Any, create_inventory: bool = False) -> None:  # noqa: ARG001
        restore_former(dag.jobs)
        put_in_place(dag, plan(dag, judgement))
        if path := os.environ.get("SFTFLOW_PLAN"):
            write_json(path, explained(dag, judgement.verdicts))

    async def finish_and_look(dag: Any, job: Any, **options: Any) -> None:
        if not workflow.dryrun:
            for one in jobs_of(job):
                if not one.is_norun and not is_service(one):
                    recorded(judgement.record, one)
        await finish(dag, job, **options)
        if not workflow.dryrun:
            await spare(dag, judgement, finish)

    keep_results(digests, judgement)
    end_failed_groups()
    keep_each_of_a_group(judgement.record)
    DAG.update_needrun = update_needrun
    DAG.finish = finish_and_look
    return digests


def still_needed(dag: Any, job: Any, judgement: Judgement) -> bool:
    """Return whether a job whose inputs are all there must run."""
    if job.is_norun:
        return True
    job.reset_params_and_resources()  # what was asked of the files before they were made again
    return _forced(dag, job) or bool(judgement.verdict(job))


async def spare(dag: Any, judgement: Judgement, finish: Any) -> None:
    """Count as done what is ready but would make again what is there."""
    while fresh := [item for item in dag._ready_jobs if item not in judgement.looked_at]:
        for item in fresh:
            idle = idle_jobs(dag, item, judgement)
            rest = [job for job in jobs_of(item) if job not in idle]
            dag._ready_jobs.discard(item)
            if rest:
                kept = regrouped(dag, item, rest) if idle else item
                judgement.looked_at.add(kept)
                dag._ready_jobs.add(kept)
            for job in idle:
                await done_without_running(dag, job, finish)


def idle_jobs(dag: Any, item: Any, judgement: Judgement) -> list:
    """Return the members of a job or group that need not run; a service idles with all others."""
    jobs = jobs_of(item)
    busy = {j for j in jobs if not is_service(j) and still_needed(dag, j, judgement)}
    for service in filter(is_service, jobs):
        if any(waiting in busy for waiting in dag.depending[service]):
            busy.add(service)
    return sorted((job for job in jobs if job not in busy), key=is_service)


def regrouped(dag: Any, group: Any, jobs: Iterable) -> Any:
    """Return the group of these jobs, in the place of a group that had more of them.

    Made anew: what the DAG's factory remembers under these jobs may have been merged with others.
    """
    smaller = type(group)(group.groupid, frozenset(jobs), dag.workflow.global_resources)
    smaller.finalize()
    for job in jobs:
        dag._group[job] = smaller
    return smaller


async def done_without_running(dag: Any, job: Any, finish: Any) -> None:
    """Take a job out of the plan as if it had run."""
    if not is_service(job):
        logger.info(f"Kept {describe(job)}: its inputs came out as they were.")
    dag._group.pop(job, None)
    dag._running.add(job)
    dag._len -= 1
    await finish(dag, job)
