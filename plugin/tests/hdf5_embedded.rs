//! Datasets whose model lies in the HDF5 file itself, through Debian's HDF5: the filter finds it whenever it is called.

mod common;

use common::{Bench, Outcome, output_of};
use h5z_sae::PatchShape;
use h5z_sae::sae::{ModelId, testing::cosine_spec};

/// A bench with x.h5, whose dataset /smooth needs the model, and the model beside it, where nobody looks.
struct Written {
    bench: Bench,
    id: ModelId,
}

impl Written {
    fn new() -> Self {
        let bench = Bench::new();
        let bytes = cosine_spec(PatchShape { rows: 16, cols: 16 }, false).to_bytes().unwrap();
        let id = ModelId::of_file(&bytes);
        std::fs::create_dir(bench.path("models")).unwrap();
        std::fs::write(bench.path("models").join(format!("{id}.sae")), bytes).unwrap();
        let mut command = bench.command(bench.compile("smooth"));
        command.arg("x.h5").args(halves(id)).env("H5Z_SAE_MODEL_PATH", bench.path("models"));
        output_of(command).expect_success();
        Self { bench, id }
    }

    fn embedded() -> Self {
        let written = Self::new();
        let model = format!("models/{}.sae", written.id);
        let program = written.bench.compile("embed");
        written.bench.run(program, &["x.h5", &model, &written.id.to_string()]).expect_success();
        written
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Outcome {
        self.bench.run(self.bench.compile(program), arguments)
    }
}

/// The two words of cd_values.
fn halves(id: ModelId) -> [String; 2] {
    [(id.0 as u32).to_string(), ((id.0 >> 32) as u32).to_string()]
}

/// The last value of /smooth, as h5dump prints it.
fn last_value(bench: &Bench) -> f64 {
    let place = ["-d", "/smooth", "-s", "15,63,63", "-c", "1,1,1", "x.h5"];
    let dump = bench.run("h5dump", &place).expect_success().stdout;
    let line = dump.lines().find(|line| line.trim_start().starts_with("(15,63,63): ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn reads_with_the_plugin_alone_also_after_h5close() {
    let written = Written::embedded();
    let outcome = written.run("read", &["x.h5", "smooth", "3", "reopen"]).expect_success();
    assert_eq!(outcome.stdout, "read\nread\nread\n", "{}", outcome.text());
}

#[test]
fn writes_in_every_order_of_closing() {
    let written = Written::embedded();
    assert!(last_value(&written.bench) > 0.0);
    std::fs::copy(written.bench.path("x.h5"), written.bench.path("before.h5")).unwrap();
    for way in ["flush", "dataset", "file", "group", "strong", "exit", "library", "uncached"] {
        std::fs::copy(written.bench.path("before.h5"), written.bench.path("x.h5")).unwrap();
        written.run("rewrite", &["x.h5", way]).expect_success();
        let found = last_value(&written.bench);
        assert!((found + 63.0 / 64.0).abs() <= 0.01, "{way}: {found}");
    }
}

#[test]
fn codes_fill_values_while_the_dataset_is_created() {
    let written = Written::embedded();
    let [low, high] = halves(written.id);
    let outcome = written.run("rewrite", &["x.h5", "early", &low, &high]).expect_success();
    assert_eq!(outcome.stdout, "written\n");
}

#[test]
fn leaves_handlers_error_stack_and_identifiers_as_they_were() {
    let written = Written::embedded();
    for handler in ["v1", "v2"] {
        let outcome = written.run("undisturbed", &["x.h5", handler]).expect_success();
        assert_eq!(outcome.stdout, "read\n", "{handler}: {}", outcome.text());
    }
}

#[test]
fn leaves_one_record_where_no_file_has_the_model() {
    let written = Written::new();
    for handler in ["v1", "v2"] {
        let outcome = written.run("undisturbed", &["x.h5", handler]).expect_success();
        let records = outcome.our_records();
        assert_eq!(records.len(), 1, "{}", outcome.text());
        let place = format!("/_h5z_sae/models/{} in open HDF5 files (x.h5: no such object)", written.id);
        for part in [&place, "Remedy", &format!("sae embed FILE {}.sae", written.id)] {
            assert!(records[0].contains(part), "{part:?} is missing in {:?}", records[0]);
        }
    }
}

#[test]
fn copies_of_a_dataset_are_read_with_the_group_of_models() {
    let written = Written::embedded();
    written.run("copy_object", &["x.h5", "alone.h5", "alone"]).expect_success();
    written.run("copy_object", &["x.h5", "both.h5", "model"]).expect_success();
    let both = written.run("read", &["both.h5", "smooth", "1"]).expect_success();
    assert_eq!(both.stdout, "read\n");
    let alone = written.run("read", &["alone.h5", "smooth", "1"]).expect_success();
    let records = alone.our_records();
    assert_eq!(records.len(), 1, "{}", alone.text());
    for part in
        [&format!("model {} was not found", written.id), "(alone.h5: no such object)", "sae embed FILE"]
    {
        assert!(records[0].contains(part), "{part:?} is missing in {:?}", records[0]);
    }
}

#[test]
fn refuses_to_create_datasets_whose_model_no_file_has() {
    let written = Written::new();
    let [low, high] = halves(written.id);
    let outcome = written.run("smooth", &["y.h5", &low, &high]).expect_success();
    assert!(outcome.stdout.starts_with("refused"), "{}", outcome.text());
    assert!(outcome.our_records()[0].contains("y.h5: no such object"), "{}", outcome.text());
}

#[test]
fn keeps_memory_clean_under_valgrind() {
    let written = Written::embedded();
    let program = written.bench.compile("read");
    let options = ["--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", "-q"];
    let command = [&options[..], &[program.to_str().unwrap(), "x.h5", "smooth", "1"]].concat();
    written.bench.run("valgrind", &command).expect_success();
}

#[test]
fn is_found_by_the_tools_of_hdf5() {
    let written = Written::embedded();
    written.bench.run("h5repack", &["-f", "NONE", "x.h5", "plain.h5"]).expect_success();
    written.bench.run("h5diff", &["x.h5", "plain.h5", "/smooth"]).expect_success();
}
