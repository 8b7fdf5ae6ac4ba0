"""What scripts call of `sae`: filter-args, repack, unpack, verify, and their exit codes."""
import h5py
import numpy as np
import pytest

import tools


def test_filter_args_formats_carry_the_same_values():
    values = tools.filter_values("--abs", "1e-3")
    assert len(values) == 7
    words = ",".join(str(v) for v in values)
    assert tools.h5repack_filter("--abs", "1e-3") == f"UD={tools.FILTER_ID},0,7,{words}"
    for name in ("h5py", "c", "fortran", "nccopy"):
        printed = tools.sae("filter-args", "--abs", "1e-3", "--format", name).stdout
        assert str(tools.FILTER_ID) in printed
        # Fortran has no unsigned integers: a word beyond 2^31 is the negative number of the same bits.
        assert all(str(v) in printed or str(v - 2**32) in printed for v in values), f"{name}: {printed}"


@pytest.mark.parametrize("flags", [
    [], ["--abs", "0"], ["--abs", "-1"], ["--abs", "nan"], ["--abs", "inf"], ["--rel", "1"], ["--abs", "1", "--lossless"],
])
def test_filter_args_refuses_what_is_no_bound(flags):
    done = tools.sae("filter-args", *flags, check=False)
    assert done.returncode != 0 and not done.stdout.strip()


def test_repack_is_read_by_everyone_and_verified(frames, write, tmp_path):
    plain, packed = write("plain.h5", frames), tmp_path / "packed.h5"
    tools.sae("repack", plain, packed, "--abs", "1e-3")
    status, report = tools.verify(plain, packed)
    with h5py.File(packed) as f:
        decoded, stored_bytes = f["frames"][...], f["frames"].id.get_storage_size()
    measured = tools.max_abs_err(frames, decoded)
    assert measured <= 1e-3
    assert status == 0 and report["ok"] and report["problems"] == []
    assert report["max_abs_err"] == measured and report["bound"] == 1e-3
    assert report["raw_bytes"] == frames.nbytes and report["stored_bytes"] == stored_bytes
    assert report["ratio"] == frames.nbytes / stored_bytes
    dumped = tools.h5dump_array(packed, "/frames", "f4", frames.shape, tmp_path)
    assert np.array_equal(dumped, decoded)


def test_repack_and_h5py_write_the_same_streams(frames, write, tmp_path):
    """Same options, same chunk, same bytes: whoever hosts the codec."""
    plain, packed = write("plain.h5", frames), tmp_path / "packed.h5"
    tools.sae("repack", plain, packed, "--abs", "1e-3")
    with h5py.File(packed) as f:
        chunks = f["frames"].chunks
    assert tools.stored_chunks(packed) == tools.stored_chunks(write("h5py.h5", frames, "--abs", "1e-3", chunks=chunks))


def test_unpack_needs_no_filter_afterwards(frames, write, tmp_path):
    packed, plain = write("packed.h5", frames, "--lossless"), tmp_path / "plain.h5"
    tools.sae("unpack", packed, plain)
    assert tools.stored_filters(plain) == []
    with h5py.File(plain) as f:
        assert np.array_equal(f["frames"][...], frames)


def test_verify_exits_1_when_the_bound_is_broken(frames, write, tmp_path):
    """The compressed file is right, for other data: one value moved by twice the bound."""
    packed = write("packed.h5", frames, "--abs", "1e-3")
    moved = frames.copy()
    moved[17, 3, 4] += np.float32(0.01)
    status, report = tools.verify(write("moved.h5", moved), packed, check=False)
    assert status == 1 and not report["ok"]
    assert report["datasets"][0]["broken_values"] == 1
    assert report["max_abs_err"] > 0.008
    assert "/frames" in report["problems"][0] and "[17, 3, 4]" in report["problems"][0]


def test_output_is_not_left_half_written(frames, write, tmp_path):
    plain, packed = write("plain.h5", frames), tmp_path / "packed.h5"
    done = tools.sae("repack", plain, packed, "--abs", "1e-3", "--dataset", "/absent", check=False)
    assert done.returncode != 0 and "/absent" in done.text
    assert not packed.exists() and not list(tmp_path.glob("packed.h5*"))


@pytest.mark.parametrize("arguments", [["verify", "absent.h5", "absent.h5"], ["info", "absent.sae"]])
def test_missing_files_are_named(arguments):
    done = tools.sae(*arguments, check=False)
    assert done.returncode != 0
    assert arguments[1] in done.text and "panicked" not in done.text


def test_chunks_that_filter_args_prints_for_a_dataset_are_what_h5repack_makes(frames, write, tmp_path):
    plain, packed = write("plain.h5", frames, chunks=(1, 64, 64)), tmp_path / "packed.h5"
    printed = tools.sae("filter-args", "--abs", "1e-3", f"{plain}:/frames")
    assert "statistics anew" in printed.text
    tools.h5repack(plain, packed, *printed.stdout.split())
    with h5py.File(packed) as f:
        assert f["frames"].chunks == (64, 64, 64)
    assert tools.verify(plain, packed)[1]["ok"]
    kept = tmp_path / "kept.h5"
    tools.h5repack(plain, kept, "-f", f"frames:{tools.h5repack_filter('--abs', '1e-3')}")
    assert tools.verify(plain, kept)[1]["ratio"] < tools.verify(plain, packed)[1]["ratio"]


def test_a_name_that_a_shell_would_split_is_one_word_of_the_command(frames, tmp_path):
    plain, packed = tmp_path / "plain.h5", tmp_path / "packed.h5"
    with h5py.File(plain, "w") as f:
        f["run 1/it's $HOME"] = frames
    printed = tools.sae("filter-args", "--abs", "1e-3", f"{plain}:/run 1/it's $HOME").stdout.strip()
    tools.run("bash", "-c", f"h5repack {printed} '{plain}' '{packed}'")
    assert tools.stored_filters(packed, "run 1/it's $HOME") == [tools.FILTER_ID]
    assert tools.verify(plain, packed)[0] == 0


def test_chunks_that_nobody_wrote_count_as_the_fill_value(frames, tmp_path):
    expected = np.full_like(frames, 2.0)
    expected[:16] = frames[:16]
    plain, packed, unpacked = (tmp_path / name for name in ("plain.h5", "packed.h5", "unpacked.h5"))
    with h5py.File(plain, "w") as f:
        f.create_dataset("frames", data=expected)
    with h5py.File(packed, "w") as f:
        data = f.create_dataset("frames", expected.shape, expected.dtype, chunks=(16, 64, 64), fillvalue=2.0,
                                **tools.h5py_arguments("--abs", "1e-3"))
        data[:16] = frames[:16]
    assert len(tools.stored_chunks(packed)) == 1
    code, report = tools.verify(plain, packed)
    assert code == 0 and 0 < report["max_abs_err"] <= 1e-3
    tools.sae("unpack", packed, unpacked)
    with h5py.File(unpacked) as f:
        decoded = f["frames"][...]
    assert tools.max_abs_err(frames[:16], decoded[:16]) <= 1e-3
    assert np.all(decoded[16:] == 2.0)
