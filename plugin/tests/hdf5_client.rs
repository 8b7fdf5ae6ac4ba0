//! C programs that use the filter through Debian's HDF5.

mod common;

use common::{Bench, corrupt_stream};

const F32: &str = "f32";

/// Runs tests/c/create.c with these arguments after the file's name.
fn create(bench: &Bench, arguments: &[&str]) -> common::Outcome {
    let program = bench.compile("create");
    bench.run(program, &[&["created.h5"], arguments].concat()).expect_success()
}

/// The dataset was refused with exactly one record of ours, which holds all of `parts`.
#[track_caller]
fn assert_refused(outcome: &common::Outcome, parts: &[&str]) {
    assert!(outcome.stdout.starts_with("refused"), "{}", outcome.text());
    let records = outcome.our_records();
    assert_eq!(records.len(), 1, "{}", outcome.text());
    for part in parts {
        assert!(records[0].contains(part), "{part:?} is missing in {:?}", records[0]);
    }
    assert_eq!(
        outcome.stdout.lines().nth(1),
        Some(format!("H5Z-SAE|{}", records[0]).as_str()),
        "not innermost"
    );
}

#[test]
fn writes_and_reads_within_bounds() {
    let bench = Bench::new();
    let program = bench.compile("roundtrip");
    let outcome = bench.run(program, &["roundtrip.h5"]).expect_success();
    assert!(outcome.stdout.contains("round trip done"));
}

/// What the filter stored for a dataset that was created.
#[track_caller]
fn stored_words(outcome: &common::Outcome) -> Vec<u32> {
    assert!(outcome.stdout.starts_with("created"), "{}", outcome.text());
    let words = outcome.stdout.lines().nth(1).unwrap();
    words.split(' ').map(|word| word.parse().unwrap()).collect()
}

#[test]
fn stores_type_chunk_and_fill_value() {
    let bench = Bench::new();
    let plain = stored_words(&create(&bench, &[F32, "none", "0"]));
    assert_eq!((plain.len(), &plain[7..]), (16, &[0x0002_0402, 1, 10, 10, 0, 0, 0, 0, 0][..]));
    let filled = stored_words(&create(&bench, &["filled", "none", "0"]));
    assert_eq!(filled[7..], [0x0002_0210, 1, 10, 10, 1, 0x1234, 0, 0, 0]);
}

#[test]
fn takes_its_own_stored_words_for_another_dataset() {
    let bench = Bench::new();
    let first = stored_words(&create(&bench, &["filled", "none", "0"]));
    let words: Vec<String> = first.iter().map(u32::to_string).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let second = stored_words(&create(&bench, &[&[F32, "none", "0"], &words[..]].concat()));
    assert_eq!(second[..7], first[..7]);
    assert_eq!(second[7..], [0x0002_0402, 1, 10, 10, 0, 0, 0, 0, 0]);
}

#[test]
fn replaces_model_0_by_the_built_in_model() {
    let bench = Bench::new();
    let id = h5z_sae::sae::Model::builtin().map_or(0, |model| model.id().0);
    let words = stored_words(&create(&bench, &[F32, "none", "0"]));
    assert_eq!(words[4..6], [id as u32, (id >> 32) as u32]);
}

#[test]
fn rejects_wrong_cd_values_with_one_sentence() {
    let bench = Bench::new();
    let words =
        |words: &'static str| [F32, "none", "0"].into_iter().chain(words.split(' ')).collect::<Vec<_>>();
    assert_refused(
        &create(&bench, &words("9 0 0 0 0 0 0")),
        &["cd_value 0 (layout version) is 9", "reads 0"],
    );
    assert_refused(
        &create(&bench, &words("0 5 0 0 0 0 0")),
        &["cd_value 1 (bound kind) is 5", "1 (absolute)"],
    );
    assert_refused(&create(&bench, &words("0 0 0 0 0 0 8")), &["cd_value 6 (options) is 0x8"]);
    assert_refused(&create(&bench, &words("0 0 0 0")), &["4 cd_values", "allowed are 0 (defaults), 7, 9"]);
}

#[test]
fn rejects_wrong_cd_values_where_the_filter_is_optional() {
    let bench = Bench::new();
    let outcome = create(&bench, &[F32, "none", "1", "0", "1", "0", "0", "0", "0", "0"]);
    assert_refused(&outcome, &["cd_values 2 and 3 (bound)", "finite number above 0"]);
}

