"""Small files that hold gigabytes: read in a child that may take only so much memory."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from pathlib import Path

import httpx2
import pyarrow as pa
import pytest
from pyarrow import parquet

from schemas.errors import SourceError
from tests.conftest import ROOT, environment

MOST_MB = 300
"""What a child may take in all over what it takes to import everything: far less than any of the files would."""

# RLIMIT_AS counts what is mapped, not what is used: so from what the imports have mapped, upwards.
_READ = """
import resource, sys
import pyarrow.parquet
from producers.sources import Source, Row
from schemas.errors import SourceError
mapped_kb = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1])
resource.setrlimit(resource.RLIMIT_AS, (mapped_kb * 1024 + int(sys.argv[2]) * 1_000_000,) * 2)
rows = 0
try:
    with Source(sys.argv[1]) as source:
        for row in source:
            rows += 1
            if rows == int(sys.argv[3]):
                break
    print(rows, "read")
except SourceError as error:
    print(rows, str(error)[:200])
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds memory by RLIMIT_AS")


def read_in_child(path: Path, most_rows: int = 1_000) -> str:
    """How many rows were read, and how it ended."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, path, str(MOST_MB), str(most_rows)], cwd=ROOT, env=environment(),
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr[-2_000:])
    return done.stdout


def packed(path: Path, line: bytes, times: int) -> Path:
    """`line` so many times in gzip, a thousandth of its size."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(times):
            file.write(line)
    assert path.stat().st_size < len(line) * times / 500
    return path


@linux
def test_a_gigabyte_of_one_line_in_gzip_is_read_past(tmp_path: Path) -> None:
    # Given 400 MB without an end of line in less than a megabyte
    bomb = packed(tmp_path / "bomb.txt.gz", b"x" * 10_000_000, 40)
    # Then it is one row that cannot be read
    assert "1 read\n" == read_in_child(bomb)


@linux
@pytest.mark.parametrize(("name", "header"), [("bomb.csv.gz", b"text\n"), ("bomb.jsonl.gz", b"")], ids=["csv", "jsonl"])
def test_a_gigabyte_of_rows_in_gzip_is_read_row_by_row(tmp_path: Path, name: str, header: bytes) -> None:
    line = b"x" * 900_000 if header else b'{"text": "' + b"x" * 900_000 + b'"}'
    path = packed(tmp_path / name, header + (line + b"\n") * 20, 20)
    rows = int(read_in_child(path).split()[0])
    assert 400 <= rows <= 420  # every header but the first is a row, too


@linux
def test_a_value_that_every_row_of_a_parquet_file_refers_to_is_not_multiplied(tmp_path: Path) -> None:
    # Given 2,000 rows that refer to one value of 4 MB: 8 GB in 600 bytes
    value = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000, pa.int32()), pa.array(["x" * 4_000_000]))
    path = tmp_path / "bomb.parquet"
    parquet.write_table(pa.table({"text": value}), path, compression="zstd", dictionary_pagesize_limit=1 << 30)
    assert path.stat().st_size < 2_000
    # Then the rows come, few at a time
    assert "100 read\n" == read_in_child(path, 100)


@linux
@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_a_page_that_unpacks_to_hundreds_of_megabytes_is_refused(tmp_path: Path, encoding: str) -> None:
    # Given 15 values of 10 MB before many small ones, so that the mean is small; each differs where it begins
    texts = [f"{number}" + "x" * 10_000_000 for number in range(15)] + ["y"] * 50_000
    path = tmp_path / "bomb.parquet"
    parquet.write_table(
        pa.table({"text": pa.array(texts, pa.large_string())}), path, compression="zstd", use_dictionary=False,
        column_encoding=encoding, data_page_size=1 << 30,
    )  # fmt: skip
    assert path.stat().st_size < 1_000_000
    assert "bytes unpacked; at most" in read_in_child(path)


@linux
def test_values_that_repeat_the_one_before_are_not_multiplied(tmp_path: Path) -> None:
    # Given 200 values of 3 MB, each the same as the one before: 600 MB in a page of 3
    path = tmp_path / "bomb.parquet"
    schema = pa.schema({"text": pa.string()})
    with parquet.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"
    ) as file:
        file.write_table(pa.table({"text": ["x" * 3_000_000] * 200}, schema), row_group_size=200)
    assert path.stat().st_size < 2_000_000
    answer = read_in_child(path)
    assert "200 read\n" == answer or "bytes a row" in answer


@linux
def test_a_list_of_millions_in_one_row_is_refused(tmp_path: Path) -> None:
    many = pa.ListArray.from_arrays(pa.array([0, 30_000_000], pa.int32()), pa.nulls(30_000_000, pa.int32()))
    path = tmp_path / "bomb.parquet"
    parquet.write_table(pa.table({"text": ["a"], "more": many}), path, compression="zstd")
    assert path.stat().st_size < 5_000
    assert "are too long" in read_in_child(path)


@pytest.mark.parametrize("at", range(4, 40, 5))
def test_a_page_header_that_lies_ends_in_a_reason(tmp_path: Path, at: int) -> None:
    # Given a good file, in whose first page header one byte is another
    from producers.sources import Source

    path = tmp_path / "torn.parquet"
    parquet.write_table(pa.table({"text": ["a", "b"], "id": ["1", "2"]}), path)
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    # Then it is read, or refused with a reason
    with Source(str(path)) as source:
        try:
            list(source)
        except SourceError as error:
            assert "torn.parquet" in str(error)


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04rest", b"\xfd7zXZ\x00rest", b"BZh91AY&SYrest"], ids=["zip", "xz", "bzip2"]
)
@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl"])
def test_no_other_archive_is_unpacked(tmp_path: Path, content: bytes, suffix: str) -> None:
    from producers.sources import Row, Source

    path = tmp_path / f"archive.{suffix}"
    path.write_bytes(content)
    with Source(str(path)) as source:
        try:
            rows = list(source)
        except SourceError:
            return
    assert all(len(str(row["text"])) <= len(content) for row in rows if isinstance(row, Row))


def test_a_packed_body_is_not_unpacked(address: str) -> None:
    # Given 50 MB in 50 kB, said to be packed
    body = io.BytesIO()
    with gzip.GzipFile(fileobj=body, mode="wb") as file:
        file.write(b'{"text": "' + b"x" * 50_000_000 + b'"}')
    # When it is posted
    answer = httpx2.post(
        f"{address}/v1/predict", content=body.getvalue(),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}, timeout=30,
    )  # fmt: skip
    # Then it is no JSON as it is
    assert (400, "urn:fenliu:problem:invalid-json") == (answer.status_code, answer.json()["type"])
