//! A bench for C programs: the plugin alone in a folder, compiled clients, and what they print.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;

use h5zsae::abi::H5ZSAE_ABI_VERSION;
use tempfile::TempDir;

/// What a program printed and how it ended.
pub struct Outcome {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Both outputs together.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The lines of the error stack that carry our error class.
    pub fn our_records(&self) -> Vec<&str> {
        self.stdout.lines().filter_map(|line| line.strip_prefix("H5Z-SAE|")).collect()
    }

    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(self.success, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// A temporary folder with the plugin in a subfolder of its own, as HDF5 opens every library on its plugin path; and
/// in another the library, as installed for programs that link it.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        std::fs::copy(built_library(), plugins.join("libh5zsae.so")).unwrap();
        let libraries = folder.path().join("lib");
        std::fs::create_dir(&libraries).unwrap();
        for name in ["libh5zsae.so".to_string(), format!("libh5zsae.so.{H5ZSAE_ABI_VERSION}")] {
            std::os::unix::fs::symlink("../plugins/libh5zsae.so", libraries.join(name)).unwrap();
        }
        Self { folder }
    }

    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Compiles `tests/c/<name>.c` against HDF5.
    pub fn compile(&self, name: &str) -> PathBuf {
        self.compile_sources("gcc", &["-std=c11"], &[&test_program(name)], &pkg_config_hdf5())
    }

    /// Compiles `tests/c/<name>.c` against the library of this project, without HDF5.
    pub fn compile_plain(&self, compiler: &str, options: &[&str], name: &str) -> PathBuf {
        let mut flags = self.link_flags();
        flags.push("-lpthread".to_string());
        self.compile_sources(compiler, options, &[&test_program(name)], &flags)
    }

    /// Compiles a program, all warnings being errors. It is named by the last source.
    pub fn compile_sources(
        &self,
        compiler: &str,
        options: &[&str],
        sources: &[&Path],
        flags: &[String],
    ) -> PathBuf {
        let name = sources.last().unwrap().file_stem().unwrap().to_str().unwrap();
        let program = self.path(&format!("{name}-{compiler}"));
        if program.exists() {
            return program;
        }
        let mut command = Command::new(compiler);
        // Module files of Fortran are written to the working folder.
        command.current_dir(self.folder.path());
        command.args(options).args(["-Wall", "-Wextra", "-Werror", "-g", "-I"]).arg(project("include"));
        command.args(sources).args(flags).arg("-lm").arg("-o").arg(&program);
        output_of(command).expect_success();
        program
    }

    /// Links the library of this project.
    pub fn link_flags(&self) -> Vec<String> {
        let libraries = self.path("lib");
        let libraries = libraries.to_str().unwrap();
        vec![format!("-L{libraries}"), "-lh5zsae".to_string(), format!("-Wl,-rpath,{libraries}")]
    }

    /// A command that finds the plugin, and no model of the user who runs the tests.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("HDF5_PLUGIN_PATH", self.plugins()).env("XDG_DATA_HOME", self.path("data"));
        command
            .env_remove("H5Z_SAE_MODEL_PATH")
            .env_remove("H5Z_SAE_NUM_THREADS")
            .env_remove("H5Z_SAE_DEVICE")
            .current_dir(self.folder.path());
        command
    }

    /// A command that runs a program under valgrind: an error of memory or a leak is its failure.
    pub fn valgrind(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.command("valgrind");
        command.args(["-q", "--error-exitcode=9", "--leak-check=full"]);
        command.arg("--errors-for-leak-kinds=definite,indirect,possible").arg(program);
        command
    }

    /// Runs a program in the folder.
    pub fn run<S: AsRef<std::ffi::OsStr>>(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
        arguments: &[S],
    ) -> Outcome {
        let mut command = self.command(program);
        command.args(arguments);
        output_of(command)
    }
}

/// Runs a command. A tool that is not installed fails the test.
pub fn output_of(mut command: Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
    Outcome {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The shared library that cargo built beside this test: in `deps` with the test itself, or one folder up.
pub fn built_library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folders = test.ancestors().skip(1).take(2);
    let mut found = folders.map(|folder| folder.join("libh5zsae.so")).filter(|path| path.exists());
    found.next().unwrap_or_else(|| panic!("no libh5zsae.so beside {}", test.display()))
}

/// A path in this repository.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn test_program(name: &str) -> PathBuf {
    project(&format!("plugin/tests/c/{name}.c"))
}

/// Compiles and links against Debian's HDF5.
pub fn pkg_config_hdf5() -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.args(["--cflags", "--libs", "hdf5-serial"]);
    output_of(command).expect_success().stdout.split_whitespace().map(str::to_string).collect()
}

/// Changes one bit of the first stream in a file, `offset` bytes after its start.
pub fn corrupt_stream(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let start = bytes.windows(3).position(|window| window == b"\x89S\x20").expect("no stream in the file");
    bytes[start + offset] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}
