"""Files that hold their model are read with the plugin alone: whichever way they are opened, and by both libraries.

Every script runs in a process of its own, as a model that was found once stays known to its process.
"""
import re
import shutil

import h5py
import numpy as np
import pytest

import tools

# Every script may use `expected`, and gets the paths after it.
START = """
expected = np.load(sys.argv[1])
def check(values):
    assert np.array_equal(values.view("u4"), expected.view("u4"))
"""


def client(script, expected, *arguments, **keywords):
    return tools.python_client(START + script, expected, *arguments, **keywords)


@pytest.fixture(scope="session")
def embedded(trained, spheres, tmp_path_factory):
    """A file with its model in it, the same without, and the decoded values. The network codes every patch."""
    folder = tmp_path_factory.mktemp("embedded")
    whole, bare, expected = folder / "whole.h5", folder / "bare.h5", folder / "expected.npy"
    flags = ["--none", "--model", trained[0], "--chunk", "16,64,64"]
    assert f"model {trained[1]}: embedded" in tools.sae("repack", spheres[0], whole, *flags).text
    assert "give it to readers" in tools.sae("repack", spheres[0], bare, "--no-embed", *flags).text
    script = "np.save(sys.argv[2], h5py.File(sys.argv[1])['frames'][...])"
    tools.python_client(script, bare, expected, H5Z_SAE_MODEL_PATH=str(trained[2]))
    return whole, bare, expected


def test_plugin_alone_reads_it_in_both_libraries(embedded, tmp_path):
    whole, _, expected = embedded
    client("check(h5py.File(sys.argv[2])['frames'][...])", expected, whole)
    values = tools.h5dump_array(whole, "/frames", "<f4", (64, 64, 64), tmp_path)
    assert np.array_equal(tools.bits(values), tools.bits(np.load(expected)))


@pytest.mark.parametrize("opened", [
    "h5py.File(path, 'r')",
    "h5py.File(path, 'r+')",
    "h5py.File(path, 'r', swmr=True)",
    "h5py.File(path, 'r', driver='core')",
    "h5py.File(io.BytesIO(open(path, 'rb').read()), 'r')",
    "h5py.File(path, 'r', rdcc_nbytes=0)",
    "h5py.File(path, 'r', libver='latest', locking=False)",
    "h5py.File(h5py.h5f.open(path.encode(), h5py.h5f.ACC_RDONLY))",
])
def test_every_way_of_opening_finds_it(embedded, tmp_path, opened):
    path = shutil.copy(embedded[0], tmp_path / "x.h5")
    client(f"import io; path = sys.argv[2]; f = {opened}; check(f['frames'][...]); check(f['frames'][...])",
           embedded[2], path)


def test_a_dataset_alone_keeps_its_file_findable(embedded):
    """The file's identifier is gone, with the weak close degree that C programs get by default."""
    client("""
fapl = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
fapl.set_fclose_degree(h5py.h5f.CLOSE_WEAK)
f = h5py.h5f.open(sys.argv[2].encode(), h5py.h5f.ACC_RDONLY, fapl=fapl)
dataset = h5py.Dataset(h5py.h5d.open(f, b"/frames"))
f.close()
assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0
check(dataset[...])
""", embedded[2], embedded[0])


def test_external_links_lead_to_the_model_of_their_file(embedded, tmp_path):
    client("""
with h5py.File("master.h5", "w") as f:
    f["x"] = h5py.ExternalLink(sys.argv[2], "/frames")
f = h5py.File("master.h5")
dataset = f["x"]
check(dataset[...])
""".replace('"master.h5"', repr(str(tmp_path / "master.h5"))), embedded[2], embedded[0])


MASTER = """
def write_master(path, source):
    layout = h5py.VirtualLayout((64, 64, 64), "<f4")
    layout[...] = h5py.VirtualSource(source, "frames", (64, 64, 64))
    with h5py.File(path, "w") as f:
        f.create_virtual_dataset("v", layout)
master, whole, bare, model, model_file = sys.argv[2:]
write_master(master, whole)
"""


@pytest.mark.parametrize("read", [
    "check(h5py.File(master)['v'][...])",
    "check(h5py.File(master, 'r+')['v'][...])",
    "check(h5py.File(master, swmr=True)['v'][...])",
    "s = h5py.File(whole); check(h5py.File(master)['v'][...])",
    "s = h5py.File(whole, 'r', driver='core'); write_master(master, bare); check(h5py.File(master)['v'][...])",
    "write_master(master, bare)\n"
    "with h5py.File(master, 'r+') as f:\n"
    "    f['/_h5z_sae/models/' + model] = np.void(open(model_file, 'rb').read())\n"
    "check(h5py.File(master)['v'][...])",
], ids=["source alone", "source alone, read-write", "source alone, SWMR", "source open", "another file open",
        "in the master"])
def test_virtual_datasets_find_the_model(embedded, trained, tmp_path, read):
    """Their sources have no identifier; the model may lie in one, in the master, or in any file that is open."""
    whole = shutil.copy(embedded[0], tmp_path / "source.h5")
    client(MASTER + read, embedded[2], tmp_path / "master.h5", whole, embedded[1], trained[1], trained[0])


