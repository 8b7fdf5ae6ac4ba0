"""The package's ctypes beside include/h5zsae.h: constants, functions, fields. The header's path is in H5ZSAE_HEADER."""
import ctypes
import os
import pathlib
import re

import pytest

from h5z_sae import library

# Functions that Python has no use for.
NOT_CALLED = {"h5zsae_compress_bound", "h5zsae_register_filter", "h5zsae_set_device"}

FIELD_TYPES = {"uint32_t": ctypes.c_uint32, "uint64_t": ctypes.c_uint64, "size_t": ctypes.c_size_t,
               "double": ctypes.c_double, "const size_t *": ctypes.POINTER(ctypes.c_size_t)}
ARGUMENT_TYPES = {
    "const char *": ctypes.c_char_p, "const void *": ctypes.c_void_p, "void *": ctypes.c_void_p,
    "const h5zsae_model *": ctypes.c_void_p, "h5zsae_model *": ctypes.c_void_p, "size_t": ctypes.c_size_t,
    "h5zsae_model **": ctypes.POINTER(ctypes.c_void_p), "void **": ctypes.POINTER(ctypes.c_void_p),
    "size_t *": ctypes.POINTER(ctypes.c_size_t), "unsigned int *": ctypes.POINTER(ctypes.c_uint),
    "uint64_t": ctypes.c_uint64, "uint32_t": ctypes.c_uint32, "void": None,
    "const h5zsae_chunk *": ctypes.POINTER(library.ChunkStruct),
    "const h5zsae_options *": ctypes.POINTER(library.OptionsStruct),
    "h5zsae_header *": ctypes.POINTER(library.HeaderStruct), "h5zsae_status": ctypes.c_int,
}


@pytest.fixture(scope="module")
def header():
    text = pathlib.Path(os.environ["H5ZSAE_HEADER"]).read_text()
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def constants(header):
    defines = re.findall(r"#define (\w+) (\d+)", header) + re.findall(r"^  (H5ZSAE_\w+) = (\d+),", header, flags=re.M)
    return {name: int(value) for name, value in defines}


def test_constants_are_those_of_the_header(header):
    expected = {"H5Z_FILTER_SAE": library.FILTER_ID, "H5ZSAE_ABI_VERSION": library.ABI_VERSION,
                "H5ZSAE_MAX_CD_VALUES": library.MAX_CD_VALUES, "H5ZSAE_CD_VALUES_VERSION": 0}
    families = {"CLASS_": library.ElementClass, "ORDER_": library.ByteOrder, "BOUND_": library.BoundKind,
                "EFFORT_": library.Effort, "": library.Status}
    for prefix, family in families.items():
        expected |= {f"H5ZSAE_{prefix}{member.name}": member.value for member in family}
    assert constants(header) == expected


def test_structures_are_those_of_the_header(header):
    found = {"h5zsae_chunk": library.ChunkStruct, "h5zsae_options": library.OptionsStruct,
             "h5zsae_header": library.HeaderStruct}
    declared = re.findall(r"typedef struct \{(.*?)\} (\w+);", header, flags=re.S)
    assert {name for _, name in declared} == set(found)
    for body, name in declared:
        fields = re.findall(r"^\s*(.*?)(\w+)(?:\[(\d+)\])?;", body, flags=re.M)
        types = [(field, FIELD_TYPES[kind.strip()] * int(count) if count else FIELD_TYPES[kind.strip()])
                 for kind, field, count in fields]
        assert types == list(found[name]._fields_), name


def test_functions_are_those_of_the_header(header):
    declared = re.findall(r"^(\w[\w ]*?\*?)\s*(h5zsae_\w+)\((.*?)\);", header, flags=re.M | re.S)
    assert {name for _, name, _ in declared} == {*library.CHECKED, *library.PLAIN, *NOT_CALLED}
    for result, name, arguments in declared:
        words = [re.sub(r"\s+", " ", argument).strip() for argument in arguments.split(",")]
        types = [ARGUMENT_TYPES[re.sub(r"\w+$", "", word).strip()] for word in words if word != "void"]
        if name in library.PLAIN:
            assert (ARGUMENT_TYPES[result.strip()], tuple(types)) == library.PLAIN[name], name
        elif name in library.CHECKED:
            assert result == "h5zsae_status" and tuple(types) == library.CHECKED[name], name
