"""What a schema can't say of the sources that a config makes: one way, real seeds, no circle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sftflow.addresses import address_faults
from sftflow.generators import served_faults
from sftflow.promptfile import read_prompts


def making_faults(config: dict, root: Path) -> Iterator[str]:
    """Yield the faults of sources.*.path and sources.*.make, as sentences."""
    for name, source in config["sources"].items():
        given = [key for key in ("path", "make") if source[key] is not None]
        if len(given) != 1:
            what = " and ".join(given) or "neither"
            yield f"sources.{name}: must have one of path and make; it has {what}"
        if source["make"] is not None:
            yield from _seed_faults(config, root, name)
            yield from bound_faults(f"sources.{name}.make", source["make"])
            yield from endpoint_faults(config, f"sources.{name}.make", source["make"])


def endpoint_faults(config: dict, key: str, make: dict) -> Iterator[str]:
    """Yield the faults of who is asked, where that is a base served here."""
    endpoint = make["endpoint"]
    if endpoint["base_url"] is not None:
        yield from address_faults(f"{key}.endpoint.base_url", endpoint["base_url"])
        return
    yield from served_faults(config, f"{key}.endpoint", endpoint["model"], endpoint["api_key_env"])
    if make.get("judge_model") not in (None, endpoint["model"]):
        yield (
            f"{key}.judge_model: a server that is started here has one model, "
            f"'{endpoint['model']}'; leave judge_model out"
        )


def _seed_faults(config: dict, root: Path, name: str) -> Iterator[str]:
    sources, key = config["sources"], f"sources.{name}.make.from"
    chain, named = [name], sources[name]["make"]["from"]
    while named in sources and named not in chain:
        chain.append(named)
        make = sources[named]["make"]
        if make is None:
            return
        named = make["from"]
    if named == name:
        circle = " <- ".join([*chain, name])
        yield f"{key}: the sources are made from each other in a circle: {circle}"
    named = sources[name]["make"]["from"]
    if named in sources:
        return
    if not (root / named).is_file():
        known = ", ".join(other for other in sources if other != name) or "none"
        yield f"{key}: there is no source '{named}' (there are: {known}) and no file {root / named}"
        return
    if sources[name]["make"]["method"] == "rewrite":
        yield f"{key}: rewrite needs rows with answers; name a source, not a file of prompts"
        return
    try:
        if not any(True for _ in read_prompts(root / named)):
            yield f"{key}: {root / named} has no prompts"
    except ValueError as error:
        yield f"{key}: {error}; rows of another form are read by a source of their own"


def bound_faults(key: str, make: dict) -> Iterator[str]:
    """Yield the faults of what bounds requests and of what they say."""
    if make["limits"]["max_cost"] is not None and make["price_per_million"] is None:
        yield f"{key}.limits.max_cost: needs price_per_million to know what a token costs"
    most = make["limits"]["max_total_tokens"]
    if most is not None and most < make["max_tokens"]:
        yield (
            f"{key}.limits.max_total_tokens: {most} is less than max_tokens {make['max_tokens']} "
            "of a single reply, so nothing could be asked; raise it"
        )
    own = {"model", "messages", "max_tokens", "temperature", "seed", "n", "stream"}
    for name in sorted(own & set(make["request"])):
        yield f"{key}.request.{name}: is set by the method; use the key of make, if any"
    if "scale" in make and make["scale"][0] >= make["scale"][1]:
        yield f"{key}.scale: the lowest score must be below the highest, not {make['scale']}"
