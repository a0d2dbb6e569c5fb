"""Which jobs share one start of a base that makes data: none of them may wait for another."""

from graphlib import TopologicalSorter

from hypothesis import given
from hypothesis import strategies as st

from sftflow.generators import maker, served_judges, share, source_server


def config(*makers):
    """Return sources s0, s1 ...; each is read (None) or made from an earlier one by somebody."""
    sources = {}
    for number, made in enumerate(makers):
        make = None
        if made is not None:
            come_from, model, base_url = made
            endpoint = {"model": model, "base_url": base_url}
            make = {"from": f"s{come_from}", "endpoint": endpoint}
        sources[f"s{number}"] = {"make": make}
    return {"sources": sources}


@st.composite
def configs(draw):
    makers = [None]
    for number in range(1, draw(st.integers(2, 9))):
        entry = (
            draw(st.integers(0, number - 1)),
            draw(st.sampled_from(["t", "u"])),
            draw(st.sampled_from([None, None, "http://host/v1"])),
        )
        makers.append(draw(st.sampled_from([None, entry, entry])))
    return config(*makers)


@given(configs())
def test_no_server_waits_for_itself(one):
    """Jobs at one server start together: as a graph of servers and lone jobs there is no circle."""
    group = {name: source_server(one, name) or name for name in one["sources"]}
    graph = {}
    for name, source in one["sources"].items():
        below = set() if source["make"] is None else {group[source["make"]["from"]]}
        graph.setdefault(group[name], set()).update(below)
        assert group[name] not in below
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_what_does_not_rest_on_each_other_shares_a_start():
    one = config(None, (0, "t", None), (0, "t", None), (1, "u", None), (3, "t", None))
    assert source_server(one, "s1") == source_server(one, "s2") == "results/generators/t/made0.json"
    assert source_server(one, "s3") == "results/generators/u/made1.json"
    assert source_server(one, "s4") == "results/generators/t/made2.json"
    assert source_server(one, "s0") is None


def test_a_source_made_elsewhere_needs_no_server_and_parts_nothing():
    one = config(None, (0, "t", "http://host/v1"), (1, "t", None))
    assert maker(one, "s1") is None and source_server(one, "s1") is None
    assert share(one, "s2") == "made0"


def test_judges_of_a_dataset():
    steps = [
        {"step": "length"},
        {"step": "judge", "model": "t", "base_url": None},
        {"step": "judge", "model": "gpt", "base_url": "http://host/v1"},
        {"step": "judge", "model": "t", "base_url": None},
    ]
    assert served_judges(steps) == ["t"]
