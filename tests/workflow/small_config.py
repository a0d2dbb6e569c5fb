"""The smallest config that trains and measures something."""

SMALL = """\
sources: { mine: { path: rows.jsonl } }
datasets: { talk: { sources: [mine] } }
bases: { tiny: { make: { seed: 1 }, template: chatml } }
runs: { one: { base: tiny, dataset: talk, max_length: 256 } }
"""
