"""netCDF-C's nccopy and ncdump, and netCDF4 for Python with its own HDF5 2.2, beyond docs/netcdf.md."""
import h5py
import netCDF4
import numpy as np
import pytest

import documents
import tools

EPSILON = 1e-3
FILL = np.float32(-9999)


@pytest.fixture
def source(frames, tmp_path):
    """A file as people have them: an unlimited dimension, coordinates, masked pixels, text."""
    path = tmp_path / "source.nc"
    with netCDF4.Dataset(path, "w") as d:
        for name, length in (("time", None), ("y", 64), ("x", 64)):
            d.createDimension(name, length)
        time = d.createVariable("time", "f8", ("time",))
        time[:] = 1e9 + np.arange(24) / 7
        intensity = d.createVariable("intensity", "f4", ("time", "y", "x"), fill_value=FILL)
        intensity.units = "1/cm"
        data = np.ma.array(frames[:24], mask=False)
        data[:, 20:30, 40:] = np.ma.masked
        intensity[:] = data
        d.createVariable("rows", str, ("y",))[0] = "first"
    return path


def nccopy(source, target, variable, *flags, check=True):
    words = ",".join(map(str, [tools.FILTER_ID, *tools.filter_values(*flags)]))
    return tools.run("nccopy", "-c", "intensity:24,64,64", "-F", f"{variable},{words}", source, target, check=check)


def raw(path, variable="intensity"):
    with h5py.File(path) as f:
        return f[variable][...]


def test_nccopy_keeps_the_bound_and_every_reader_agrees(source, tmp_path):
    packed = tmp_path / "packed.nc"
    nccopy(source, packed, "intensity", "--abs", EPSILON, "--mask-value", FILL)
    assert tools.stored_filters(packed, "intensity") == [tools.FILTER_ID]
    decoded = raw(packed)
    masked = raw(source) == FILL
    assert masked.sum() == 24 * 10 * 24
    assert np.array_equal(decoded == FILL, masked)
    assert tools.max_abs_err(raw(source), decoded) <= EPSILON
    with netCDF4.Dataset(packed) as d:
        by_netcdf4 = d["intensity"][:]
        assert np.array_equal(by_netcdf4.mask, masked)
        assert np.array_equal(by_netcdf4.filled(FILL), decoded)
        assert np.array_equal(d["time"][:], raw(source, "time"))
    dumped = tools.run("ncdump", "-v", "intensity", "-p", "9,17", packed).stdout
    words = dumped.split("intensity =")[-1].rstrip("}\n ;").replace("_", str(int(FILL))).split(",")
    assert np.array_equal(np.array(words, dtype="f4"), decoded.ravel())


@pytest.mark.parametrize("bound", ["--abs", "--rel"])
def test_fill_values_given_as_mask_values_are_exact_and_out_of_the_range(source, tmp_path, bound):
    packed = tmp_path / "packed.nc"
    nccopy(source, packed, "intensity", bound, EPSILON, "--mask-value", FILL)
    data, decoded = raw(source), raw(packed)
    valid = data != FILL
    assert np.array_equal(decoded == FILL, ~valid)
    assert tools.max_abs_err(data[valid], decoded[valid]) <= EPSILON * (data[valid].max() - data[valid].min())


def test_nccopy_does_not_hand_the_fill_value_on(source, tmp_path):
    """What docs/netcdf.md warns of: -9999 counts in the range, and a thousandth of that is more than the data."""
    packed = tmp_path / "packed.nc"
    nccopy(source, packed, "intensity", "--rel", EPSILON)
    assert (raw(packed)[raw(source) != FILL] == 0).all()


def test_nccopy_changes_chunks_and_removes_the_filter(source, tmp_path):
    packed, other, plain = tmp_path / "packed.nc", tmp_path / "other.nc", tmp_path / "plain.nc"
    nccopy(source, packed, "intensity", "--abs", EPSILON)
    tools.run("nccopy", "-c", "intensity:5,64,32", packed, other)
    assert tools.stored_filters(other, "intensity") == [tools.FILTER_ID]
    assert tools.max_abs_err(raw(packed), raw(other)) <= EPSILON
    tools.run("nccopy", "-F", "intensity,none", packed, plain)
    assert tools.stored_filters(plain, "intensity") == []
    assert np.array_equal(raw(plain), raw(packed))


