"""Data files: what is read, what is said about bad ones, what is cleaned, and how it is split."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import pyarrow
from pyarrow import parquet
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from schemas.errors import SourceError
from tests.models import tiny_tokenizer
from training.cleaning import CONFLICT, DUPLICATE, EMPTY, Tally, clean_rows, clean_text, serving_tokenizer
from training.data_files import Columns, Row, read_rows
from training.finetuning.data import Files, prepare
from training.finetuning.split import divided, group, with_eval_file

ROWS = [("很好，喜欢", "好"), ("太慢\n很慢", "坏"), ('说"快"', "坏")]


def _written(folder: Path, name: str) -> Path:
    path = folder / name
    texts, labels = zip(*ROWS, strict=True)
    if name.endswith("csv"):
        path.write_text('text,label\n"很好，喜欢",好\n"太慢\n很慢",坏\n"说""快""",坏\n', encoding="utf-8-sig")
    elif name.endswith("tsv"):
        path.write_text('label\ttext\n好\t很好，喜欢\n坏\t"太慢\n很慢"\n坏\t"说""快"""\n', encoding="utf-8")
    elif name.endswith("jsonl"):
        path.write_text(
            "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS), encoding="utf-8"
        )
    else:
        parquet.write_table(pyarrow.table({"text": texts, "label": labels, "more": [1, 2, 3]}), path)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    rows = read_rows(_written(tmp_path, name))
    assert [*ROWS] == [(row.text, row.label) for row in rows]


def test_columns_may_have_other_names_and_labels_may_be_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"review": "好", "stars": 5}\n{"review": "坏", "stars": 1}\n', encoding="utf-8")
    assert [Row("好", "5", 1), Row("坏", "1", 2)] == read_rows(path, Columns("review", "stars"))


def test_a_gb18030_file_is_read_when_its_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\n物流太慢,坏\n".encode("gb18030"))
    assert [Row("物流太慢", "坏", 2)] == read_rows(path, encoding="gb18030")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "review,label\n好,好\n", "a.csv: line 1: has no column 'text' (columns: review, label); name yours"),
        ("a.csv", "text,label,text\n", "line 1: has the column 'text' twice"),
        ("a.csv", "text,label\n好,好\n,坏\n", "line 3: 'text' is empty"),
        ("a.csv", "text,label\n好,好\n \t,坏\n", "line 3: 'text' is empty"),
        ("a.csv", "text,label\n好,好\n\n坏,坏\n", "line 3: is blank; delete it"),
        ("a.csv", "text,label\n好,\n", "line 2: 'label' is empty"),
        ("a.csv", "text,label\n好,很好,好\n", "line 2: has 3 cells for 2 columns; quote texts that hold ','"),
        ("a.csv", 'text,label\n"好,好\n坏,坏\n', "line 2: cannot be read"),
        ("a.csv", "text,label\n好,妙\n坏,坏\n", "line 2: the label '妙' is not among 坏, 好"),
        ("a.csv", "text,label\n", "a.csv: holds no rows"),
        ("a.csv", "", "a.csv: line 1: has no column 'text' (columns: none)"),
        ("a.jsonl", '{"text": "好", "label": "好"}\n{"text": "坏"\n', "line 2: is not JSON"),
        ("a.jsonl", '{"text": "好", "label": "好"}\n{"text": "坏"}\n', "line 2: has no field 'label'; name yours with"),
        ("a.jsonl", '{"text": 5, "label": "好"}\n', "line 1: 'text' is a number; expected text"),
        ("a.jsonl", '{"text": "好", "label": true}\n', "line 1: 'label' is true or false; expected text"),
        ("a.jsonl", '[{"text": "好"}]\n', "line 1: begins a JSON array; write one object a line"),
        ("a.txt", "好\n", "plain lines have no labels"),
        ("a.xlsx", "", "its name ends in .xlsx; known are .csv"),
    ],
)
def test_a_bad_file_is_refused_with_its_line_and_what_to_do(name: str, content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SourceError) as raised:
        read_rows(path, allowed={"好", "坏"})
    assert said in str(raised.value)


