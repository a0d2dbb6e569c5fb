"""What searches read and rest on: input and params functions. No rules here."""

import csv
import json

from sftflow import searches

SAMPLER_PACKAGES = {
    "tpe": ("optuna", "numpy"),
    "gp": ("optuna", "numpy", "scipy", "torch"),
    "random": ("optuna", "numpy"),
    "grid": (),
}


def search_of(wildcards):
    """Return the search of a run."""
    return CONFIG["runs"][wildcards.run]["search"]


def trial_files(run, numbers):
    """Return the trial.json of these trials."""
    return [f"results/runs/{run}/trials/{number}/trial.json" for number in numbers]


def known_trials(wildcards):
    """Return the trials by whose losses a round is proposed."""
    search = search_of(wildcards)
    numbers = searches.earlier_trials(search, int(wildcards.round))
    return trial_files(wildcards.run, numbers)


def round_spec(wildcards):
    """Return what a round is proposed by, beside the losses."""
    search, number = search_of(wildcards), int(wildcards.round)
    return spec_text(
        run=wildcards.run,
        round=number,
        trials=searches.round_trials(search, number),
        **{key: search[key] for key in ("space", "sampler", "seed")},
    )


def round_packages(wildcards):
    """Return the versions of the packages that a run's sampler uses."""
    return package_versions(SAMPLER_PACKAGES[search_of(wildcards)["sampler"]])


def proposing_round(wildcards):
    """Return the file that proposes a trial."""
    number = searches.round_of(search_of(wildcards), int(wildcards.trial))
    return f"results/runs/{wildcards.run}/rounds/{number}.json"


def proposed_settings(wildcards):
    """Return what was proposed for a trial; {} as long as nothing is."""
    try:
        said = json.loads(Path(proposing_round(wildcards)).read_text(encoding="utf-8"))
        return said["trials"][wildcards.trial]
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def trial_settings(wildcards):
    """Return what was proposed for a trial, and what its training rests on."""
    settings = proposed_settings(wildcards)
    run = searches.settled(CONFIG["runs"][wildcards.run], settings)
    if not settings:  # what the run says of them has no say
        run = searches.settled(run, dict.fromkeys(search_of(wildcards)["space"]))
    return settings, training_basis(wildcards.run, run)


def trial_spec(wildcards):
    """Return the hyperparameters of a trial, in the shape of a run's."""
    settings, basis = trial_settings(wildcards)
    return spec_text(trial=int(wildcards.trial), settings=settings, **basis)


def trial_code(wildcards):
    """Return the digest of the code of a trial."""
    return training_code("train_trial", trial_settings(wildcards)[1])


def all_trials(wildcards):
    """Return every trial of a search."""
    count = searches.trial_count(search_of(wildcards))
    return trial_files(wildcards.run, range(1, count + 1))


def all_trained(wildcards):
    """Return what every trial has trained."""
    return [
        os.path.join(os.path.dirname(path), "trained") for path in all_trials(wildcards)
    ]


def trial_seconds(run, trial):
    """Return how long a trial took by Snakemake's own clock, None if that is not known."""
    path = Path(f"results/benchmarks/train_trial/{run}.{trial}.tsv")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, ValueError):
        return None


def list_spec(wildcards):
    """Return what the list of a search's trials says of them beside their results."""
    search = search_of(wildcards)
    numbers = range(1, searches.trial_count(search) + 1)
    return spec_text(
        run=wildcards.run,
        sampler=search["sampler"],
        space=search["space"],
        rounds={str(n): searches.round_of(search, n) for n in numbers},
    )


def trial_times(wildcards):
    """Return how long each trial took; nothing rests on it."""
    numbers = range(1, searches.trial_count(search_of(wildcards)) + 1)
    return spec_text(**{str(n): trial_seconds(wildcards.run, n) for n in numbers})


def all_searches(wildcards):
    """Return the lists of all searches, for the page."""
    return [f"results/runs/{run}/search.json" for run in SEARCHED]
