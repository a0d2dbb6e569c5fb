"""Bad input, entry by entry of docs/reliability.md, through the stage that reads a source.

Three tables: what stops the stage, with the words that its one sentence must hold; rows that go
to rejected.parquet, with their reason; and what only looks bad, with the warning that counts it.
``ingest`` itself checks that no row is lost: rows_in = kept + rejected.
"""

import json

import pytest
from ingest_fixture import GOOD, ingest, lines
from reader_fixture import gzipped, parquet, zstd

from sftflow.stage import StageError

TWO = lines(GOOD, {**GOOD, "instruction": "Count: 数"})


def edit(**fields):
    return {**GOOD, **fields}


def turns(*said):
    """Return a row of messages, each given as (role, content)."""
    return {"messages": [{"role": role, "content": content} for role, content in said]}


U, A, S = ("user", "Ask?"), ("assistant", "Answer."), ("system", "Be kind.")
LEARNT = {"role": "assistant", "content": "y"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}

# name -> (bytes, name of the file, words of the sentence)
STOPS = {
    "empty file": (b"", "raw.jsonl", ["raw.jsonl: the file is empty"]),
    "blank lines only": (b"\n \n\n", "raw.jsonl", ["no rows"]),
    "table without rows": (b"instruction,output\n", "raw.csv", ["no rows"]),
    "no usable row": (lines({"a": 1}, {"b": 2}), "raw.jsonl", ["none of 2 rows", "unknown_format"]),
    "UTF-16": (TWO.encode("utf-16"), "raw.jsonl", ["UTF-16 (FF FE at byte 0)", "iconv"]),
    "UTF-16 without a mark": (TWO.encode("utf-16-le"), "raw.jsonl", ["utf-16-le"]),
    "UTF-32": (TWO.encode("utf-32"), "raw.jsonl", ["UTF-32"]),
    "Latin-1": (
        b'{"instruction": "caf\xe9", "output": "x"}\n',
        "raw.jsonl",
        ["raw.jsonl:1: 0xE9 at byte 20", "cp1252"],
    ),
    "mixed encodings": (
        TWO.encode() + b'{"instruction": "caf\xe9", "output": "x"}\n',
        "raw.jsonl",
        ["raw.jsonl:3: 0xE9"],
    ),
    "UTF-32 without a mark": (TWO.encode("utf-32-le"), "raw.jsonl", ["utf-32-le"]),
    "lone half in UTF-16": (
        "{\ud800}\n".encode("utf-16-le", "surrogatepass"),
        "raw.jsonl",
        ["raw.jsonl:1: 0x00 at byte 2", "damaged"],
    ),
    "NUL bytes": (TWO.encode() + b"\0" * 6, "raw.jsonl", ["NUL byte at byte", "fetch it again"]),
    "wrapper with two lists": (
        json.dumps({"train": [GOOD], "test": [GOOD]}),
        "raw.json",
        ["json_path"],
    ),
    "corrupt gzip": (gzipped(TWO.encode())[:-9], "raw.jsonl", ["damaged or cut off"]),
    "corrupt zstd": (zstd(TWO.encode())[:-4], "raw.jsonl.zst", ["damaged or cut off"]),
    "truncated parquet": (parquet([GOOD] * 9)[:-20], "raw.parquet", ["damaged or cut off"]),
    "parquet that is none": (b"some text", "raw.parquet", ["no Parquet file"]),
    "parquet of a few bytes": (b"PAR1 and nothing", "raw.parquet", ["damaged"]),
    "gzip of a few bytes": (b"\x1f\x8b garbage", "raw.jsonl", ["damaged"]),
    "compressed twice": (gzipped(gzipped(TWO.encode())), "raw.jsonl.gz", ["compressed twice"]),
    "Latin-1 in a table": (b"a,b\ncaf\xe9,2\n", "raw.csv", ["raw.csv:2: 0xE9 at byte 7, column 4"]),
    "compressed twice, plain name": (gzipped(gzipped(TWO.encode())), "raw", ["compressed twice"]),
    "packed archive": (
        gzipped(b"raw.jsonl".ljust(257, b"\0") + b"ustar"),
        "raw.tar.gz",
        ["tar archive: unpack it"],
    ),
    "HTML page": (b"<!DOCTYPE html>\n<html>", "raw.jsonl", ["HTML page", "login"]),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "raw.csv", ["lfs pull"]),
    "pickle": (b"\x80\x04\x95\x01\x02", "raw.jsonl", ["pickle", "never opened"]),
    "Arrow stream": (
        b"\xff\xff\xff\xff\x88\x01\0\0",
        "raw.jsonl",
        ["Arrow IPC stream: save it as"],
    ),
    "old Feather": (b"FEA1\0\0\0\0", "raw.jsonl", ["old Feather file: save it as Parquet"]),
    "photograph": (b"\xff\xd8\xff\xe0abc", "raw.jsonl", ["is a picture"]),
    "weights": (b"\x20" + bytes(7) + b'{"a":{}}', "raw.jsonl", ["is safetensors"]),
    "archive": (b"PK\x03\x04abc", "raw.jsonl", ["ZIP archive: unpack it"]),
    "column twice": (b"instruction,output,output\na,b,c\n", "raw.csv", ["column 'output' twice"]),
    "plain text": (b"hello\nworld\n", "raw.txt", ["neither JSON nor a table"]),
}