def test_a_line_that_is_not_utf_8_is_named_with_its_byte_and_the_lines_around_it_are_judged_too(tmp_path: Path) -> None:
    # Given line 3 in GB18030 with a quote in it, and a label missing in line 5
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\n好,好\n".encode() + '太"慢,坏\n'.encode("gb18030") + "好,好\n坏,\n".encode())
    # Then both are named, and how to read the file
    with pytest.raises(SourceError) as raised:
        read_rows(path)
    assert "a.csv: 2 bad lines; nothing was done" in str(raised.value)
    assert "line 3: byte 4 is not UTF-8" in str(raised.value)
    assert "--encoding gb18030" in str(raised.value)
    assert "line 5: 'label' is empty" in str(raised.value)


def test_twenty_bad_lines_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + ",好\n" * 25, encoding="utf-8")
    with pytest.raises(SourceError) as raised:
        read_rows(path)
    assert 20 == str(raised.value).count("'text' is empty")
    assert "… and 5 more" in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": ["好"], "label": [0.5]}, "the column 'label' holds double; expected text or whole numbers"),
        ({"text": [1], "label": ["好"]}, "the column 'text' holds int64; expected text"),
        ({"text": ["好", None], "label": ["好", "坏"]}, "row 2: 'text' is empty"),
        ({"texts": ["好"], "label": ["好"]}, "has no column 'text'"),
    ],
)
def test_a_parquet_file_of_other_types_is_refused(columns: dict, said: str, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(SourceError) as raised:
        read_rows(tmp_path / "a.parquet")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("<p>很好</p><br/>喜欢", "很好 喜欢"),
        ("很<b>好</b>用<!-- 不 --><script>f(1 < 2)</script>", "很好用"),
        ('<a href="x">链接</a>&nbsp;&amp;&#39;&lt;b&gt;', "链接 &'<b>"),
        ("1<2 而 3>2，<3 你，a<b>c>d，R&D AT&T; &真;", "1<2 而 3>2，<3 你，ac>d，R&D AT&T; &真;"),
        ("<用户>说<不好>", "<用户>说<不好>"),
        ("好\u200b用\u00ad\x07 的\ufeff", "好用 的"),
        ("ＡＢｃ　１２，！", "ABc 12，！"),
        (" 好\r\n\t用 ", "好 用"),
    ],
)
def test_cleaning_takes_real_markup_and_invisible_characters_and_leaves_words(text: str, cleaned: str) -> None:
    tally = Tally("a.csv")
    assert cleaned == clean_text(text, 2, tally)
    assert (text != cleaned) == bool(tally.counts)


def test_cleaning_drops_duplicates_and_contradictions_and_shows_what_it_did() -> None:
    # Given a duplicate once cleaned, a text with two labels, and one of markup alone
    rows = [Row("<b>好</b>", "好", 2), Row("好", "好", 3), Row("快", "好", 4), Row("快", "坏", 5), Row("<br>", "坏", 6)]
    tally = Tally("a.csv")
    # When they are cleaned
    kept = clean_rows(rows, tally)
    # Then one is left, and each change is counted with a sample
    assert [Row("好", "好", 2)] == kept
    assert {"HTML tags and entities": 2, "white space": 1, EMPTY: 1, DUPLICATE: 1, CONFLICT: 1} == tally.counts
    assert {"line": 2, "before": "<b>好</b>", "after": "好"} == tally.as_json()["changes"]["HTML tags and entities"][
        "samples"
    ][0]
    assert (5, 1) == (tally.as_json()["rows"], tally.as_json()["kept"])