#[test]
fn rejects_missing_models_with_every_place_searched() {
    let bench = Bench::new();
    let outcome = create(&bench, &[F32, "none", "0", "0", "0", "0", "0", "0x89abcdef", "0x01234567", "0"]);
    let beside_plugin = bench.plugins().join("0123456789abcdef.sae");
    let in_home = bench.path("data/h5z-sae/0123456789abcdef.sae");
    assert_refused(
        &outcome,
        &[
            "model 0123456789abcdef was not found",
            "registered in this process",
            "built-in",
            beside_plugin.to_str().unwrap(),
            in_home.to_str().unwrap(),
            "/usr/local/share/h5z-sae/",
            "/usr/share/h5z-sae/",
            "Remedy",
            "H5Z_SAE_MODEL_PATH",
        ],
    );
}

#[test]
fn rejects_model_files_of_other_content() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("named")).unwrap();
    std::fs::write(bench.path("named/0000000000000007.sae"), b"no model").unwrap();
    let program = bench.compile("create");
    let mut command = bench.command(program);
    command.env("H5Z_SAE_MODEL_PATH", bench.path("named"));
    command.args(["created.h5", F32, "none", "0", "0", "0", "0", "0", "7", "0", "0"]);
    let outcome = common::output_of(command);
    let path = bench.path("named/0000000000000007.sae");
    assert_refused(&outcome, &[&format!("{} (model file", path.display())]);
}

#[test]
fn rejects_filters_before_it_by_name() {
    let bench = Bench::new();
    assert_refused(&create(&bench, &[F32, "shuffle", "0"]), &["shuffle (2)", "put filter 34222 first"]);
    assert_refused(&create(&bench, &[F32, "twice", "0"]), &["twice in the pipeline"]);
}

#[test]
fn rejects_types_that_the_codec_has_not() {
    let bench = Bench::new();
    let refused = |kind: &str, parts: &[&str]| assert_refused(&create(&bench, &[kind, "none", "1"]), parts);
    refused("string", &["elements of class string"]);
    refused("compound", &["elements of class compound"]);
    refused("enum", &["elements of class enumeration"]);
    refused("narrow", &["20 significant bits", "4 bytes"]);
    refused("bfloat", &["floats of 2 bytes with 8 bits of exponent (bias 127) and 7 of mantissa"]);
}

#[test]
fn rejects_thread_counts_that_are_none() {
    let bench = Bench::new();
    let program = bench.compile("roundtrip");
    let mut command = bench.command(program);
    command.env("H5Z_SAE_NUM_THREADS", "many").arg("roundtrip.h5");
    let outcome = common::output_of(command);
    assert!(
        !outcome.success && outcome.stderr.contains("H5Z_SAE_NUM_THREADS is \"many\""),
        "{}",
        outcome.text()
    );
}

#[test]
fn reports_corrupted_chunks_once_at_every_read() {
    let bench = Bench::new();
    bench.run(bench.compile("roundtrip"), &["x.h5"]).expect_success();
    corrupt_stream(&bench.path("x.h5"), 40);
    let program = bench.compile("read");
    for reopen in [&["x.h5", "singles", "3"][..], &["x.h5", "singles", "3", "reopen"]] {
        let outcome = bench.run(&program, reopen).expect_success();
        let records = outcome.our_records();
        assert_eq!(records.len(), 3, "{}", outcome.text());
        assert_eq!(
            outcome.stdout.matches("failed").count() - outcome.stdout.matches("read failed").count(),
            3
        );
        for record in records {
            assert!(record.starts_with("H5Z-SAE filter: cannot decompress a chunk: checksum"), "{record}");
        }
    }
}

/// 3×2×3 chunks of 2×16×16 cover 5×30×34 values.
#[test]
fn reads_streams_that_were_moved_chunk_by_chunk() {
    let bench = Bench::new();
    bench.run(bench.compile("roundtrip"), &["x.h5"]).expect_success();
    let moved = bench.run(bench.compile("copy_chunks"), &["x.h5"]).expect_success();
    assert_eq!(moved.stdout, "18 chunks moved\n");
}

#[test]
fn keeps_memory_clean_under_valgrind() {
    let bench = Bench::new();
    let program = bench.compile("roundtrip");
    let read = bench.compile("read");
    let valgrind = ["--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", "-q"];
    let roundtrip = [program.to_str().unwrap(), "x.h5"];
    bench.run("valgrind", &[&valgrind[..], &roundtrip].concat()).expect_success();
    corrupt_stream(&bench.path("x.h5"), 40);
    let failing = [read.to_str().unwrap(), "x.h5", "singles", "2"];
    let outcome = bench.run("valgrind", &[&valgrind[..], &failing].concat()).expect_success();
    assert_eq!(outcome.our_records().len(), 2, "{}", outcome.text());
}
