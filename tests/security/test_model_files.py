"""Model folders made to harm whoever loads them: each is refused before ONNX Runtime sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper

from schemas.errors import ModelError
from tests.conftest import ROOT
from tests.models import Home
from worker.inference.encoder import read_neutral
from worker.inference.folder import check, find
from worker.inference.onnx_file import external_locations
from worker.inference.tokenizer import TextTokenizer

LOCATIONS = ["/etc/passwd", "../outside.bin", "a/../../outside.bin", "..\\outside.bin", "C:\\Windows\\win.ini",
             "*/_ORT_MEM_ADDR_/*", "file:///etc/passwd", "MODEL.ONNX", "./model.onnx", "inside.bin\0", ""]  # fmt: skip


def tensor(location: str) -> TensorProto:
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    pair = made.external_data.add()
    pair.key, pair.value = "location", location
    return made


def graph(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [])


def model(location: str) -> ModelProto:
    made = helper.make_model(graph(), ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    made.graph.initializer.append(tensor(location))
    return made


def in_an_initializer(made: ModelProto, location: str) -> None:
    made.graph.initializer.append(tensor(location))


def in_a_sparse_initializer(made: ModelProto, location: str) -> None:
    made.graph.sparse_initializer.add().indices.CopyFrom(tensor(location))


def in_a_constant(made: ModelProto, location: str) -> None:
    made.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor(location)))


def in_a_list_of_tensors(made: ModelProto, location: str) -> None:
    made.graph.node.add(op_type="X").attribute.append(
        AttributeProto(name="t", type=AttributeProto.TENSORS, tensors=[tensor(location)])
    )


def in_a_sparse_attribute(made: ModelProto, location: str) -> None:
    attribute = made.graph.node.add(op_type="Constant").attribute.add(name="sparse_value")
    attribute.sparse_tensor.values.CopyFrom(tensor(location))


def in_a_branch_of_a_branch(made: ModelProto, location: str) -> None:
    inner = graph(helper.make_node("Constant", [], ["c"], value=tensor(location)))
    outer = graph(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=graph()))
    made.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=graph(), else_branch=outer))


def in_a_function(made: ModelProto, location: str) -> None:
    made.functions.add(name="f", domain="d").node.append(
        helper.make_node("Constant", [], ["c"], value=tensor(location))
    )


def in_a_functions_default(made: ModelProto, location: str) -> None:
    made.functions.add(name="f", domain="d").attribute_proto.append(helper.make_attribute("a", tensor(location)))


def in_training(made: ModelProto, location: str) -> None:
    made.training_info.add().algorithm.initializer.append(tensor(location))


NO_TOKENIZERS = [
    "[" * 100_000,
    '{"model": ' * 100_000,
    '{"model": {"type": "BPE", "merges": ' + "[" * 50_000,
    "[]",
    "1",
    "",
]
NO_NAMES = ["..", "../tiny", "tiny/..", "tiny/../../x", "/etc", "tiny/1/..", "tiny\0", "tiny/1\n", ".hidden", "a" * 200,
            "tiny//1", "％2e％2e", "tiny/1/model.onnx"]  # fmt: skip
PLACES = [in_an_initializer, in_a_sparse_initializer, in_a_constant, in_a_list_of_tensors, in_a_sparse_attribute,
          in_a_branch_of_a_branch, in_a_function, in_a_functions_default, in_training]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "models")


def signed(home: Home, content: bytes) -> Path:
    """A folder whose manifest vouches for this graph."""
    folder = home.add()
    (folder / "model.onnx").write_bytes(content)
    home.sign(folder)
    return folder


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_data_outside_the_folder_is_found_wherever_it_is_named(
    home: Home, place: Callable[[ModelProto, str], None]
) -> None:
    # Given a good model, in which one tensor more lies outside
    made = onnx.load(home.add("other") / "model.onnx")
    place(made, "../outside.bin")
    # Then the folder is refused, although its manifest has the graph's sha256
    with pytest.raises(ModelError, match=r"\.\./outside\.bin"):
        check(signed(home, made.SerializeToString()))


@pytest.mark.parametrize("location", LOCATIONS, ids=range(len(LOCATIONS)))
def test_no_spelling_of_a_place_outside_is_let_in(home: Home, location: str) -> None:
    with pytest.raises(ModelError, match="no file of the manifest"):
        check(signed(home, model(location).SerializeToString()))


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        (b"\xba\x80\x80\x80\x10", "over 32 bits"),  # protobuf drops bit 33 and up, and reads the graph
        (b"\xba\x80\x80\x80\x70", "over 32 bits"),
        (b"\xba\x80\x80\x80\x80\x80\x80\x80\x80\x01", "over 32 bits"),
        (b"\xba\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "over 64 bits"),
        (b"\xba\x80\x80\x80\x00", "/etc/passwd"),  # only long-winded: read, and what it names is refused
    ],
    ids=range(5),
)
def test_a_field_that_protobuf_reads_otherwise_hides_nothing(home: Home, tag: bytes, said: str) -> None:
    # Given a graph whose field has a tag that is longer than it need be
    body = model("/etc/passwd").graph.SerializeToString()
    length = bytes([len(body) & 127 | 128, len(body) >> 7])
    with pytest.raises(ModelError, match=said):
        check(signed(home, b"\x08\x08" + tag + length + body + b"\x42\x02\x10\x11"))


def test_onnx_runtime_is_not_asked_about_what_was_refused(home: Home, tmp_path: Path) -> None:
    # Given a process that may load onnxruntime, and a folder with data outside
    folder = signed(home, model("../outside.bin").SerializeToString())
    script = (
        "import sys; from pathlib import Path; from worker.inference.folder import check\n"
        "from schemas.errors import ModelError\n"
        "try: check(Path(sys.argv[1]))\n"
        "except ModelError: print('onnxruntime' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, folder], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "False\n" == done.stdout


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "..\\b"])
def test_a_manifest_vouches_for_no_file_outside(home: Home, name: str) -> None:
    folder = home.add()
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["files"][name] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="points outside the folder"):
        check(folder)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["fifo", "device"])
def test_a_file_that_never_ends_is_no_file_of_a_model(home: Home, make: Callable[[Path], None]) -> None:
    folder = home.add()
    (folder / "model.onnx").unlink()
    make(folder / "model.onnx")
    with pytest.raises(ModelError, match="is no file"):
        check(folder)


@pytest.mark.parametrize("name", NO_NAMES, ids=range(len(NO_NAMES)))
def test_no_name_of_a_model_is_a_path(home: Home, name: str) -> None:
    home.add()
    with pytest.raises(ModelError):
        find(name, [home.path])


def test_an_array_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    # Given an array file of objects, which only pickle can read, and one that claims to be huge
    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    pickled, huge = tmp_path / "pickled.npy", tmp_path / "huge.npy"
    np.save(pickled, np.array([Evil()], dtype=object), allow_pickle=True)
    with huge.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)})
    # Then neither is read
    for path in (pickled, huge):
        with pytest.raises(ModelError, match="cannot be read as an array"):
            read_neutral(path, 4)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", NO_TOKENIZERS, ids=range(len(NO_TOKENIZERS)))
def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ModelError, match="is no tokenizer"):
        TextTokenizer.load(path)


def test_the_walk_costs_no_more_than_the_file_is_long(tmp_path: Path) -> None:
    # A million fields without content: no recursion, nothing kept.
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x3a\x00" * 1_000_000)
    assert frozenset() == external_locations(path)
