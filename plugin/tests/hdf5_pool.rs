//! Filters on threads that belong to HDF5 itself, as builds of 2.3 and later may run them: HDF5 is not called from
//! there. tests/c/pool_host.c stands for such a library and ends the program at any call.

mod common;

use std::path::PathBuf;

use common::{Bench, Outcome, output_of, project};
use h5z_sae::cd_values::{RequestedParams, StoredParams};
use h5z_sae::sae::{ModelId, testing::cosine_spec};
use h5z_sae::{Bound, ElementType, PatchShape};

const DIMS: [usize; 3] = [4, 64, 64];
const EPSILON: f64 = 0.01;

/// `H5Z_FLAG_REVERSE`.
const READ: &str = "0x100";
const WRITE: &str = "0";

/// How a library tells its version.
#[derive(Clone, Copy)]
enum Version {
    Stated(&'static str),
    Asked,
}

/// A client of such a library, a chunk of values, and a model where it is found only if its folder is named.
struct Client {
    bench: Bench,
    program: PathBuf,
    values: Vec<f32>,
    words: Vec<u32>,
    id: ModelId,
}

impl Client {
    fn new(version: Version) -> Self {
        let bench = Bench::new();
        let source = |name: &str| project(&format!("plugin/tests/c/{name}.c"));
        let stated = match version {
            Version::Stated(number) => format!("-DSTATED_VERSION=\"{number}\""),
            Version::Asked => "-USTATED_VERSION".to_string(),
        };
        let libraries = ["-ldl", "-lpthread"].map(str::to_string);
        let options = ["-std=c11", "-shared", "-fPIC", "-fexceptions", &stated];
        let host = bench.compile_sources("gcc", &options, &[&source("pool_host")], &libraries);
        let host = [host.display().to_string()];
        let program = bench.compile_sources("gcc", &["-std=c11"], &[&source("pool_client")], &host);
        let bytes = cosine_spec(PatchShape { rows: 16, cols: 16 }, false).to_bytes().unwrap();
        let id = ModelId::of_file(&bytes);
        std::fs::create_dir(bench.path("models")).unwrap();
        std::fs::write(bench.path("models").join(format!("{id}.sae")), bytes).unwrap();
        let request =
            RequestedParams { bound: Bound::Absolute(EPSILON), model: id, ..RequestedParams::default() };
        let words =
            StoredParams::try_new(request, ElementType::F32, &DIMS, None).unwrap().to_words().to_vec();
        let values = smooth();
        let content: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        std::fs::write(bench.path("values"), content).unwrap();
        Self { bench, program, values, words, id }
    }

    fn run(&self, thread: &str, flags: &str, files: [&str; 2], has_model: bool) -> Outcome {
        let mut command = self.bench.command(&self.program);
        command.arg(self.bench.plugins().join("libh5zsae.so")).args([thread, flags]).args(files);
        command.args(self.words.iter().map(u32::to_string));
        if has_model {
            command.env("H5Z_SAE_MODEL_PATH", self.bench.path("models"));
        }
        output_of(command).expect_success()
    }

    fn assert_decoded(&self, name: &str) {
        let bytes = std::fs::read(self.bench.path(name)).unwrap();
        let decoded = bytes.chunks_exact(4).map(|value| f32::from_ne_bytes(value.try_into().unwrap()));
        assert_eq!(bytes.len(), self.values.len() * 4);
        for (found, expected) in decoded.zip(&self.values) {
            assert!((f64::from(found) - f64::from(*expected)).abs() <= EPSILON);
        }
    }
}

/// One low cosine for each patch of 16 × 16, with an amplitude of its own: what the model has learnt.
fn smooth() -> Vec<f32> {
    let wave = |at: usize, n: usize| (std::f64::consts::PI * (at as f64 + 0.5) * n as f64 / 16.0).cos();
    let value = |index: usize| {
        let (frame, row, col) = (index / 4096, index / 64 % 64, index % 64);
        let patch = frame * 16 + row / 16 * 4 + col / 16;
        let amplitude = 0.3 * (patch as f64 * 1.7).sin();
        (0.6 + amplitude * wave(row % 16, patch % 3) * wave(col % 16, patch % 4)) as f32
    };
    (0..DIMS.iter().product()).map(value).collect()
}

#[test]
fn codes_on_a_thread_of_hdf5_without_calling_it() {
    for version in [Version::Stated("2.3.0"), Version::Asked] {
        let client = Client::new(version);
        for (flags, files) in [(WRITE, ["values", "stream"]), (READ, ["stream", "back"])] {
            let outcome = client.run("pool", flags, files, true);
            assert_eq!(
                (outcome.stdout.as_str(), outcome.stderr.as_str()),
                ("done, 0 allocations, 0 records\n", "")
            );
        }
        client.assert_decoded("back");
    }
}

#[test]
fn names_the_missing_model_on_stderr() {
    let client = Client::new(Version::Stated("2.3.0"));
    client.run("pool", WRITE, ["values", "stream"], true);
    let outcome = client.run("pool", READ, ["stream", "back"], false);
    assert_eq!(outcome.stdout, "failed, 0 allocations, 0 records\n");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    let place =
        format!("/_h5z_sae/models/{} in open HDF5 files (not searched: this may be a thread", client.id);
    for part in [&format!("model {} was not found", client.id), &place, "Remedy"] {
        assert!(outcome.stderr.contains(part), "{part:?} is missing in {}", outcome.stderr);
    }
}

#[test]
fn calls_hdf5_from_the_thread_that_has_called_it() {
    for version in [Version::Stated("2.3.0"), Version::Asked] {
        let client = Client::new(version);
        client.run("caller", WRITE, ["values", "stream"], true);
        let outcome = client.run("caller", READ, ["stream", "back"], true);
        assert_eq!(
            (outcome.stdout.as_str(), outcome.stderr.as_str()),
            ("done, 1 allocations, 0 records\n", "")
        );
        client.assert_decoded("back");
        let outcome = client.run("caller", READ, ["stream", "back"], false);
        assert!(outcome.stdout.contains("in open HDF5 files (none is open)"), "{}", outcome.text());
        assert!(outcome.stdout.ends_with("failed, 0 allocations, 1 records\n") && outcome.stderr.is_empty());
    }
}

/// The calls of an older HDF5 may be made on any thread: it has none of its own, whatever the stack looks like.
#[test]
fn trusts_every_thread_of_an_older_hdf5() {
    let client = Client::new(Version::Stated("2.2.0"));
    client.run("caller", WRITE, ["values", "stream"], true);
    let mut command = client.bench.command(&client.program);
    command.arg(client.bench.plugins().join("libh5zsae.so")).args(["pool", READ, "stream", "back"]);
    command
        .args(client.words.iter().map(u32::to_string))
        .env("H5Z_SAE_MODEL_PATH", client.bench.path("models"));
    let outcome = output_of(command);
    assert!(
        !outcome.success && outcome.stderr.contains("H5allocate_memory was called"),
        "{}",
        outcome.text()
    );
}
