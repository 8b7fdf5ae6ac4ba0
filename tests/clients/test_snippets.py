"""The C and Fortran that `sae filter-args` prints, compiled as it is in the middle of a program."""
import h5py
import pytest

import tools

PROGRAMS = {
    "c": """
#include <hdf5.h>
int main(void)
{{
    const hsize_t dims[] = {{8, 64, 64}};
    hid_t file = H5Fcreate("made.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    {snippet}
    hid_t space = H5Screate_simple(rank, dims, NULL);
    hid_t dataset = H5Dcreate2(file, "frames", H5T_IEEE_F32LE, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    return dataset < 0 || H5Dclose(dataset) < 0 || H5Sclose(space) < 0 || H5Pclose(dcpl) < 0 || H5Fclose(file) < 0;
}}
""",
    "fortran": """
program made
    use hdf5
    implicit none
    integer(hid_t) :: file, space, dcpl, dataset
    integer :: hdferr
    {snippet_declarations}
    call h5open_f(hdferr)
    call h5fcreate_f("made.h5", H5F_ACC_TRUNC_F, file, hdferr)
    {snippet_calls}
    call h5screate_simple_f(rank, [64_hsize_t, 64_hsize_t, 8_hsize_t], space, hdferr)
    call h5dcreate_f(file, "frames", H5T_IEEE_F32LE, space, dataset, hdferr, dcpl)
    if (hdferr < 0) error stop
    call h5dclose_f(dataset, hdferr)
    call h5fclose_f(file, hdferr)
end program
""",
}
COMPILERS = {"c": ["h5cc", "-std=c99"], "fortran": ["h5fc", "-std=f2018"]}
SUFFIXES = {"c": "c", "fortran": "f90"}


@pytest.mark.parametrize("language", ["c", "fortran"])
def test_printed_code_compiles_and_makes_the_dataset(language, frames, write, tmp_path, monkeypatch):
    plain = write("plain.h5", frames[:8])
    snippet = tools.sae("filter-args", "--abs", "1e-3", f"{plain}:/frames", "--format", language).stdout
    declarations, call, calls = snippet.partition("call ")
    source = tmp_path / f"made.{SUFFIXES[language]}"
    source.write_text(PROGRAMS[language].format(
        snippet=snippet, snippet_declarations=declarations, snippet_calls=call + calls))
    monkeypatch.chdir(tmp_path)
    tools.run(*COMPILERS[language], "-shlib", "-Wall", "-Werror", source.name, "-o", "made")
    tools.run("./made")
    with h5py.File("made.h5") as f:
        assert f["frames"].shape == (8, 64, 64) and f["frames"].chunks == (8, 64, 64)
    assert tools.stored_filters("made.h5") == [tools.FILTER_ID]