@pytest.mark.parametrize("bound", ["--abs", "--rel"])
def test_the_command_that_filter_args_prints_is_nccopy_s(source, tmp_path, bound):
    printed = tools.sae("filter-args", bound, EPSILON, "--format", "nccopy", f"{source}:/intensity").stdout.strip()
    source.rename(tmp_path / "in.nc")
    tools.run("bash", "-c", printed, cwd=tmp_path)
    data, decoded = raw(tmp_path / "in.nc"), raw(tmp_path / "out.nc")
    assert np.array_equal(decoded == FILL, data == FILL)
    assert tools.max_abs_err(data, decoded) <= EPSILON
    with h5py.File(tmp_path / "out.nc") as f:
        assert f["intensity"].chunks == (24, 64, 64)


def test_a_star_stops_at_strings(source, tmp_path):
    done = nccopy(source, tmp_path / "packed.nc", "*", "--abs", EPSILON, check=False)
    assert done.returncode == 1 and "Filter error" in done.text, done.text


def test_a_star_filters_coordinates_too(source, tmp_path):
    packed, numbers = tmp_path / "packed.nc", tmp_path / "numbers.nc"
    tools.run("nccopy", "-V", "time,intensity", source, numbers)
    nccopy(numbers, packed, "*", "--abs", "0.5")
    assert tools.stored_filters(packed, "time") == [tools.FILTER_ID]
    assert not np.array_equal(raw(packed, "time"), raw(source, "time"))


def test_wrong_parameters_fail_and_leave_an_incomplete_file(source, tmp_path):
    target = tmp_path / "wrong.nc"
    done = tools.run("nccopy", "-F", f"intensity,{tools.FILTER_ID},0,9,0,0,0,0,0", source, target, check=False)
    assert done.returncode == 1 and "NetCDF: HDF error" in done.text, done.text
    assert target.exists() and tools.sae("verify", source, target, check=False).returncode != 0


def test_nccopy_copies_a_file_with_a_model_and_leaves_the_model_behind(trained, spheres, tmp_path):
    """netCDF does not know its type, an opaque one without a name. The group stays, empty; verify tells the loss."""
    packed, copied = tmp_path / "packed.h5", tmp_path / "copied.nc"
    tools.sae("repack", spheres[0], packed, "--none", "--embed", "--model", trained[0])
    assert "frames =" in tools.run("ncdump", "-v", "frames", packed).stdout
    with pytest.warns(UserWarning, match=trained[1]), netCDF4.Dataset(packed) as d:
        assert d["frames"][0].shape == (64, 64)
    tools.run("nccopy", packed, copied)
    assert tools.stored_filters(copied) == [tools.FILTER_ID]
    with h5py.File(copied) as f:
        assert list(f["/_h5z_sae/models"]) == []
    done = tools.sae("verify", packed, copied, check=False)
    assert done.returncode == 1 and f"/_h5z_sae/models/{trained[1]}: is missing" in done.text, done.text
    tools.sae("embed", copied, trained[0])
    assert tools.verify(packed, copied)[0] == 0


def test_c_programs_hand_netcdf_s_fill_value_on(tmp_path):
    documents.Page("netcdf.md", "C").run(tmp_path)
    with h5py.File(tmp_path / "rings.nc") as f:
        words = f["intensity"].id.get_create_plist().get_filter(0)[2]
    fill = np.float32(netCDF4.default_fillvals["f4"]).view("u4")
    assert words[tools.WORD_MARKS] == 1 and words[tools.WORD_FILL] == fill


def test_c_programs_learn_from_the_status_that_the_plugin_is_missing(tmp_path):
    """And not from the file: netCDF would write the variable uncompressed."""
    documents.Page("netcdf.md", "C").run(tmp_path)
    done = tools.run("./rings", cwd=tmp_path, check=False, HDF5_PLUGIN_PATH=None)
    assert done.returncode == 1
    assert done.text == "filter 34222: NetCDF: Filter error: undefined filter encountered\n"
