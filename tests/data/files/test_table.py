"""A table of paths and labels is a data set, and what is wrong with it has a line."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxvision.data import label_counts, registry
from jaxvision.errors import UsageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Ten images `0.png` … `9.png` whose red level numbers them."""
    monkeypatch.setenv("HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for i in range(10):
        Image.new("RGB", (8, 6), (i, 0, 0)).save(tmp_path / f"{i}.png")
    return tmp_path


def load_csv(folder, text: str, encoding: str = "utf-8"):
    (folder / "table.csv").write_text(text, encoding=encoding)
    return registry.load(f"csv:{folder / 'table.csv'}")


def load_jsonl(folder, rows):
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / "table.jsonl").write_text("\n".join(lines))
    return registry.load(f"jsonl:{folder / 'table.jsonl'}")


def refused(load, *arguments) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(*arguments)
    return str(caught.value).splitlines()


def levels(source) -> list[int]:
    return source.read()["image"][:, 0, 0, 0].tolist()


SPLIT = """path,label,split
3.png,dog,train
1.png,cat,Training
4.png,dog,train
5.png,cat,val
2.png,cat,TEST
"""


def test_rows_go_where_they_say(folder):
    train, test, validation = load_csv(folder, SPLIT)
    assert levels(validation) == [5]
    assert train.name == f"csv:{folder / 'table.csv'}:train"
    assert train.class_names == ("cat", "dog")
    assert train.image_shape == (6, 8, 3)
    assert (train.size, test.size) == (3, 1)
    assert levels(train) == [3, 1, 4]
    assert (
        train.read()["label"].tolist() == train.targets()["label"].tolist() == [1, 0, 1]
    )
    assert levels(test) == [2]
    assert test.read()["label"].tolist() == [0]
    assert train.encoded(1) == (folder / "1.png").read_bytes()


def test_validation_takes_the_place_of_a_missing_test(folder):
    assert levels(load_csv(folder, SPLIT.replace("TEST", "train")).test) == [5]


def test_without_splits_a_fifth_is_held_out(folder):
    text = "path,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(10))
    train, test, _ = load_csv(folder, text)
    assert (train.size, test.size) == (8, 2)
    assert np.bincount(test.targets()["label"]).tolist() == [1, 1]
    assert sorted(levels(train) + levels(test)) == list(range(10))
    np.testing.assert_array_equal(np.array(levels(train)) % 2, train.targets()["label"])


def test_json_lines_say_the_same_as_csv(folder):
    columns, *lines = [line.split(",") for line in SPLIT.splitlines()]
    rows = [dict(zip(columns, line, strict=True)) for line in lines]
    both = load_csv(folder, SPLIT), load_jsonl(folder, rows)
    for a, b in zip(*both, strict=True):
        assert (levels(a), a.targets()["label"].tolist()) == (
            levels(b),
            b.targets()["label"].tolist(),
        )
        assert a.class_names == b.class_names


def test_numbers_are_sorted_by_value_and_renumbered_from_0(folder):
    labels = [10, 2, 1, 10, 2, 1, 10, 2, 1, 1]
    text = "path,label\n" + "".join(f"{i}.png,{k}\n" for i, k in enumerate(labels))
    rows = [{"path": f"{i}.png", "label": k} for i, k in enumerate(labels)]
    for splits in (load_csv(folder, text), load_jsonl(folder, rows)):
        assert splits.train.class_names == ("1", "2", "10")
        for source in splits.there().values():
            want = [{1: 0, 2: 1, 10: 2}[labels[i]] for i in levels(source)]
            assert source.targets()["label"].tolist() == want


def test_spreadsheets_write_a_byte_order_mark_and_columns_of_their_own(folder):
    text = 'path,id,label\n0.png,7,"cat, tabby"\n1.png,8,dog\n'
    text += "".join(f"{i}.png,9,dog\n" for i in range(2, 8))
    train, *_ = load_csv(folder, text, "utf-8-sig")
    assert train.class_names == ("cat, tabby", "dog")


def test_everything_wrong_is_listed_by_line(folder):
    lines = refused(
        load_csv,
        folder,
        "path,label,split\n"
        "0.png,cat,train\n"
        "1.png,,train\n"
        "./0.png,dog,train\n"
        "nowhere.png,dog,train\n"
        ",dog,train\n"
        "2.png,-1,train\n"
        "3.png,dog,tran\n"
        "4.png,dog,\n"
        "5.png,a,train,b\n",
    )
    assert lines[0] == f"{folder / 'table.csv'} cannot be used; correct this:"
    wanted = {
        "line 3: empty label",
        "line 4: ./0.png is already in line 2",
        f"line 5: there is no file {folder / 'nowhere.png'}",
        "line 6: empty path",
        "line 7: label -1 is negative",
        "line 8: unknown split 'tran': did you mean 'train' or 'training'?",
        "line 10: more values than columns; put those with a comma into double quotes",
        "line 9: no split, although other lines have one",
    }
    assert {line.strip() for line in lines[1:]} == wanted


