"""Run one suite of lm-eval tasks through a model's server.

reads   server.json (waits until the model is served), the model folder (its tokenizer), task YAML
        files of spec.folder, and the dataset folder that stands for {dataset} in them
writes  {suite}.json: {suite, model, tasks: {task: {metric: {value, stderr, n}}}, limited, finish,
        checks, configs, versions}; {suite}.samples.jsonl: every item with prompt and answer

Answers are greedy unless a task asks otherwise. A limited run says so: its figures are no result.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sftflow import benchmark
from sftflow.hub import log_no_addresses
from sftflow.manifests import replacing, write_json
from sftflow.scratch import scratch_folder
from sftflow.seats import seat
from sftflow.serving import Server, served
from sftflow.stage import StageError, console, run_stage, stage_parser
from sftflow.suitetasks import load_tasks, own_tasks

BOUNDARY_SHARE = 0.99  # of the pairs; below, the log-likelihoods are of something else
BOOTSTRAPS = 1000  # for metrics that are no mean


def evaluate(
    tasks: list[Any], spec: Mapping[str, Any], server: Server
) -> tuple[dict[str, Any], Any]:
    """Return lm-eval's results and the model that it asked."""
    import aiohttp
    import lm_eval
    from lm_eval.tasks import TaskManager

    from sftflow.lmeval import SEED, ServedModel

    # A task of one's own can be mended; one that lm-eval ships is measured as others measure it,
    # and the share stands in the result.
    least_share = 0.0 if spec["folder"] is None else BOUNDARY_SHARE
    model = ServedModel(server, spec["apply_chat_template"], least_share)
    try:
        results = lm_eval.simple_evaluate(
            model=model,
            tasks=tasks,
            task_manager=TaskManager(include_defaults=False),  # else it reads all that it ships
            num_fewshot=spec["num_fewshot"],
            limit=spec["limit"],
            apply_chat_template=spec["apply_chat_template"],
            fewshot_as_multiturn=spec["apply_chat_template"],
            log_samples=True,
            bootstrap_iters=BOOTSTRAPS,
            random_seed=SEED,
            numpy_random_seed=SEED,
            torch_random_seed=SEED,
            fewshot_random_seed=SEED,
        )
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StageError(
            f"a request of suite {spec['suite']} failed ({type(error).__name__}: {error}); "
            "there is no result"
        ) from None
    except ValueError as error:
        if "Sample larger than population" not in str(error):  # Python's, of lm-eval's choice
            raise
        raise StageError(
            f"suite {spec['suite']} wants more examples in a prompt than a task has rows for them; "
            "lower num_fewshot, of the suite or of the task"
        ) from None
    return results, model


def report(
    results: dict[str, Any], spec: Mapping[str, Any], own: Mapping[str, Any], model: Any
) -> dict[str, Any]:
    """Return what {suite}.json says."""
    return {
        "suite": spec["suite"],
        "model": spec["model"],
        "tasks": benchmark.figures(results),
        "limit": spec["limit"],
        "limited": spec["limit"] is not None,
        "apply_chat_template": spec["apply_chat_template"],
        "num_fewshot": results["n-shot"],
        "finish": benchmark.finish_reasons(results["samples"]),
        "checks": {"boundary_share": model.boundary_shares, "max_length": model.max_length + 1},
        "configs": benchmark.task_configs(results, own),
        "versions": {"lm-eval": version("lm-eval"), "tasks": results["versions"]},
    }


def summary_lines(said: Mapping[str, Any]) -> list[str]:
    """Return a line per task for the console: its figures, and how many answers were cut."""
    lines = []
    for task, metrics in said["tasks"].items():
        known = {k: v["value"] for k, v in metrics.items() if v["value"] is not None}
        line = f"{said['model']}: {task}: " + ", ".join(f"{k} {v:.3f}" for k, v in known.items())
        cut = said["finish"].get(task, {}).get("length", 0)
        lines.append(f"{line}; {cut} answers cut by max_gen_toks" if cut else line)
    for task, share in said["checks"]["boundary_share"].items():
        if share < BOUNDARY_SHARE:
            lines.append(f"warning: {task}: {1 - share:.0%} of the choices begin within a token")
    return lines


def main(argv: list[str] | None = None) -> None:
    """Load the tasks while the server starts, ask it, write figures and samples."""
    parser = stage_parser(__doc__, "endpoint", "model", "benchmark", "samples")
    parser.add_argument("--dataset", type=Path)
    args = parser.parse_args(argv)
    spec = args.spec
    log_no_addresses()
    # datasets keeps what it read, and would give old rows for a path whose file has changed.
    with seat(args.endpoint), scratch_folder() as cache:
        os.environ["HF_DATASETS_CACHE"] = str(cache)
        own = own_tasks(spec)
        tasks = load_tasks(spec, own, args.dataset)
        with served(args.endpoint, args.model, spec["model"]) as server:
            results, model = evaluate(tasks, spec, server)
    said = report(results, spec, own, model)
    with replacing(args.samples) as part:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(benchmark.sample_lines(results["samples"]))
    write_json(args.benchmark, said)
    for line in summary_lines(said):
        console().say(line)


if __name__ == "__main__":
    run_stage(main)