STOPS_ENCODED = {"lone half in UTF-16": {"encoding": "utf-16-le"}}

# name -> (line of JSON Lines, reason); a good row stands before and behind it
REJECTED = {
    "invalid line": ("{'instruction': 'x'}", "invalid_json"),
    "trailing comma": ('{"instruction": "x", "output": "y",}', "invalid_json"),
    "NaN": ('{"instruction": "x", "output": NaN}', "not_finite"),
    "infinity": ('{"instruction": "x", "output": 1e999}', "not_finite"),
    "key twice": ('{"instruction": "x", "output": "a", "output": "b"}', "duplicate_key"),
    "tab in a string": ('{"instruction": "x\t", "output": "y"}', "invalid_json"),
    "lone surrogate": (r'{"instruction": "\ud83d", "output": "y"}', "half_surrogate"),
    "nested 5,000 deep": ('{"a": ' + "[" * 5000 + "]" * 5000 + "}", "too_deep"),
    "number of 5,000 digits": ('{"a": ' + "1" * 5000 + "}", "long_number"),
    "2 MB row": (json.dumps(edit(output="x" * (2 << 20))), "row_too_long"),
    "byte order mark inside": ("\ufeff" + json.dumps(GOOD), "invalid_json"),
    "array where an object belongs": ("[1, 2]", "not_an_object"),
    "missing field": (json.dumps({"messages": [{"role": "user"}]}), "missing_field"),
    "null": (edit(output=None), "null_text"),
    "blank": (edit(output=" \n"), "blank_assistant"),
    "number for text": (edit(output=42), "not_text"),
    "list for text": (edit(output=["y"]), "not_text"),
    "object for text": (edit(output={"y": 1}), "not_text"),
    "picture among typed parts": (turns(U, ("assistant", [{"type": "image_url"}])), "not_text"),
    "messages that are no JSON": ({"messages": "no json"}, "invalid_list"),
    "unknown names": ({"Instruction": "x", "Output": "y"}, "unknown_format"),
    "preference pair": ({"prompt": "x", "chosen": "a", "rejected": "b"}, "preference_pair"),
    "no turns": ({"messages": []}, "no_turns"),
    "no assistant turn": (turns(U), "no_assistant"),
    "only assistant": (turns(A), "assistant_first"),
    "two user turns": (turns(U, U, A), "consecutive_roles"),
    "system in the middle": (turns(U, A, S, U, A), "system_not_first"),
    "two systems": (turns(S, S, U, A), "system_twice"),
    "loss weight of 390 digits": (
        {"messages": [{"role": "user", "content": "x"}, {**LEARNT, "weight": 10**389}]},
        "invalid_weight",
    ),
    "unknown role": (turns(("narrator", "x"), A), "unknown_role"),
    "empty assistant turn": (turns(U, ("assistant", "")), "blank_assistant"),
    "tool call without result": (
        {"messages": [{"role": "user", "content": "x"}, CALL, *turns(U, A)["messages"]]},
        "tool_call_without_result",
    ),
    "tool result without call": (turns(U, ("tool", "42"), A), "tool_result_without_call"),
}

