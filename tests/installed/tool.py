"""Training and info through `sae`, whose path is in H5Z_SAE_TOOL, and models beyond the built-in one."""
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import h5z_sae

READER = """
import sys, h5py, h5z_sae
if len(sys.argv) > 2:
    h5z_sae.register_model(sys.argv[2])
with h5py.File(sys.argv[1]) as file:
    print(file["frames"][...].sum())
"""


TRAINER = """
import signal, sys, h5z_sae
# Whoever runs the tests in the background may have it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
place, folder = sys.argv[1:]
try:
    h5z_sae.train(place, f"{folder}/long.sae", components=16, hidden=16, latent=32, steps=10**6, batch=32, threads=1,
                  checkpoint=f"{folder}/kept", log=f"{folder}/log.csv")
except KeyboardInterrupt:
    print("interrupted")
"""
# Generous: a busy machine. A training that has not begun then is a failure.
START_TIMEOUT_S = 120


@pytest.fixture(scope="module")
def trained(frames, tmp_path_factory):
    """A small model, trained for moments, and the report."""
    path = tmp_path_factory.mktemp("model") / "rings.sae"
    many = np.concatenate([frames * scale for scale in (1, 2, 3, 4)])
    report = h5z_sae.train(many, path, components=16, hidden=16, latent=32, steps=40, batch=32, threads=1)
    return path, report


def test_training_gives_a_model_and_its_report(trained):
    path, report = trained
    assert h5z_sae.Model.read(path).n_latents <= 32 and report["steps"] == 40
    assert h5z_sae.info(path)["model"] == report["id"]


def test_files_of_a_trained_model_are_read_where_it_is_registered(trained, frames, tmp_path):
    path, report = trained
    with h5py.File(tmp_path / "rings.h5", "w") as file:
        for name, model in (("frames", path), ("as_model", h5z_sae.Model.read(path)), ("as_id", report["id"])):
            asked = h5z_sae.SAE(model, absolute=1e-2)
            assert asked.model_id == report["id"]
            file.create_dataset(name, data=frames[:8], chunks=(8, 64, 64), **asked)
    assert h5z_sae.info(tmp_path / "rings.h5")["datasets"][0]["parameters"]["model"] == report["id"]
    without = subprocess.run([sys.executable, "-c", READER, tmp_path / "rings.h5"], stderr=subprocess.PIPE, text=True,
                             check=False)
    assert without.returncode != 0 and f"model {report['id']} was not found" in without.stderr
    subprocess.run([sys.executable, "-c", READER, tmp_path / "rings.h5", path], check=True)


def test_the_tools_sentence_reaches_python(tmp_path):
    with pytest.raises(h5z_sae.ToolError, match="no-such.h5"):
        h5z_sae.train(f"{tmp_path}/no-such.h5:/frames", tmp_path / "x.sae")
    with pytest.raises(h5z_sae.ToolError, match="--no-such-flag"):
        h5z_sae.train(np.ones((4, 8, 8)), tmp_path / "x.sae", no_such_flag=1)
    with pytest.raises(h5z_sae.ToolError, match="expected cpu, cuda or cuda:N"):
        h5z_sae.train(np.ones((4, 8, 8)), tmp_path / "x.sae", device="gpu")
    assert not (tmp_path / "x.sae").exists()


def test_an_interrupted_training_keeps_what_it_has(frames, tmp_path):
    """The signal reaches Python alone, as from Jupyter; in a terminal `sae` would get it, too."""
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["frames"] = frames
    trainer = subprocess.Popen([sys.executable, "-c", TRAINER, f"{tmp_path}/frames.h5:/frames", tmp_path],
                               stdout=subprocess.PIPE, text=True, process_group=0)
    log, deadline = tmp_path / "log.csv", time.monotonic() + START_TIMEOUT_S
    while not (log.exists() and log.read_text().count("\n") > 1):
        assert trainer.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    trainer.send_signal(signal.SIGINT)
    assert trainer.communicate()[0] == "interrupted\n"
    assert (tmp_path / "kept").exists() and h5z_sae.Model.read(tmp_path / "long.sae").n_latents <= 32


def test_says_what_to_do_without_the_tool(tmp_path, monkeypatch):
    monkeypatch.delenv("H5Z_SAE_TOOL")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(h5z_sae.ToolError, match="no program `sae` on PATH. Remedy: `make install`"):
        h5z_sae.info("x.sae")
    other = tmp_path / "sae"
    other.write_text("#!/bin/sh\necho sae 99.0\n")
    other.chmod(0o755)
    with pytest.raises(h5z_sae.ToolError, match="says 'sae 99.0', this package needs 'sae "):
        h5z_sae.info("x.sae")
