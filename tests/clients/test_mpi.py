"""Parallel HDF5: ranks of an MPI program write one dataset together and read it, with Debian's HDF5 on Open MPI."""
import hashlib

import h5py
import numpy as np
import pytest

import documents
import tools

N_RANKS = 4
FRAMES_PER_CHUNK = 8
BOUND = 1e-3
# A rank that waits for one that has failed waits for ever; mpirun then ends them all.
MPIRUN_TIMEOUT_S = 120
# Open MPI refuses root, and more ranks than cores, unless told.
MPIRUN = ("mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--timeout", MPIRUN_TIMEOUT_S)
C_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE")


def compiled(source, program):
    flags = tools.run("pkg-config", "--cflags", "--libs", "hdf5-openmpi").stdout.split()
    tools.run("mpicc", *C_FLAGS, source, *flags, "-lm", "-o", program)
    return program


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """tests/clients/c/mpi_frames.c."""
    return compiled(tools.ROOT / "tests/clients/c/mpi_frames.c", tmp_path_factory.mktemp("mpi") / "mpi_frames")


@pytest.fixture
def mpi_frames(program, tmp_path):
    """Runs the program in `n_ranks` ranks. Returns what each rank has read, else the finished program."""
    def run(verb, file, values, *more, n_ranks=N_RANKS, wrapper=(), check=True, **environment):
        path = tmp_path / f"{hashlib.sha256(values.tobytes()).hexdigest()[:8]}.f32"
        values.astype(np.float32).tofile(path)
        words = (*MPIRUN, "-n", n_ranks, *wrapper, program, verb, tmp_path / file, path, *more)
        done = tools.run(*words, check=check, **environment)
        if verb != "read" or done.returncode != 0:
            return done
        return [np.fromfile(f"{path}.{rank}", np.float32).reshape(values.shape) for rank in range(n_ranks)]

    return run


def words(*flags):
    return [str(word) for word in tools.filter_values(*flags)]


@pytest.mark.parametrize("layout", ["blocks", "interleaved"])
def test_four_ranks_write_the_chunks_of_one_and_of_h5py(mpi_frames, frames, write, tmp_path, layout):
    for n_ranks in (1, N_RANKS):
        mpi_frames("write", f"{n_ranks}.h5", frames, layout, *words("--abs", BOUND), n_ranks=n_ranks)
    serial = write("serial.h5", frames, "--abs", BOUND, chunks=(FRAMES_PER_CHUNK, *frames.shape[1:]))
    chunks = tools.stored_chunks(serial)
    assert len(chunks) == len(frames) / FRAMES_PER_CHUNK
    assert tools.stored_chunks(tmp_path / "1.h5") == chunks
    assert tools.stored_chunks(tmp_path / f"{N_RANKS}.h5") == chunks


@pytest.mark.parametrize("transfer", ["independent", "collective"])
def test_any_number_of_ranks_reads_the_same_values_within_the_bound(mpi_frames, frames, tmp_path, transfer):
    mpi_frames("write", "frames.h5", frames, "interleaved", *words("--abs", BOUND))
    with h5py.File(tmp_path / "frames.h5") as f:
        expected = f["frames"][...]
    assert tools.max_abs_err(frames, expected) <= BOUND
    for n_ranks in (1, N_RANKS):
        for values in mpi_frames("read", "frames.h5", np.zeros_like(frames), transfer, n_ranks=n_ranks):
            assert np.array_equal(tools.bits(values), tools.bits(expected))


def test_ranks_rewrite_parts_of_one_anothers_chunks(mpi_frames, frames, tmp_path):
    changed = frames * np.float32(0.5)
    for n_ranks in (1, N_RANKS):
        mpi_frames("write", f"{n_ranks}.h5", frames, "interleaved", *words("--abs", BOUND), n_ranks=n_ranks)
        mpi_frames("rewrite", f"{n_ranks}.h5", changed, "interleaved", n_ranks=n_ranks)
    assert tools.stored_chunks(tmp_path / f"{N_RANKS}.h5") == tools.stored_chunks(tmp_path / "1.h5")
    with h5py.File(tmp_path / f"{N_RANKS}.h5") as f:
        decoded = f["frames"][...]
    kept = np.arange(len(frames)) % FRAMES_PER_CHUNK == 0
    assert tools.max_abs_err(changed[~kept], decoded[~kept]) <= BOUND
    assert tools.max_abs_err(frames[kept], decoded[kept]) <= 2 * BOUND  # written twice