def test_h5dump_reads_virtual_datasets_by_descriptors(embedded, trained, tmp_path):
    whole = shutil.copy(embedded[0], tmp_path / "source.h5")
    client(MASTER, embedded[2], tmp_path / "master.h5", whole, embedded[1], trained[1], trained[0])
    values = tools.h5dump_array(tmp_path / "master.h5", "/v", "<f4", (64, 64, 64), tmp_path)
    assert np.array_equal(tools.bits(values), tools.bits(np.load(embedded[2])))


def test_virtual_datasets_without_any_model_say_so(embedded, trained, tmp_path):
    done = client(MASTER + "write_master(master, bare); h5py.File(master)['v'][...]",
                  embedded[2], tmp_path / "master.h5", embedded[0], embedded[1], trained[1], trained[0],
                  check=False)
    assert done.returncode != 0
    assert f"model {trained[1]} was not found" in done.text and "master.h5: no such object" in done.text


def test_a_dataset_copied_alone_names_model_and_remedy(embedded, trained, tmp_path):
    """h5copy, and h5py's copy, move chunks and leave the model behind."""
    by_tool, by_h5py = tmp_path / "tool.h5", tmp_path / "h5py.h5"
    tools.run("h5copy", "-i", embedded[0], "-o", by_tool, "-s", "/frames", "-d", "/frames")
    with h5py.File(embedded[0]) as source, h5py.File(by_h5py, "w") as target:
        source.copy("frames", target)
    read = "print(h5py.File(sys.argv[2])['frames'][0, 0, 0])"
    for copy in (by_tool, by_h5py):
        done = client(read, embedded[2], copy, check=False)
        assert done.returncode != 0
        for part in (f"model {trained[1]} was not found", f"{copy.name}: no such object", "sae embed FILE"):
            assert part in done.text, f"{part} is missing in {done.text[-3000:]}"
        dumped = tools.run("h5dump", "--enable-error-stack", "-d", "/frames", copy, check=False)
        assert dumped.returncode != 0 and "sae embed FILE" in dumped.text
    # While the file that it came from is open too, the copy can be read: the model is looked for in all of them.
    client("f = h5py.File(sys.argv[3]); check(h5py.File(sys.argv[2])['frames'][...])",
           embedded[2], by_h5py, embedded[0])
    # The remedy, as the message gives it.
    assert "named by /frames" in tools.sae("embed", by_tool, trained[0]).text
    client("check(h5py.File(sys.argv[2])['frames'][...])", embedded[2], by_tool)


def test_many_threads_and_a_forked_child_find_it(embedded):
    client("""
import concurrent.futures, os
def read(i):
    with h5py.File(sys.argv[2]) as f:
        return f["frames"][i]
child = os.fork()
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    check(np.stack(list(pool.map(read, range(64)))))
if child == 0:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""", embedded[2], embedded[0], H5Z_SAE_NUM_THREADS="2")


DEBIAN = """
import ctypes
class Debian:
    '''The same dataset through Debian's HDF5 1.10.8 in this process, beside that of h5py.'''
    def __init__(self, library):
        self.h5 = ctypes.CDLL(library)
        for name in ("H5Fopen", "H5Dopen2", "H5Dget_type"):
            getattr(self.h5, name).restype = ctypes.c_int64
        self.h5.H5open()
    def read(self, path):
        h5, default = self.h5, ctypes.c_int64(0)
        file = h5.H5Fopen(path.encode(), 0, default)
        dataset = h5.H5Dopen2(ctypes.c_int64(file), b"/frames", default)
        values = np.empty((64, 64, 64), "<f4")
        memory = ctypes.c_int64(h5.H5Dget_type(ctypes.c_int64(dataset)))
        n_open = h5.H5Fget_obj_count(ctypes.c_int64(0x1f), 0x1f)
        to = ctypes.c_void_p(values.ctypes.data)
        status = h5.H5Dread(ctypes.c_int64(dataset), memory, default, default, default, to)
        assert h5.H5Fget_obj_count(ctypes.c_int64(0x1f), 0x1f) == n_open, "identifiers were left behind"
        assert h5.H5Dclose(ctypes.c_int64(dataset)) == 0 and h5.H5Fclose(ctypes.c_int64(file)) == 0
        return values if status == 0 else None
debian, whole = Debian(sys.argv[2]), sys.argv[3]
"""


@pytest.mark.parametrize("script", [
    "check(debian.read(whole)); check(h5py.File(whole)['frames'][...])",
    "check(h5py.File(whole)['frames'][...]); check(debian.read(whole))",
    # The file that h5py has open is known to Debian's library by its descriptor alone.
    "f = h5py.File(whole); check(debian.read(sys.argv[4])); check(f['frames'][...])",
    "assert debian.read(sys.argv[4]) is None; check(h5py.File(whole)['frames'][...])",
], ids=["Debian's first", "h5py's first", "by descriptor", "one has no model"])
def test_two_libraries_in_one_process_are_each_asked_themselves(embedded, script):
    libraries = tools.run("ldd", shutil.which("h5dump")).stdout
    library = re.search(r"=> (\S*libhdf5_serial\.so\S*)", libraries).group(1)
    client(DEBIAN + script, embedded[2], library, *embedded[:2])
