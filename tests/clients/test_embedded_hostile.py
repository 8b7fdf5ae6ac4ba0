"""What else may lie where a file's model is expected: every time a sentence that says so, and nothing is followed."""
import h5py
import numpy as np
import pytest

import tools

# Puts something under the model's name into a file that needs it, and reads the file.
SCRIPT = """
path, model_file, model, other = sys.argv[1:]
place = "/_h5z_sae/models/" + model
content = open(model_file, "rb").read()
with h5py.File(path, "r+") as f:
    {put}
before = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_ALL)
f = h5py.File(path)
try:
    f["frames"][...]
except OSError as error:
    print(error)
f.close()
assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_ALL) == before
"""


@pytest.fixture(scope="session")
def bare(trained, spheres, tmp_path_factory):
    """A file that needs the model and does not hold it."""
    path = tmp_path_factory.mktemp("bare") / "bare.h5"
    tools.sae("repack", spheres[0], path, "--none", "--no-embed", "--model", trained[0])
    return path


@pytest.mark.parametrize("put, sentence", [
    ("f[place] = np.void(content[:-1] + b'x')", "its content has the id"),
    ("f[place] = np.void(content[:1000])", "its content has the id"),
    ("f[place] = np.frombuffer(content, 'u1')", "it is an ordinary dataset"),
    ("f.create_dataset(place, data=np.frombuffer(content, 'u1'), chunks=(4096,), compression=34222,"
     " compression_opts=(0, 0, 0, 0, 0, 0, 0))", "it is an ordinary dataset"),
    ("f.create_dataset(place, data=np.array([np.void(content)]), chunks=(1,))", "it is an ordinary dataset"),
    ("f.create_dataset(place, (), 'V1000')", "0 of its 1000 bytes are stored"),
    ("f.create_dataset(place, (), 'V600000000')", "it has 600000000 bytes: expected 536870912 at most"),
    ("from h5py import h5d, h5p, h5s, h5t; f.create_group('/_h5z_sae/models');"
     " plist = h5p.create(h5p.DATASET_CREATE); plist.set_external(model_file.encode(), 0, len(content));"
     " opaque = h5t.create(h5t.OPAQUE, len(content));"
     " h5d.create(f.id, place.encode(), opaque, h5s.create(h5s.SCALAR), plist)",
     "it is stored in chunks or in other files"),
    ("f.create_group(place)", "it is no dataset"),
    ("f['elsewhere'] = np.void(content); f.require_group('/_h5z_sae/models'); f[place] = h5py.SoftLink('/elsewhere')",
     "is a link to somewhere else"),
    ("f.create_group('/_h5z_sae/models'); f[place] = h5py.ExternalLink(other, place)", "is a link to somewhere else"),
    ("f['/_h5z_sae'] = h5py.ExternalLink(other, '/_h5z_sae')", "/_h5z_sae is a link to somewhere else"),
], ids=["other content", "cut off", "bytes", "behind our own filter", "one opaque value in a chunk", "not written",
        "too large", "in another file", "a group", "a soft link", "an external link", "an external group"])
def test_what_is_not_the_model_is_told_and_not_followed(trained, bare, tmp_path, put, sentence):
    path, other = tmp_path / "x.h5", tmp_path / "other.h5"
    path.write_bytes(bare.read_bytes())
    other.write_bytes(bare.read_bytes())
    tools.sae("embed", other, trained[0])
    done = tools.python_client(SCRIPT.format(put=put), path, trained[0], trained[1], other)
    assert f"model {trained[1]} was not found" in done.text and sentence in done.text, done.text


