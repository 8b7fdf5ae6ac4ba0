"""`make install` into a prefix of our own: what docs/c.md and docs/fortran.md say of it is done, word by word.

The prefix is moved after the installation, so nothing of it may depend on where it was.
"""
import shutil

import pytest

import documents
import tools

EXAMPLES = tools.ROOT / "examples"
VERSION = tools.sae("--version").stdout.removeprefix("sae ").strip()
MAJOR, MINOR, _ = map(int, VERSION.split("."))


def make(goal, prefix, *variables, check=True):
    variables = [f"TARGET={tools.PLUGIN_DIR.parent}", f"PREFIX={prefix}", *variables]
    return tools.run("make", "-C", tools.ROOT, goal, *variables, check=check)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """An installation that was moved."""
    folder = tmp_path_factory.mktemp("install")
    make("install", folder / "built")
    return (folder / "built").rename(folder / "moved")


@pytest.fixture
def program_folder(tmp_path, monkeypatch):
    """An empty folder to work in, with the examples where the pages name them."""
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_uninstall_leaves_what_was_there_before_and_nothing_else(tmp_path):
    other = tmp_path / "share" / "man" / "man1" / "other.1"
    other.parent.mkdir(parents=True)
    other.write_text("not ours")
    (tmp_path / "lib").mkdir()
    before = tree(tmp_path)
    make("install", tmp_path)
    installed = tree(tmp_path)
    assert {"bin/sae", "lib/libh5zsae.so.0", "include/h5zsae.F90", "share/man/man1/sae-train.1"} <= set(installed)
    make("install", tmp_path)
    assert tree(tmp_path) == installed
    make("uninstall", tmp_path)
    assert tree(tmp_path) == before


def test_uninstall_says_that_nothing_was_installed(tmp_path):
    done = make("uninstall", tmp_path, check=False)
    assert done.returncode != 0 and f"no file {tmp_path}/share/h5zsae/installed" in done.text


def test_install_refuses_a_prefix_that_is_no_path(tmp_path):
    done = make("install", "here", f"DESTDIR={tmp_path}", check=False)
    assert done.returncode != 0 and "must begin with /, found here" in done.text
    assert tree(tmp_path) == []


def test_destdir_is_in_no_installed_file(tmp_path):
    stage, library = tmp_path / "stage", "usr/lib/multiarch"
    variables = [f"DESTDIR={stage}", f"LIBDIR=/{library}"]
    make("install", "/usr", *variables)
    texts = [stage / library / "pkgconfig/h5zsae.pc", *(stage / library / "cmake/h5zsae").iterdir()]
    assert len(texts) == 3 and not [path for path in texts if str(stage) in path.read_text()]
    searched = {"PKG_CONFIG_PATH": str(texts[0].parent)}
    include = tools.run("pkg-config", "--variable=includedir", "h5zsae", **searched).stdout.strip()
    assert (stage / "usr/include").samefile(include)
    make("uninstall", "/usr", *variables)
    assert tree(stage) == []


def test_plugin_folder_holds_one_name_and_is_read_from(prefix, frames, write, tmp_path):
    plugins = prefix / "lib/hdf5/plugin"
    assert [path.name for path in plugins.iterdir()] == ["libh5zsae.so"]
    assert (plugins / "libh5zsae.so").samefile(prefix / "lib/libh5zsae.so.0")
    packed, plain = write("packed.h5", frames[:8], "--lossless"), tmp_path / "plain.h5"
    tools.h5repack(packed, plain, "-f", "NONE", HDF5_PLUGIN_PATH=str(plugins))
    assert tools.stored_filters(plain) == []
    tools.run("h5diff", packed, plain, HDF5_PLUGIN_PATH=str(plugins))


@pytest.mark.parametrize("page", ["c.md", "fortran.md"])
def test_commands_of_the_pages_build_and_run_the_examples(page, prefix, program_folder):
    for commands in documents.blocks(page, "sh"):
        done = tools.run("bash", "-eu", "-c", commands, PREFIX=str(prefix), HDF5_PLUGIN_PATH=str(program_folder))
        assert done.stdout.count("largest error") == 3, done.text
    assert (program_folder / "frames.h5").exists() and (program_folder / "counts.h5").exists()


