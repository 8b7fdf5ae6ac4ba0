"""Tests of the installed wheel, run by tests/clients/test_python_package.py in an environment of their own."""
import numpy as np
import pytest


@pytest.fixture(scope="session")
def frames():
    """32 frames of 64 x 64, f32: rings of various radii with a maximum of 1, as an isotropic scatterer gives them."""
    rows, cols = np.mgrid[-31.5:32, -31.5:32]
    q = np.hypot(rows, cols) / 64
    radii = np.linspace(4, 30, 32)[:, None, None]
    return np.square(np.sinc(radii * q)).astype(np.float32)