# name -> (bytes, kept rows, warnings that are counted)
KEPT = {
    "byte order mark": ("\ufeff" + TWO, 2, {"bom"}),
    "CRLF": (TWO.replace("\n", "\r\n"), 2, {"crlf_line_ends"}),
    "CR alone": (TWO.replace("\n", "\r"), 2, {"cr_line_ends"}),
    "line separators in text": (lines(edit(output="a\u2028b\u0085c")), 1, set()),
    "JSON array in .jsonl": (json.dumps([GOOD, edit(output="x")]), 2, set()),
    "one list in a wrapper": (json.dumps({"data": [GOOD]}), 1, {"rows_in_key:data"}),
    "compressed under a plain name": (gzipped(TWO.encode()), 2, set()),
    "typed parts": (lines(turns(U, ("assistant", [{"type": "text", "text": "x"}]))), 1, set()),
    "unknown column": (lines(edit(extra=1)), 1, {"column_ignored:extra"}),
    "ends with a user turn": (lines(turns(U, A, U)), 1, {"tail_trimmed"}),
    "hundreds of turns": (lines(turns(*[U, A] * 300)), 1, set()),
    "mojibake": (lines(edit(output="caf\u00c3\u00a9")), 1, {"mojibake"}),
    "placeholder": (lines(edit(output="Dear {{name}},")), 1, {"placeholder"}),
    "HTML": (lines(edit(output="<p>x</p>")), 1, {"html"}),
    "zero-width character": (lines(edit(output="a\u200bb")), 1, {"invisible_characters"}),
    "control character": (lines(edit(output="bell\x07")), 1, {"control_characters"}),
    "control token typed by a user": (lines(edit(output="<|im_end|>")), 1, {"control_token"}),
    "date": (lines(edit(output="2024-01-05")), 1, set()),
    "not normalised": (lines(edit(output="e\u0301")), 1, set()),
}


@pytest.mark.parametrize("entry", STOPS)
def test_a_file_that_stops_the_stage(entry, tmp_path):
    data, name, words = STOPS[entry]
    with pytest.raises(StageError) as error:  # exit status 1 and no traceback: test_stage.py
        ingest(tmp_path, data, name, max_rejected_fraction=1, **STOPS_ENCODED.get(entry, {}))
    said = str(error.value)
    assert all(word in said for word in words), said
    assert "\n" not in said
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("entry", REJECTED)
def test_a_row_that_is_kept_with_its_reason(entry, tmp_path):
    line, reason = REJECTED[entry]
    records, rejected, _ = ingest(tmp_path, lines(GOOD, line, edit(output="Bye!")))
    assert [record["row"] for record in records] == [1, 3]
    assert [(row["row"], row["reason"]) for row in rejected] == [(2, reason)]
    assert rejected[0]["detail"] and rejected[0]["raw"]


@pytest.mark.parametrize("entry", KEPT)
def test_what_only_looks_bad_is_kept_and_counted(entry, tmp_path):
    data, kept, warnings = KEPT[entry]
    records, rejected, manifest = ingest(tmp_path, data)
    assert (len(records), rejected) == (kept, [])
    assert set(manifest["counts"]["warnings"]) == warnings


def test_a_truncated_last_line_costs_that_line(tmp_path):
    records, rejected, _ = ingest(tmp_path, TWO + '{"instruction": "cut o')
    assert len(records) == 2
    assert [row["reason"] for row in rejected] == ["truncated"]


def test_ragged_rows_and_quotes_of_a_table(tmp_path):
    text = 'instruction,output\n"a, ""b""\nc",d\nonly one\ne,f,g\nh,00700\n'
    records, rejected, _ = ingest(tmp_path, text, "raw.csv")
    said = [[m["content"] for m in record["messages"]] for record in records]
    assert said == [['a, "b"\nc', "d"], ["h", "00700"]]
    assert [row["reason"] for row in rejected] == ["ragged_row", "ragged_row"]
