"""`sae embed`, `extract`, `info`, `repack` and h5repack on files that hold a model."""
import json
import os
import shutil

import h5py
import numpy as np
import pytest

import tools

GROUP = "/_h5z_sae/models"


def decoded(path, folder):
    """The frames as h5py reads them in a process of its own, with the plugin alone."""
    out = folder / f"{path.stem}.npy"
    tools.python_client(tools.READ, path, out)
    return np.load(out)


@pytest.fixture
def packed(trained, spheres, tmp_path):
    """A file with its model in it; the network codes every patch."""
    path = tmp_path / "packed.h5"
    tools.sae("repack", spheres[0], path, "--none", "--model", trained[0])
    return path


def test_embedding_changes_nothing_else_and_extracting_gives_the_file_back(trained, spheres, tmp_path):
    model, model_id, _ = trained
    path, out = tmp_path / "x.h5", tmp_path / "out.sae"
    tools.sae("repack", spheres[0], path, "--none", "--no-embed", "--model", model)
    path.chmod(0o640)
    streams = tools.stored_chunks(path)
    link = tmp_path / "link.h5"
    link.symlink_to(path)
    assert f"model {model_id} embedded" in tools.sae("embed", link, model).text
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o640
    assert tools.stored_chunks(path) == streams
    written = path.stat()
    assert "already" in tools.sae("embed", path, model).text
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.h5", "x.h5"]
    tools.sae("extract", path, "-o", out)
    assert out.read_bytes() == model.read_bytes()
    tools.sae("extract", path, model_id, "-o", out)
    # The same with h5dump alone.
    tools.run("h5dump", "-d", f"{GROUP}/{model_id}", "-b", "FILE", "-o", out, path)
    assert out.read_bytes() == model.read_bytes()


def test_the_commands_of_the_document_work(trained, spheres, tmp_path):
    """docs/models.md, "In the HDF5 file": its first block of commands, and its line for h5py."""
    section = (tools.ROOT / "docs" / "models.md").read_text().split("## In the HDF5 file")[1]
    block = section.strip().split("\n\n")[0]
    commands = [line.strip() for line in block.splitlines()]
    assert len(commands) == 4 and all(line.startswith("sae ") for line in commands)
    shutil.copy(spheres[0], tmp_path / "in.h5")
    shutil.copy(trained[0], tmp_path / "mine.sae")
    script = f"cd '{tmp_path}' && set -e\n" + "\n".join(commands)
    done = tools.run("bash", "-c", script, PATH=f"{tools.PLUGIN_DIR}:{os.environ['PATH']}")
    assert f"model {trained[1]}: embedded" in done.text and "named by: /frames" in done.text
    assert (tmp_path / "mine.sae").read_bytes() == trained[0].read_bytes()
    line = next(code for code in section.split("`") if code.startswith("f["))
    with h5py.File(tmp_path / "in.h5", "r+") as f:
        python = line.replace('"mine.sae"', repr(str(trained[0])))
        exec(python, {"f": f, "np": np, "id": trained[1]})
    tools.sae("extract", tmp_path / "in.h5", "-o", tmp_path / "mine.sae")
    assert (tmp_path / "mine.sae").read_bytes() == trained[0].read_bytes()


def test_info_lists_models_and_counts_their_bytes(packed, trained):
    info = json.loads(tools.sae("info", packed, "--json").stdout)
    n_bytes = trained[0].stat().st_size
    assert info["embedded_models"] == [
        {"model": trained[1], "file_bytes": n_bytes, "damage": None, "named_by": ["/frames"]}
    ]
    dataset = info["datasets"][0]
    assert dataset["ratio_with_model"] == pytest.approx(dataset["raw_bytes"] / (dataset["stored_bytes"] + n_bytes))
    assert f"{dataset['ratio_with_model']:.2f} with its model" in tools.sae("verify", packed, packed).text


def test_extract_names_what_is_there(packed, trained, tmp_path):
    done = tools.sae("extract", packed, "0" * 16, "-o", tmp_path / "x.sae", check=False)
    assert done.returncode == 2 and f"it holds {trained[1]}" in done.text and "packed.h5" in done.text
    done = tools.sae("extract", packed, "abc", "-o", tmp_path / "x.sae", check=False)
    assert done.returncode == 2 and "16 hexadecimal digits" in done.text
    assert not (tmp_path / "x.sae").exists()


def test_repack_embeds_where_the_file_shrinks(trained, tmp_path):
    """One frame takes 16 kB, the model ten times that."""
    source, out = tmp_path / "one.h5", tmp_path / "out.h5"
    tools.sae("synth", source, "--frames", "1", "--families", "sphere", "--seed", "23")
    done = tools.sae("repack", source, out, "--abs", "1e-2", "--model", trained[0])
    assert "not embedded, as it takes" in done.text and f"{trained[1]}.sae" in done.text
    assert tools.sae("info", out).text.count("embedded models") == 0
    tools.sae("repack", source, out, "--abs", "1e-2", "--model", trained[0], "--embed")
    assert tools.sae("info", out).text.count("embedded models") == 1
    done = tools.sae("repack", source, out, "--abs", "1e-2", "--embed", check=False)
    assert done.returncode == 2 and "--model" in done.text


