"""Model folders with every file damaged, its sha256 as it is then: refused with the reason, or a model that works.

They are loaded and asked by a process of their own, with bounds on its memory and time: it must not die, nor hang.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ModelError
from schemas.manifest import MANIFEST_FILE, MODEL_FILE, NEUTRAL_FILE, TOKENIZER_FILE, read_manifest
from tests.fuzz.budget import examples
from tests.fuzz.loading import Answer, Loader
from tests.fuzz.mutations import mutated_bytes, mutated_json
from tests.models import Home

MOST_PEAK_MB = 1_024


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    loader.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(Path(tmp_path_factory.mktemp("models")))
    home.add("tiny")
    home.add_nli()
    return home


def tried(loader: Loader, home: Home, name: str, file: str, content: bytes) -> Answer:
    """What becomes of a folder one of whose files is another; it is whole again afterwards."""
    folder = home.path / name / "1"
    kept = {each: (folder / each).read_bytes() for each in (file, MANIFEST_FILE)}
    try:
        (folder / file).write_bytes(content)
        if file != MANIFEST_FILE:
            home.sign(folder)
        return loader.load(folder)
    finally:
        for each, before in kept.items():
            (folder / each).write_bytes(before)


def check(answer: Answer) -> None:
    """Loaded, refused with a reason, or sound enough to load and no good for these texts: and no more than that."""
    assert answer.end in {"loaded", "refused", "failed"}, answer
    assert answer.end == "loaded" or answer.said
    assert answer.peak_mb < MOST_PEAK_MB, answer


@pytest.mark.parametrize("name", ["tiny", "pairs"])
@given(data=st.data())
@examples(40)
def test_a_changed_manifest_is_refused_or_right(loader: Loader, home: Home, name: str, data: st.DataObject) -> None:
    manifest = json.loads((home.path / name / "1" / MANIFEST_FILE).read_bytes())
    changed = data.draw(mutated_json(manifest))
    answer = tried(loader, home, name, MANIFEST_FILE, json.dumps(changed).encode())
    check(answer)
    assert "failed" != answer.end, answer


@given(data=st.data())
@examples(40)
def test_the_bytes_of_a_manifest_are_refused_with_a_field(home: Home, tmp_path: Path, data: st.DataObject) -> None:
    content = (home.path / "tiny" / "1" / MANIFEST_FILE).read_bytes()
    (tmp_path / MANIFEST_FILE).write_bytes(data.draw(mutated_bytes(content)))
    try:
        read_manifest(tmp_path)
    except ModelError as error:
        assert str(error).startswith(f"{tmp_path / MANIFEST_FILE}: ")


@pytest.mark.parametrize("name", ["tiny", "pairs"])
@given(data=st.data())
@examples(40)
def test_a_changed_tokenizer_is_refused_or_works(loader: Loader, home: Home, name: str, data: st.DataObject) -> None:
    content = (home.path / name / "1" / TOKENIZER_FILE).read_bytes()
    parts = mutated_json(json.loads(content)).map(lambda value: json.dumps(value).encode())
    changed = data.draw(st.one_of(parts, mutated_bytes(content)))
    check(tried(loader, home, name, TOKENIZER_FILE, changed))


@pytest.mark.parametrize("name", ["tiny", "pairs"])
@given(data=st.data())
@examples(80)
def test_a_damaged_graph_is_refused_or_works(loader: Loader, home: Home, name: str, data: st.DataObject) -> None:
    content = (home.path / name / "1" / MODEL_FILE).read_bytes()
    check(tried(loader, home, name, MODEL_FILE, data.draw(mutated_bytes(content))))


@given(data=st.data())
@examples(40)
def test_damaged_centring_is_refused_or_works(loader: Loader, home: Home, data: st.DataObject) -> None:
    content = (home.path / "tiny" / "1" / NEUTRAL_FILE).read_bytes()
    check(tried(loader, home, "tiny", NEUTRAL_FILE, data.draw(mutated_bytes(content))))


HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1, 8), }",
    "{'descr': [('a', '<f4', (8,))], 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<c8', 'fortran_order': False, 'shape': (5, 8), }",
    "{'descr': '<U8', 'fortran_order': False, 'shape': (5, 8), }",
    "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (5, 8), }",
    "(" * 5_000,
    "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 200 + ")" * 200 + ", }",
)


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_centring_that_claims_what_it_is_not_is_refused(loader: Loader, home: Home, header: str) -> None:
    line = header.encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + b"\0" * 640
    answer = tried(loader, home, "tiny", NEUTRAL_FILE, content)
    check(answer)
    assert "refused" == answer.end
    assert NEUTRAL_FILE in answer.said


def test_a_device_in_the_place_of_a_file_is_refused(loader: Loader, home: Home, tmp_path: Path) -> None:
    folder = home.path / "tiny" / "1"
    other = tmp_path / "tiny" / "1"
    other.mkdir(parents=True)
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / NEUTRAL_FILE).unlink()
    (other / NEUTRAL_FILE).symlink_to("/dev/zero")
    answer = loader.load(other)
    assert "refused" == answer.end
    assert "is no file" in answer.said