@pytest.mark.parametrize("page", ["c.md", "fortran.md"])
def test_cmake_projects_of_the_pages_build_and_run_the_examples(page, prefix, program_folder):
    for project in documents.blocks(page, "cmake"):
        (program_folder / "CMakeLists.txt").write_text(project)
        tools.run("cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}")
        tools.run("cmake", "--build", "build")
        assert "largest error" in tools.run("build/buffers").stdout
        registered = tools.run("build/registered", "counts.h5", HDF5_PLUGIN_PATH=str(program_folder))
        assert "largest error" in registered.stdout


@pytest.mark.parametrize("version, found", [
    (f"{MAJOR}.{MINOR}", True), (f"{VERSION} EXACT", True), (f"{MAJOR}.{MINOR + 1}", False), (f"{MAJOR + 1}", False),
    (f"{VERSION}.1", False),
])
def test_cmake_takes_only_versions_of_the_same_interface(version, found, prefix, program_folder):
    project = f"cmake_minimum_required(VERSION 3.16)\nproject(p C)\nfind_package(h5zsae {version} REQUIRED)\n"
    (program_folder / "CMakeLists.txt").write_text(project)
    done = tools.run("cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}", check=False)
    assert (done.returncode == 0) == found, done.text
    assert found or f"version: {VERSION}" in done.text


def test_cmake_names_a_file_that_is_missing(prefix, program_folder):
    broken = program_folder / "broken"
    shutil.copytree(prefix, broken, symlinks=True)
    (broken / "include/h5zsae.F90").unlink()
    (program_folder / "CMakeLists.txt").write_text(documents.blocks("c.md", "cmake")[0])
    done = tools.run("cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={broken}", check=False)
    assert done.returncode != 0 and "include/h5zsae.F90 is missing" in " ".join(done.text.split())


def test_programs_with_a_static_hdf5_are_told_to_link_the_shared_one(prefix, program_folder):
    """Debian's h5cc links HDF5 statically: nobody finds its functions then."""
    flags = tools.run("pkg-config", "--cflags", "--libs", "h5zsae", PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"))
    tools.run("h5cc", "-std=c99", "examples/c/registered.c", *flags.stdout.split(), "-lm", "-o", "registered")
    done = tools.run("./registered", "counts.h5", check=False, LD_LIBRARY_PATH=str(prefix / "lib"))
    assert done.returncode == 1 and "h5cc and h5fc need -shlib" in done.text


def test_manual_pages_are_well_formed(prefix):
    pages = sorted((prefix / "share/man/man1").iterdir())
    verbs = ["completions", "embed", "extract", "filter-args", "info", "man", "repack", "synth", "train", "unpack",
             "verify"]
    assert [page.name for page in pages] == [*(f"sae-{verb}.1" for verb in verbs), "sae.1"]
    for page in pages:
        done = tools.run("man", "--warnings", "-E", "UTF-8", "-l", page, LC_ALL="C.UTF-8", MANWIDTH="100")
        assert done.text == done.stdout, f"{page.name}: {done.text[len(done.stdout):]}"
        assert "SYNOPSIS" in done.stdout and f"H5Z-SAE {VERSION}" in done.stdout


@pytest.mark.parametrize("words, completed", [(["rep"], ["repack"]), (["repack", "--unb"], ["--unbiased"])])
def test_bash_completes_verbs_and_options(words, completed, prefix):
    script = prefix / "share/bash-completion/completions/sae"
    # As bash calls the function: the command, the word to complete, the word before it.
    line = f"source {script}; COMP_WORDS=({' '.join(['sae', *words])}); COMP_CWORD={len(words)}; " \
           f"_sae sae {words[-1]} {['sae', *words][-2]}; echo ${{COMPREPLY[@]}}"
    assert tools.run("bash", "-c", line).stdout.split() == completed


def test_fish_completes_verbs_and_options(prefix):
    script = prefix / "share/fish/vendor_completions.d/sae.fish"
    line = f"source {script}; complete -C 'sae rep'; complete -C 'sae repack --unb'"
    done = tools.run("fish", "--no-config", "-c", line)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["repack", "--unbiased"]


def test_zsh_finds_the_completions(prefix):
    functions = prefix / "share/zsh/site-functions"
    line = f"fpath=({functions} $fpath); autoload -U compinit; compinit -u -D; autoload +X _sae && echo $_comps[sae]"
    assert tools.run("zsh", "-fc", line).stdout.strip() == "_sae"
