"""What `why` tells of a plan."""

import why


def job(name, *reasons, sure=True, seconds=None, server=None):
    return {
        "name": name,
        "rule": name.split()[0],
        "wildcards": {},
        "sure": sure,
        "reasons": list(reasons),
        "changed": [],
        "spec": None,
        "seconds": seconds,
        "server": server,
    }


def told(monkeypatch, capsys, *jobs):
    monkeypatch.setattr(why, "planned", lambda _: {"directory": ".", "root": ".", "jobs": jobs})
    why.main([])
    return " ".join(capsys.readouterr().out.split())


def test_a_reason_is_told_as_it_stands(monkeypatch, capsys):
    """Brackets of keys and of chat templates are no markup, and nothing becomes a picture."""
    reasons = ("clean[language].languages[0]: en -> de", "system: ok -> [/INST] :tada:")
    said = told(monkeypatch, capsys, job("clean_dataset d", *reasons))
    for reason in reasons:
        assert reason in said


def test_what_shares_a_server_costs_the_longest(monkeypatch, capsys):
    said = told(
        monkeypatch,
        capsys,
        job("measure_latency m", "a", seconds=50, server="serve_model m"),
        job("generate_answers m", "a", seconds=80, server="serve_model m"),
        job("score_answers m", "after generate_answers m", sure=False, seconds=5),
        job("judge_pair j m", "after generate_answers m", sure=False),
    )
    assert "at least 80 s, at most 85 s and 1 that never ran" in said