def test_chunks_allocated_early_hold_the_fill_value(mpi_frames, frames, tmp_path):
    mpi_frames("reserve", "frames.h5", frames, "blocks", *words("--abs", BOUND))
    half = len(frames) // 2
    assert len(tools.stored_chunks(tmp_path / "frames.h5")) == len(frames) / FRAMES_PER_CHUNK
    for decoded in mpi_frames("read", "frames.h5", np.zeros_like(frames), "independent"):
        assert tools.max_abs_err(frames[:half], decoded[:half]) <= BOUND
        assert np.all(decoded[half:] == -1)


def test_hdf5_refuses_independent_writing(mpi_frames, frames):
    refused = mpi_frames("alone", "frames.h5", frames, "blocks", *words("--abs", BOUND), check=False)
    assert refused.returncode == 3
    assert "Can't perform independent write with filters in pipeline" in refused.text


@pytest.fixture(scope="module")
def searched(trained, tmp_path_factory):
    """A trained model, its id, the folder in which the filter finds it, and as many spheres as the program takes."""
    data = tmp_path_factory.mktemp("spheres") / "spheres.h5"
    tools.sae("synth", data, "--frames", "96", "--families", "sphere", "--seed", "22")
    model, model_id, folder = trained
    with h5py.File(data) as f:
        return model, model_id, str(folder), f["frames"][...]


@pytest.fixture
def written_with_model(mpi_frames, searched):
    model, _, folder, spheres = searched
    flags = words("--abs", "1e-2", "--model", model)
    mpi_frames("write", "model.h5", spheres, "interleaved", *flags, H5Z_SAE_MODEL_PATH=folder)
    return flags


def test_every_rank_finds_the_model_on_the_search_path(mpi_frames, searched, written_with_model):
    model, _, folder, spheres = searched
    for decoded in mpi_frames("read", "model.h5", np.zeros_like(spheres), "independent", H5Z_SAE_MODEL_PATH=folder):
        assert tools.max_abs_err(spheres, decoded) <= 1e-2
    without = mpi_frames("read", "model.h5", np.zeros_like(spheres), "independent", check=False)
    assert without.returncode == 3, "the chunks do not use the network: these tests show nothing"


@pytest.mark.parametrize("verb, file, how", [
    ("write", "new.h5", "interleaved"), ("rewrite", "model.h5", "interleaved"),
    ("read", "model.h5", "independent"), ("read", "model.h5", "collective"),
])
def test_a_rank_without_the_model_says_so_and_none_hangs(
    mpi_frames, searched, written_with_model, verb, file, how, tmp_path,
):
    _, model_id, folder, spheres = searched
    lacking = 2
    wrapper = ("sh", "-c", f'[ "$OMPI_COMM_WORLD_RANK" != {lacking} ] || unset H5Z_SAE_MODEL_PATH; exec "$@"', "sh")
    more = written_with_model if verb == "write" else []
    failed = mpi_frames(verb, file, spheres, how, *more, wrapper=wrapper, check=False, H5Z_SAE_MODEL_PATH=folder)
    assert failed.returncode == 3, failed.text
    failures = [line for line in failed.text.splitlines() if line.startswith("rank ") and line.endswith(" failed")]
    assert [line.split(":")[0] for line in failures] == [f"rank {lacking}"]
    assert f"model {model_id} was not found" in failed.text
    assert "H5Z_SAE_MODEL_PATH is not set" in failed.text
    assert "it is open by MPI-IO" in failed.text


def test_the_example_of_the_documentation_runs(tmp_path):
    (example,) = documents.blocks("mpi.md", "c")
    source = tmp_path / "frames_mpi.c"
    source.write_text(example)
    words_of_page = example.split("cd_values[] = {")[1].split("}")[0].replace("u", "").split(", ")
    assert words_of_page == words("--abs", BOUND)
    program, path = compiled(source, tmp_path / "frames_mpi"), tmp_path / "frames.h5"
    stored = []
    for n_ranks in (1, N_RANKS):
        printed = tools.run(*MPIRUN, "-n", n_ranks, program, path).stdout
        assert printed.startswith(f"{n_ranks} ranks, largest error "), printed
        assert 0 < float(printed.split()[-1]) <= BOUND
        stored.append(tools.stored_chunks(path))
    assert stored[1][: len(stored[0])] == stored[0], "the first rank's frames are the same"