def test_what_json_allows_and_a_table_does_not(folder):
    lines = refused(
        load_jsonl,
        folder,
        [
            {"path": "0.png", "label": "cat"},
            {"path": "1.png", "label": ["cat", "dog"]},
            {"path": "2.png", "label": 0.5},
            {"path": "3.png", "label": None},
            {"path": 4, "label": "cat"},
            "{",
            "[1]",
        ],
    )
    found = [line.strip() for line in lines[1:]]
    assert found[0].startswith("line 6: not JSON")
    assert found[1].startswith("line 7: not an object")
    assert found[2].startswith("line 2: more than one label: call the column labels")
    assert found[3] == "line 3: label 0.5 is neither a name nor a whole number"
    assert found[4:] == ["line 4: empty label", "line 5: empty path"]


def test_a_long_list_is_cut(folder):
    text = "path,label\n" + "".join(f"x{i},a\n" for i in range(50))
    lines = refused(load_csv, folder, text)
    assert len(lines) == 22
    assert lines[-1].strip() == "… and 30 more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'path' and no column 'label', only none at all"),
        ("file,label\n0.png,a\n", "no column 'path', only 'file', 'label'"),
        ("path;label\n0.png;a\n", "only 'path;label'"),
        ('"path,label\n0.png,a\n', "line 1: unexpected end of data"),
        ("path,label,labels\n0.png,a,a\n", "keep 'label' if every image shows one"),
        ("path,labels\n0.png,\n1.png, \n", "no training image has a label"),
        ("path,label\n", "no line is of the split train"),
        ("path,label,split\n0.png,a,test\n", "no line is of the split train"),
        (
            "path,label\n0.png,a\n1.png,a\n",
            "have the label 'a', and classification needs",
        ),
    ],
)
def test_a_table_that_is_none(folder, text, message):
    assert message in "\n".join(refused(load_csv, folder, text))


def test_a_class_that_only_the_test_has(folder):
    text = SPLIT + "6.png,cow,test\n"
    assert (
        "line 7: no training image has the label 'cow'"
        in refused(load_csv, folder, text)[-1]
    )


def test_a_table_that_is_not_utf_8(folder):
    text = "path,label\n0.png,Käse\n1.png,Brot\n"
    lines = refused(load_csv, folder, text, "latin-1")
    assert "is not UTF-8" in lines[0]


def test_broken_files_are_named(folder):
    (folder / "1.png").write_bytes(b"")
    lines = refused(load_csv, folder, SPLIT)
    assert "1.png: the file is empty" in lines[1]
    assert f"remove their lines from {folder / 'table.csv'}" in lines[-1]


# Several labels to an image

MULTI = """path,labels,split
3.png,dog;cat,train
1.png,,train
4.png, bird ; dog ,train
2.png,cat,test
"""


def test_several_labels_become_presence(folder):
    train, test, _ = load_csv(folder, MULTI)
    assert train.class_names == ("bird", "cat", "dog")
    assert train.targets().keys() == {"presence"}
    assert train.targets()["presence"].tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 1]]
    assert train.targets()["presence"].dtype == np.uint8
    assert test.read()["presence"].tolist() == [[0, 1, 0]]
    assert levels(train) == [3, 1, 4]


def test_lists_in_json_lines_say_the_same(folder):
    rows = [
        {"path": "3.png", "labels": ["dog", "cat"], "split": "train"},
        {"path": "1.png", "labels": [], "split": "train"},
        {"path": "4.png", "labels": ["bird", "dog"], "split": "train"},
        {"path": "2.png", "labels": ["cat"], "split": "test"},
    ]
    for a, b in zip(
        load_csv(folder, MULTI)[:2], load_jsonl(folder, rows)[:2], strict=True
    ):
        assert a.class_names == b.class_names
        for key, array in a.read().items():
            np.testing.assert_array_equal(array, b.read()[key])


def test_of_several_labels_one_class_alone_may_be_there_or_not(folder):
    text = "path,labels\n" + "".join(f"{i}.png,{'7' * (i % 2)}\n" for i in range(10))
    train, test, _ = load_csv(folder, text)
    assert train.class_names == ("7",)
    assert (train.size, test.size) == (8, 2)
    np.testing.assert_array_equal(
        train.targets()["presence"][:, 0], np.array(levels(train)) % 2
    )