@pytest.mark.parametrize("nfkc", [True, False])
def test_the_published_tokenizer_reads_raw_text_as_the_cleaned_text_was_read(nfkc: bool) -> None:
    # Given a tokenizer that normalizes by itself, and one that does not
    tokenizer = tiny_tokenizer()
    if not nfkc:
        tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "型": 1, "A": 2, "1": 3, "好": 4, "，": 5}, "[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    # When it serves a text with full-width letters, zero-width characters and Chinese punctuation
    raw = "型Ａ１好\u200b，"
    served = serving_tokenizer(tokenizer)
    # Then its ids are those of the cleaned text
    assert served.encode(clean_text(raw, 1, Tally("a"))).ids == served.encode(raw).ids
    assert nfkc or [1, 2, 3, 4, 5] == served.encode(raw).ids


def test_a_tokenizer_that_cleans_by_itself_is_left_as_it_is() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.normalizer = normalizers.Sequence([normalizers.BertNormalizer(lowercase=False), normalizers.NFKC()])
    assert tokenizer.to_str() == serving_tokenizer(tokenizer).to_str()


def _grouped_rows() -> list[Row]:
    """120 texts in 40 groups of near-duplicates."""
    return [
        Row(f"这家酒店的房间号码是{number:04d}号，{end}", "好" if number % 3 else "坏", number)
        for number in range(40)
        for end in ("干净", "很干净", "非常干净")
    ]


def test_near_duplicates_stand_on_one_side_of_the_split_and_classes_on_both() -> None:
    # When grouped rows are split
    split = divided(Path("a.csv"), _grouped_rows(), 0.1, 7)
    # Then no group is on both sides, every class is, and the share and balance are about what was asked
    assert set() == {group(row) for row in split.train} & {group(row) for row in split.eval}
    assert 120 == len(split.train) + len(split.eval)
    assert 9 <= len(split.eval) <= 18
    assert {"好", "坏"} == {row.label for row in split.train} == {row.label for row in split.eval}
    # And it is the same split each time
    assert split == divided(Path("a.csv"), _grouped_rows(), 0.1, 7)


def test_a_class_of_near_duplicates_only_cannot_be_split() -> None:
    rows = [*_grouped_rows(), *(Row(f"客服一直没有人接听电话，打了好多次{end}", "客服", 1) for end in "一二三四五")]
    with pytest.raises(SourceError, match="near-duplicates of one text only"):
        divided(Path("a.csv"), rows, 0.1, 7)


def test_texts_of_the_eval_file_are_not_trained_on() -> None:
    rows = [Row("很好", "好", 2), Row("太慢", "坏", 3), Row("这家酒店的房间非常干净而且安静", "好", 4)]
    split = with_eval_file(rows, [Row("很好", "好", 2), Row("这家酒店的房间非常干净而且安静舒适", "好", 3)])
    assert [rows[1], rows[2]] == split.train
    assert 1 == split.near_duplicates


@pytest.mark.parametrize(
    ("train", "eval_rows", "labels", "said"),
    [
        ([("甲", "好", 30)], None, None, "has one class only (好)"),
        ([("甲", "好", 30), ("乙", "坏", 2)], None, None, "too few different texts: '坏' has 2; each class needs 5"),
        ([("甲", "好", 30), ("乙", "坏", 30)], None, ("好", "坏", "中"), "'中' has 0"),
        ([("甲", "好", 30), ("乙", "坏", 30)], None, ("好", "中"), "line 32: the label '坏' is not among 中, 好"),
        ([("甲", "好", 30), ("乙", "坏", 30)], [("丙", "中", 1)], None, "dev.csv: 1 bad line; nothing was done"),
    ],
)
def test_data_that_makes_no_classifier_is_refused(
    train: list, eval_rows: list | None, labels: tuple[str, ...] | None, said: str, tmp_path: Path
) -> None:
    def write(name: str, classes: list) -> Path:
        lines = [f"{number}{word}{number * 7}号,{label}" for word, label, count in classes for number in range(count)]
        (tmp_path / name).write_text("\n".join(["text,label", *lines]), encoding="utf-8")
        return tmp_path / name

    files = Files(write("train.csv", train), write("dev.csv", eval_rows) if eval_rows else None, labels=labels)
    with pytest.raises(SourceError) as raised:
        prepare(files, 0.1, 7, lambda tally: None)
    assert said in str(raised.value)
