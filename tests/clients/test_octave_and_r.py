"""Octave's load and R's hdf5r read, bit for bit, what h5py reads; hdf5r writes, and is told what is wrong."""
import h5py
import numpy as np
import pytest

import tools

EPSILON = 1e-3
READ_OCTAVE = """
file = fopen("values.bin", "w");
fwrite(file, load("-hdf5", "packed.h5", "frames").frames, "double");
fclose(file);
"""
READ_R = """
file <- hdf5r::H5File$new("packed.h5", mode = "r")
values <- if (length(commandArgs(TRUE))) file[["frames"]][3:40, 5:60, 10:12] else file[["frames"]]$read()
writeBin(as.double(values), "values.bin")
"""
WRITE_R = """
library(hdf5r)
options(warning.length = 8170)
cd_values <- as.numeric(strsplit(commandArgs(TRUE), ",")[[1]])
creation <- H5P_DATASET_CREATE$new()
creation$set_chunk(c(64, 64, 8))
creation$set_filter(34222L, h5const$H5Z_FLAG_MANDATORY, cd_values)
file <- H5File$new("written.h5", mode = "w")
dataset <- file$create_dataset("frames", dtype = h5types$H5T_IEEE_F64BE, space = H5S$new(dims = c(64, 64, 24)),
                               dataset_create_pl = creation, chunk_dims = NULL)
dataset[, , ] <- readBin("values.bin", "double", 64 * 64 * 24)
file$close_all()
"""


def read_by(program, script, folder, *arguments):
    (folder / "script").write_text(script)
    command = {"octave": ["octave-cli", "--no-history", "-q"], "R": ["Rscript"]}[program]
    tools.run(*command, "script", *arguments, cwd=folder)
    return np.fromfile(folder / "values.bin", "f8")


@pytest.mark.parametrize("program, script", [("octave", READ_OCTAVE), ("R", READ_R)])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", ">u4"])
def test_values_are_those_of_h5py(frames, counts, write, tmp_path, program, script, dtype):
    floats = np.dtype(dtype).kind == "f"
    data = (frames if floats else counts)[:24].astype(dtype)
    path = write("packed.h5", data, "--abs", EPSILON if floats else 2, chunks=(8, 64, 64))
    with h5py.File(path) as f:
        decoded = f["frames"][...].astype("f8")
    assert tools.max_abs_err(data.astype("f8"), decoded) <= (EPSILON if floats else 2)
    # Reversed dimensions, first one fastest: the order in memory is the same.
    assert np.array_equal(read_by(program, script, tmp_path), decoded.ravel())


def test_octave_warns_of_a_model_in_the_file_and_reads_the_rest(trained, spheres, tmp_path):
    packed = tmp_path / "packed.h5"
    tools.sae("repack", spheres[0], packed, "--none", "--embed", "--model", trained[0])
    script = "s = load('packed.h5'); disp(isfield(s, '_h5z_sae')); disp(size(s.frames))"
    done = tools.run("octave-cli", "--no-history", "-q", "--eval", script, cwd=tmp_path)
    assert done.stdout.split() == ["1", "64", "64", "64"]
    assert f"can't read '{trained[1]}'" in done.text


def test_r_reads_parts(frames, write, tmp_path):
    path = write("packed.h5", frames[:24], "--abs", EPSILON, chunks=(8, 64, 64))
    with h5py.File(path) as f:
        part = f["frames"][9:12, 4:60, 2:40].astype("f8")
    assert np.array_equal(read_by("R", READ_R, tmp_path, "part"), part.ravel())


def write_by_r(frames, folder, values, check=True):
    frames[:24].astype("f8").tofile(folder / "values.bin")
    (folder / "script").write_text(WRITE_R)
    return tools.run("Rscript", "script", ",".join(map(str, values)), cwd=folder, check=check)


def test_r_writes_within_the_bound(frames, tmp_path):
    write_by_r(frames, tmp_path, tools.filter_values("--abs", EPSILON))
    assert tools.stored_filters(tmp_path / "written.h5") == [tools.FILTER_ID]
    with h5py.File(tmp_path / "written.h5") as f:
        assert f["frames"].dtype == ">f8" and f["frames"].chunks == (8, 64, 64)
        assert tools.max_abs_err(frames[:24].astype("f8"), f["frames"][...]) <= EPSILON


def test_r_is_told_which_parameter_is_wrong(frames, tmp_path):
    values = tools.filter_values("--abs", EPSILON)
    values[tools.WORD_BOUND_KIND] = 9
    done = write_by_r(frames, tmp_path, values, check=False)
    assert done.returncode == 1
    assert "cd_value 1 (bound kind) is 9" in done.text, done.text