def test_labels_may_be_unknown(folder):
    rows = [
        {"path": "3.png", "labels": ["dog", "cat"], "unknown": ["bird"]},
        {"path": "1.png", "labels": [], "unknown": []},
        {"path": "4.png", "labels": ["bird"]},
        {"path": "2.png", "labels": ["cat"], "split": "test", "unknown": ["dog"]},
    ]
    rows = [{"split": "train"} | row for row in rows]
    train, test, _ = load_jsonl(folder, rows)
    assert train.targets()["presence"].tolist() == [[255, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert test.targets()["presence"].tolist() == [[0, 1, 255]]
    text = "path,labels,unknown,split\n" + "".join(
        f"{row['path']},{';'.join(row['labels'])},{';'.join(row.get('unknown', []))},"
        f"{row['split']}\n"
        for row in rows
    )
    for one, other in zip(load_csv(folder, text)[:2], (train, test), strict=True):
        found, expected = (each.targets()["presence"] for each in (one, other))
        np.testing.assert_array_equal(found, expected)
    counts = label_counts(train)
    assert counts.positives.tolist() == [1, 1, 1]
    assert counts.known.tolist() == [2, 3, 3]

    rows[0]["unknown"] = ["cat", "cow"]
    assert refused(load_jsonl, folder, rows)[1:] == [
        "  line 1: in labels and in unknown: cat"
    ]
    rows[0]["unknown"] = ["cow"]
    assert refused(load_jsonl, folder, rows)[1:] == [
        "  line 1: no training image has the label 'cow'"
    ]


def test_what_is_wrong_with_several_labels(folder):
    lines = refused(
        load_jsonl,
        folder,
        [
            {"path": "0.png", "labels": ["cat", "dog", "cat"]},
            {"path": "1.png", "labels": None},
            {"path": "2.png", "labels": ["", -1, 0.5]},
            {"path": "3.png"},
            {"path": "0.png", "labels": []},
        ],
    )
    assert [line.strip() for line in lines[1:]] == [
        "line 1: more than once: cat",
        "line 2: no labels: write [] for an image of no class",
        "line 3: empty label",
        "line 3: label -1 is negative",
        "line 3: label 0.5 is neither a name nor a whole number",
        "line 4: no labels: write [] for an image of no class",
        "line 5: 0.png is already in line 1",
    ]


def test_a_label_that_only_the_test_has(folder):
    lines = refused(load_csv, folder, MULTI + "5.png,cat;cow,test\n")
    assert lines[1:] == ["  line 6: no training image has the label 'cow'"]


# Fields


def labelled(folder, labels):
    rows = "".join(f"{i}.png,{k}\n" for i, k in enumerate(labels))
    return load_csv(folder, f"path,label\n{rows}").train.class_names


def test_floats_are_sorted_by_value(folder):
    assert labelled(folder, ["0.0", "10.0", "2.0", "1.0"] * 2) == ("0", "1", "2", "10")
    assert labelled(folder, ["1.0", "1", "2", "2."] * 2) == ("1", "2")
    assert labelled(folder, ["10.5", "9.25"] * 4) == ("9.25", "10.5")
    assert labelled(folder, ["1.0", "x", "10.0", "9"] * 2) == ("1", "10", "9", "x")


def test_whole_floats_of_json_are_whole_numbers(folder):
    rows = [{"path": f"{i}.png", "label": float(i % 2)} for i in range(10)]
    assert load_jsonl(folder, rows).train.class_names == ("0", "1")


def test_both_spellings_of_a_label_are_one(folder):
    assert labelled(folder, ["cafe\u0301", "caf\xe9", "dog"] * 3) == ("caf\xe9", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n" + "x" * 5_000 + ",a\n0.png,b", "line 2: there is no file"),
        ("path,label\n" + "x" * 200_000 + ",a\n0.png,b", "field larger than"),
        ("path,label,path\n0.png,a,1.png", "more than one column path"),
        ("path,label\n0.png,a\x1b[2J\n1.png,b", "line 2: label 'a\\x1b[2J' is neither"),
    ],
)
def test_fields_that_are_none(folder, text, message):
    found = "\n".join(refused(load_csv, folder, text))
    assert message in found and len(found) < 2_000


@pytest.mark.parametrize("label", ["1" * 400, "1" * 5_000, "[" * 50_000, "NaN"])
def test_numbers_and_nesting_beyond_measure_in_json(folder, label):
    lines = refused(load_jsonl, folder, [f'{{"path": "0.png", "label": {label}}}'])
    assert "line 1: " in lines[1] and len(lines[1]) < 500
