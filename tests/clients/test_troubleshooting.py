"""docs/troubleshooting.md quotes what real clients print where the plugin or a model is missing; it is typed here."""
import re

import pytest

import documents
import tools

PAGE = "troubleshooting.md"
NOT_REGISTERED = "required filter 'H5Z-SAE: error-bounded compression with sparse autoencoders' is not registered"
# What a client may leave out of our sentence: netCDF all of it, R the end.
SHOWS_ALL, SHOWS_ID, SHOWS_NOTHING = "all", "id", "nothing"

WITHOUT_PLUGIN = {
    "h5dump, h5ls, h5diff": {"h5dump --enable-error-stack": NOT_REGISTERED},
    "h5repack": {"h5repack -f NONE": "user defined filter is not available"},
    "h5py": {"h5py.File": "can't open directory"},
    "netCDF: ncdump, nccopy, netCDF4": {
        "ncdump": "undefined filter", "nccopy": "undefined filter", "netCDF4.Dataset": "undefined filter",
    },
    "Octave": {"octave-cli": NOT_REGISTERED},
    "R": {"Rscript": NOT_REGISTERED},
    "C and Fortran": {"read_c": NOT_REGISTERED, "read_fortran": NOT_REGISTERED},
}
WITHOUT_MODEL = {
    "h5dump, h5ls, h5diff and h5repack with a missing model": {
        "h5dump --enable-error-stack": SHOWS_ALL, "h5diff --enable-error-stack": SHOWS_ALL,
        "h5repack --enable-error-stack": SHOWS_ALL,
    },
    "h5py with a missing model": {"h5py.File": SHOWS_ALL},
    "netCDF with a missing model": {
        "ncdump": SHOWS_NOTHING, "nccopy": SHOWS_NOTHING, "netCDF4.Dataset": SHOWS_NOTHING, "h5dump": SHOWS_ALL,
    },
    "Octave with a missing model": {"octave-cli": SHOWS_ALL},
    "R with a missing model": {"Rscript": SHOWS_ID},
    "C and Fortran with a missing model": {"./read_c": SHOWS_ALL, "./read_fortran": SHOWS_ALL},
    "The filter fails without a sentence": {"./read_static": SHOWS_ALL},
}


@pytest.fixture
def packed(trained, tmp_path):
    """original.h5, and packed.h5 and packed.nc: all frames coded by a model that is on nobody's path."""
    model, _, searched = trained
    original = tmp_path / "original.h5"
    tools.sae("synth", original, "--frames", "16", "--families", "sphere", "--seed", "22")
    flags = ("--none", "--model", model)
    tools.h5repack(original, tmp_path / "packed.h5", "-f", f"/frames:{tools.h5repack_filter(*flags)}",
                   "-l", "/frames:CHUNK=16x64x64", H5Z_SAE_MODEL_PATH=str(searched))
    words = ",".join(map(str, tools.filter_values(*flags)))
    tools.run("nccopy", "-F", f"frames,{tools.FILTER_ID},{words}", original, tmp_path / "packed.nc",
              H5Z_SAE_MODEL_PATH=str(searched))
    return tmp_path


def printed_by(client, printed):
    """What the commands of this client printed together; there is at least one."""
    texts = [text for command, text in printed if client in command]
    assert texts, f"no command of {client} below this heading"
    return "".join(texts)


@pytest.mark.parametrize("heading", WITHOUT_PLUGIN)
def test_clients_without_the_plugin_print_what_the_page_says(packed, heading):
    printed = documents.Page(PAGE, heading).run(packed, HDF5_PLUGIN_PATH=None)
    for client, sentence in WITHOUT_PLUGIN[heading].items():
        assert sentence in printed_by(client, printed), client


@pytest.mark.parametrize("heading", WITHOUT_MODEL)
def test_clients_without_the_model_print_what_the_page_says(packed, trained, heading):
    printed = documents.Page(PAGE, heading).run(packed)
    for client, shown in WITHOUT_MODEL[heading].items():
        text = printed_by(client, printed)
        named = re.search(rf"cannot decompress a chunk: model {trained[1]} was not found", text)
        assert bool(named) == (shown in (SHOWS_ALL, SHOWS_ID)), f"{client}: {text}"
        assert ("H5Z_SAE_MODEL_PATH" in text) == (shown == SHOWS_ALL), f"{client}: {text}"


CREATE = """
#include <hdf5.h>
#include <stdio.h>

int main(void)
{
    const hsize_t dims[2] = {64, 64};
    hid_t file = H5Fcreate("created.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(2, dims, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(list, 2, dims);
    H5Pset_filter(list, 34222, H5Z_FLAG_MANDATORY, 0, NULL);
    hid_t dataset = H5Dcreate2(file, "x", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    puts(dataset < 0 ? "refused" : "created");
    return H5Fclose(file) < 0;
}
"""


@pytest.mark.parametrize("linking, outcome", [([], "refused"), (["-shlib"], "created")])
def test_programs_with_hdf5_linked_in_cannot_create(tmp_path, linking, outcome):
    """Debian's h5cc links it statically by default, and the page says so."""
    (tmp_path / "create.c").write_text(CREATE)
    tools.run("h5cc", *linking, "create.c", "-o", "create", cwd=tmp_path)
    assert tools.run("./create", cwd=tmp_path).stdout == f"{outcome}\n"


def test_every_part_of_the_page_is_typed():
    """A heading that was added to the page and not to the lists above would be an example that nobody tries."""
    text = (tools.ROOT / "docs" / PAGE).read_text()
    typed = {section for _, section, language, _ in documents.fenced_blocks(text) if language == "console"}
    assert typed == {*WITHOUT_PLUGIN, *WITHOUT_MODEL}