def test_repack_and_unpack_drop_the_model_that_nothing_needs(packed, trained, tmp_path):
    again, back = tmp_path / "again.h5", tmp_path / "back.h5"
    tools.sae("repack", packed, again, "--abs", "0.5")
    tools.sae("unpack", packed, back)
    for path in (again, back):
        with h5py.File(path) as f:
            assert len(f[GROUP]) == 0
    # Nothing that a reader needs is missing.
    assert "missing" not in tools.sae("verify", packed, again).text
    assert np.array_equal(decoded(back, tmp_path), decoded(packed, tmp_path))
    tools.sae("repack", packed, again, "--none", "--model", trained[0])
    assert "in the file as before" in tools.sae("repack", packed, again, "--none", "--model", trained[0]).text
    assert decoded(again, tmp_path).shape == (64, 64, 64)


@pytest.mark.parametrize("options, n_filters", [
    ([], 1), (["-f", "NONE"], 0), (["-f", "GZIP=9"], 1), (["-f", "SHUF"], 1), (["-l", "frames:CHUNK=8x64x64"], 1),
    (["-f", "UD=34222,0,0"], 1), (["-l", "CHUNK=8x64x64"], 1),
], ids=lambda value: " ".join(value) if isinstance(value, list) else str(value))
def test_h5repack_takes_the_model_along(packed, trained, tmp_path, options, n_filters):
    """Also where it is told to put filters on everything: it leaves scalars alone."""
    before = decoded(packed, tmp_path)
    target = tmp_path / "target.h5"
    tools.h5repack(packed, target, *options)
    assert len(tools.stored_filters(target)) == n_filters
    with h5py.File(target) as f:
        model = f[GROUP][trained[1]]
        assert model.shape == () and model.chunks is None
    tools.sae("extract", target, "-o", tmp_path / "m.sae")
    assert (tmp_path / "m.sae").read_bytes() == trained[0].read_bytes()
    # The two that code anew use the network in other chunks, or the built-in one.
    after = decoded(target, tmp_path)
    assert np.array_equal(after, before) or (n_filters and "34222" in " ".join(options) or "CHUNK" in options[-1])


def test_a_user_block_put_before_the_file_moves_nothing_in_it(packed, trained, tmp_path):
    """h5jam and h5unjam: HDF5's places in the file count from the end of the block."""
    before = decoded(packed, tmp_path)
    block, jammed, plain, taken_out = (tmp_path / name for name in ("block", "jammed.h5", "plain.h5", "out"))
    block.write_bytes(b"notes of the beamline\n" * 40)
    tools.run("h5jam", "-i", packed, "-u", block, "-o", jammed)
    assert jammed.read_bytes().startswith(block.read_bytes())
    assert np.array_equal(decoded(jammed, tmp_path), before)
    tools.sae("extract", jammed, "-o", tmp_path / "m.sae")
    assert (tmp_path / "m.sae").read_bytes() == trained[0].read_bytes()
    tools.sae("embed", jammed, trained[0])
    tools.run("h5unjam", "-i", jammed, "-u", taken_out, "-o", plain)
    assert taken_out.read_bytes().startswith(block.read_bytes())
    assert np.array_equal(decoded(plain, tmp_path), before)


def test_h5repack_without_the_model_at_hand_fails(packed, trained, tmp_path):
    bare, target = tmp_path / "bare.h5", tmp_path / "target.h5"
    tools.run("h5copy", "-i", packed, "-o", bare, "-s", "/frames", "-d", "/frames")
    done = tools.h5repack(bare, target, "--enable-error-stack", "-f", "NONE", check=False)
    assert done.returncode != 0 and trained[1] in done.text and "sae embed FILE" in done.text


def test_an_interrupted_embedding_leaves_the_file(packed, trained, tmp_path):
    """The copy cannot be made: the folder is full, as a limit on file sizes has it."""
    content = packed.read_bytes()
    command = f"ulimit -f 100; trap '' XFSZ; exec '{tools.SAE}' embed '{packed}' '{trained[0]}'"
    other = tmp_path / "other.sae"
    tools.sae("train", f"{packed}:/frames", "-o", other, "--components", "8", "--hidden", "8", "--latent", "16",
              "--batch", "8", "--steps", "2", "--seed", "2")
    done = tools.run("bash", "-c", command.replace(str(trained[0]), str(other)), check=False)
    assert done.returncode == 2 and "packed.h5" in done.text, done.text
    assert packed.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.sae", "packed.h5"]