def test_sae_tells_a_damaged_model_and_puts_the_right_one_in_its_place(trained, bare, tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(bare.read_bytes())
    place = f"/_h5z_sae/models/{trained[1]}"
    with h5py.File(path, "r+") as f:
        f[place] = np.void(b"no model")
    assert "its content has the id" in tools.sae("info", path).stdout
    done = tools.sae("extract", path, "-o", tmp_path / "x.sae", check=False)
    assert done.returncode == 2 and place in done.text and not (tmp_path / "x.sae").exists()
    tools.sae("embed", path, trained[0])
    tools.sae("extract", path, "-o", tmp_path / "x.sae")
    assert (tmp_path / "x.sae").read_bytes() == trained[0].read_bytes()


def test_a_second_open_file_has_the_model_where_the_first_holds_a_forgery(trained, bare, tmp_path):
    forged, good = tmp_path / "forged.h5", tmp_path / "good.h5"
    for path in (forged, good):
        path.write_bytes(bare.read_bytes())
    with h5py.File(forged, "r+") as f:
        f[f"/_h5z_sae/models/{trained[1]}"] = np.void(b"no model")
    tools.sae("embed", good, trained[0])
    tools.python_client("""
f, g = h5py.File(sys.argv[1]), h5py.File(sys.argv[2])
assert np.array_equal(f["frames"][...], g["frames"][...]) and f["frames"][...].any()
""", forged, good)


def test_files_with_different_models_are_open_at_once(trained, bare, spheres, tmp_path):
    first, second, other = tmp_path / "first.h5", tmp_path / "second.h5", tmp_path / "other.sae"
    first.write_bytes(bare.read_bytes())
    tools.sae("embed", first, trained[0])
    tools.sae("train", f"{spheres[0]}:/frames", "-o", other, "--patch", "64x64", "--components", "8", "--hidden", "8",
              "--latent", "16", "--batch", "32", "--steps", "4", "--seed", "2")
    tools.sae("repack", spheres[0], second, "--abs", "1e-2", "--chunk", "16,64,64", "--model", other, "--embed")
    done = tools.python_client("""
f, g = h5py.File(sys.argv[1]), h5py.File(sys.argv[2])
original = h5py.File(sys.argv[3])["frames"][...]
for i in range(0, 64, 8):
    assert np.abs(g["frames"][i] - original[i]).max() <= 1e-2
    assert f["frames"][i].any()
print(*f["/_h5z_sae/models"], *g["/_h5z_sae/models"])
""", first, second, spheres[0])
    assert len(set(done.stdout.split())) == 2


WRITE = """
f = h5py.File(sys.argv[1], sys.argv[2])
{before}
d = f.create_dataset("new", data=np.load(sys.argv[3]), chunks=(16, 64, 64), compression=34222,
                     compression_opts=tuple(map(int, sys.argv[4].split(","))))
{after}
"""


@pytest.mark.parametrize("after", ["f.close()", "f.flush(); f.close()", "", "del d, f"],
                         ids=["close", "flush", "exit", "forget"])
@pytest.mark.parametrize("mode", ["r+", "w"])
def test_h5py_writes_with_the_model_in_the_file(trained, bare, spheres, tmp_path, mode, after):
    """Into a file that holds it, and into one that got it a moment ago and was not flushed."""
    path, values = tmp_path / "x.h5", tmp_path / "values.npy"
    path.write_bytes(bare.read_bytes())
    tools.sae("embed", path, trained[0])
    np.save(values, spheres[1])
    place = f"/_h5z_sae/models/{trained[1]}"
    before = f"f[{place!r}] = np.void(open({str(trained[0])!r}, 'rb').read())" if mode == "w" else ""
    words = ",".join(map(str, tools.filter_values("--abs", "1e-2", "--model", trained[0])))
    tools.python_client(WRITE.format(before=before, after=after), path, mode, values, words)
    out = tmp_path / "out.npy"
    tools.python_client("np.save(sys.argv[2], h5py.File(sys.argv[1])['new'][...])", path, out)
    assert tools.max_abs_err(spheres[1], np.load(out)) <= 1e-2
    assert tools.stored_filters(path, "new") == [tools.FILTER_ID]


def test_h5py_refuses_to_write_without_the_model(trained, spheres, tmp_path):
    """h5py makes filters optional, which would store the values as they are: the filter says no before that."""
    values = tmp_path / "values.npy"
    np.save(values, spheres[1][:16])
    words = ",".join(map(str, tools.filter_values("--abs", "1e-2", "--model", trained[0])))
    done = tools.python_client(WRITE.format(before="", after="f.close()"), tmp_path / "x.h5", "w", values, words,
                               check=False)
    assert done.returncode != 0 and f"model {trained[1]} was not found" in done.text
    assert "x.h5: no such object" in done.text


def test_an_optional_filter_without_its_model_stores_the_values_as_they_are(trained, bare, spheres, tmp_path):
    """HDF5 goes on without an optional filter that fails, and h5py makes every filter optional: nothing is lost, and
    the chunk is counted. The dataset was created where the model was at hand."""
    path, values = tmp_path / "x.h5", tmp_path / "values.npy"
    np.save(values, spheres[1][:16])
    words = ",".join(map(str, tools.filter_values("--abs", "1e-2", "--model", trained[0])))
    create = WRITE.format(before="", after="f.close()").replace("data=np.load(sys.argv[3])", "shape=(16, 64, 64)")
    tools.python_client(create, path, "w", values, words, H5Z_SAE_MODEL_PATH=str(trained[2]))
    tools.python_client("""
with h5py.File(sys.argv[1], "r+") as f:
    f["new"][...] = np.load(sys.argv[2])
with h5py.File(sys.argv[1]) as f:
    assert np.array_equal(f["new"][...], np.load(sys.argv[2]))
""", path, values)
    with h5py.File(path) as f:
        assert f["new"].id.get_chunk_info(0).filter_mask == 1
    assert "unfiltered_chunks: 1" in tools.sae("info", path).stdout


def test_one_model_in_two_open_files_is_read_from_either(trained, bare, tmp_path):
    """Also when the file that gave it is closed, and its library has forgotten every object of it."""
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    for path in (first, second):
        path.write_bytes(bare.read_bytes())
        tools.sae("embed", path, trained[0])
    tools.python_client("""
f, g = h5py.File(sys.argv[1]), h5py.File(sys.argv[2])
values = f["frames"][...]
f.close()
assert values.any() and np.array_equal(g["frames"][...], values)
g.close()
with h5py.File(sys.argv[1]) as f:
    assert np.array_equal(f["frames"][...], values)
""", first, second)
