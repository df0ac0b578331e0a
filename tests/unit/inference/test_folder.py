"""Finding model folders, and refusing those that are not what their manifest says."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from schemas.errors import ModelError
from tests.models import Home
from worker.inference.folder import check, find, list_models, shipped_home, size_bytes
from worker.inference.onnx_file import external_locations


def external(name: str, location: str) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph_with(tensor: onnx.TensorProto, where: str) -> onnx.ModelProto:
    """A graph that hides `tensor` in one of the places ONNX has for tensors."""
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    if where == "initializer":
        graph = helper.make_graph([helper.make_node("Identity", [tensor.name], ["y"])], "g", [], [output], [tensor])
    elif where == "attribute":
        graph = helper.make_graph([constant], "g", [], [output])
    elif where == "subgraph":
        branch = helper.make_graph([constant], "branch", [], [output])
        node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("c", TensorProto.BOOL, [])], [output])
    elif where == "sparse":
        graph = helper.make_graph([], "g", [], [output])
        graph.sparse_initializer.add(values=tensor, dims=[2])
    else:
        function = helper.make_function("own", "F", [], ["y"], [constant], [helper.make_opsetid("", 17)])
        graph = helper.make_graph([helper.make_node("F", [], ["y"], domain="own")], "g", [], [output])
        return helper.make_model(graph, functions=[function])
    return helper.make_model(graph)


def test_a_name_finds_its_newest_version_by_number(home):
    for version in ("1.9", "1.10", "1.10rc1"):
        home.add(version=version)
    assert home.path / "tiny" / "1.10" == find("tiny", [home.path])
    assert home.path / "tiny" / "1.9" == find("tiny/1.9", [home.path])


def test_an_earlier_home_hides_a_later_one(home, tmp_path):
    other = Home(tmp_path / "shipped")
    home.add(version="1")
    other.add(version="2")
    homes = [home.path, other.path]
    assert home.path / "tiny" / "1" == find("tiny", homes)
    assert other.path / "tiny" / "2" == find("tiny/2", homes)
    assert [listed.id for listed in list_models(homes)] == ["tiny/2", "tiny/1"]


@pytest.mark.parametrize("name", ["../tiny", "tiny/../../x", "/etc", "tiny/", "", "tiny/1/2", ".", "tiny\0", "tiny\\1"])
def test_a_name_never_leads_out_of_the_home(home, name):
    home.add()
    with pytest.raises(ModelError, match=r"no model name.*tiny/1"):
        find(name, [home.path])


def test_an_unknown_model_names_the_known(home):
    home.add("one")
    home.add("two", "3")
    with pytest.raises(ModelError, match=r"no model 'three'\. Known: one/1, two/3"):
        find("three", [home.path])
    with pytest.raises(ModelError, match="No model is in"):
        find("three", [home.path / "none"])


def test_a_folder_that_lies_about_its_name_is_refused(home):
    folder = home.add(name="honest")
    folder.parent.rename(home.path / "other")
    with pytest.raises(ModelError, match="it is honest/1"):
        find("other", [home.path])
    assert "honest/1" in list_models([home.path])[0].problem


def test_a_listing_shows_a_broken_folder_with_its_reason(home):
    home.add()
    broken = home.add("broken")
    (broken / "manifest.json").write_text("{")
    listed = {model.id: model for model in list_models([home.path])}
    assert listed["tiny/1"].problem == ""
    assert listed["broken/1"].manifest is None
    assert "manifest.json" in listed["broken/1"].problem


def test_a_good_folder_passes(home):
    folder = home.add()
    manifest = check(folder)
    assert manifest.id == "tiny/1"
    assert sum((folder / name).stat().st_size for name in manifest.files) == size_bytes(folder, manifest)


def test_the_shipped_home_stands_beside_the_packages():
    assert shipped_home().name == "models"
    assert (shipped_home().parent / "worker").is_dir()


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "neutral.npy"])
def test_a_changed_file_is_refused(home, name):
    folder = home.add()
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ModelError, match=rf"{name}: its sha256 is"):
        check(folder)


def test_a_missing_file_is_refused(home):
    folder = home.add()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json: No such file"):
        check(folder)


def test_an_unknown_manifest_field_is_refused_by_name(home):
    folder = home.add(surprise=1)
    with pytest.raises(ModelError, match="surprise"):
        check(folder)


def test_neutral_texts_without_a_sha256_are_refused(home):
    folder = home.add()
    content = json.loads((folder / "manifest.json").read_text())
    del content["files"]["neutral.npy"]
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"neutral\.npy: changes scores"):
        check(folder)


@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph", "sparse", "function"])
@pytest.mark.parametrize("location", ["../../secret", "/etc/hostname", "weights.bin", "*/_ORT_MEM_ADDR_/*", "a/b"])
def test_external_data_that_the_manifest_does_not_vouch_for_is_refused(home, where, location):
    folder = home.add()
    (folder / "model.onnx").write_bytes(graph_with(external("x", location), where).SerializeToString())
    home.sign(folder)
    with pytest.raises(ModelError, match="reads the external data"):
        check(folder)


def test_external_data_inside_the_folder_is_fine_when_its_sha256_is_given(home):
    folder = home.add()
    (folder / "model.onnx").write_bytes(graph_with(external("x", "neutral.npy"), "initializer").SerializeToString())
    home.sign(folder)
    assert check(folder).id == "tiny/1"


def test_a_file_without_external_data_names_none(home):
    assert frozenset() == external_locations(home.add() / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x3a\x7f", b"\x3a\x02\x0a", b"not an onnx file"])
def test_a_file_that_is_no_onnx_file_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        external_locations(path)


def test_graphs_nested_without_end_are_refused(tmp_path):
    # Given a graph in an attribute of a node of a graph ..., 200 deep
    def field(number: int, content: bytes) -> bytes:
        size = len(content)
        length = b""
        while size > 0x7F:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = b""
    for _ in range(200):
        graph = field(1, field(5, field(6, graph)))
    path = tmp_path / "model.onnx"
    path.write_bytes(field(7, graph))
    # when it is read, then it is refused instead of exhausting the stack
    with pytest.raises(ModelError, match="nested"):
        external_locations(path)


def test_the_walk_agrees_with_a_real_export(tmp_path):
    # Given a model that onnx itself saved with its weights outside
    weights = onnx.numpy_helper.from_array(np.ones(4_096, dtype=np.float32), "x")
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4_096])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [output], [weights])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    # when it is walked, then that file is named
    assert frozenset(["m.data"]) == external_locations(tmp_path / "m.onnx")
