"""Models of the HDF5 filter H5Z-SAE in Python: files, float encoder and decoder, exact integer decoder, PyTorch.

    model      what a `.sae` file holds, reading and writing it, and all that is computed with it
    five_layer a plain five-layer network as a model, and a model as such a network
    convert    the command line: python -m h5z_sae.convert
    stream     latents straight from a compressed chunk

Needs numpy and safetensors; h5py and torch only where they are named.
"""
from .model import Model, ModelError

__all__ = ["Model", "ModelError"]
