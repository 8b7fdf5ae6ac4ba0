"""Models as the C library holds them, and how a caller names one.

A model is named by the path of its file, by its id (sixteen hex digits, `<id>.sae` is then found where docs/models.md
says), by a Model, or, with None, the built-in one is meant.
"""
import ctypes
import os
import re
import weakref

import numpy as np

from .library import library
from .model import Model

ModelName = str | os.PathLike[str] | Model | None

ID = re.compile("[0-9a-f]{16}")


class ModelHandle:
    """A model in the library, freed with this object."""

    def __init__(self, address: int) -> None:
        self.address = address
        weakref.finalize(self, library().h5zsae_model_free, address)

    @property
    def id(self) -> int:
        return int(library().h5zsae_model_id(self.address))


def open_model(model: ModelName) -> ModelHandle:
    """Reads or finds a model. Raises MissingModelError, LibraryError, and ModelError for a Model that breaks a rule."""
    slot = ctypes.c_void_p()
    if isinstance(model, Model):
        data = np.frombuffer(model.to_bytes(), np.uint8)
        library().h5zsae_model_parse(data.ctypes.data, len(data), ctypes.byref(slot))
    elif model is None or (isinstance(model, str) and ID.fullmatch(model)):
        library().h5zsae_model_find(0 if model is None else int(model, 16), ctypes.byref(slot))
    else:
        library().h5zsae_model_load(os.fsencode(model), ctypes.byref(slot))
    if slot.value is None:
        raise RuntimeError("the library gave no model and no error: please report it")
    return ModelHandle(slot.value)


def register_model(model: ModelName) -> str:
    """Makes a model known to the filter in this process, for ever. Returns its id, sixteen hex digits.

    Needed to read what was written with a model whose file is in none of the places that docs/models.md lists.

    Raises LibraryError where the file cannot be read or is no model, MissingModelError for an id that is nowhere.
    """
    handle = open_model(model)
    library().h5zsae_model_register(handle.address)
    return f"{handle.id:016x}"
