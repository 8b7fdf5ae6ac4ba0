//! Debian's h5repack, h5dump and h5diff with the filter.

mod common;

use common::{Bench, Outcome, corrupt_stream};

/// A file whose dataset /singles (f32, 5×30×34) went through the filter.
fn bench_with_file() -> Bench {
    let bench = Bench::new();
    bench.run(bench.compile("roundtrip"), &["x.h5"]).expect_success();
    bench
}

/// The filter's parameters per dataset. h5dump prints them as signed numbers.
fn stored_params(bench: &Bench, file: &str) -> Vec<Vec<u32>> {
    let dump = bench.run("h5dump", &["-pH", file]).expect_success().stdout;
    let lines = dump.lines().filter_map(|line| line.trim().strip_prefix("PARAMS {")?.strip_suffix('}'));
    lines
        .map(|words| words.split_whitespace().map(|word| word.parse::<i32>().unwrap() as u32).collect())
        .collect()
}

fn repack(bench: &Bench, arguments: &[&str]) -> Outcome {
    bench.run("h5repack", arguments)
}

#[test]
fn repacks_from_unfiltered_and_back() {
    let bench = bench_with_file();
    repack(&bench, &["-f", "NONE", "x.h5", "plain.h5"]).expect_success();
    assert_eq!(stored_params(&bench, "plain.h5").len(), 0);
    repack(&bench, &["-f", "UD=34222,0,0", "plain.h5", "again.h5"]).expect_success();
    assert_eq!(stored_params(&bench, "again.h5").len(), 3);
    bench.run("h5diff", &["plain.h5", "again.h5"]).expect_success();
    bench.run("h5diff", &["x.h5", "again.h5"]).expect_success();
}

#[test]
fn stays_idempotent_when_chunks_change_twice() {
    let bench = bench_with_file();
    // 1e-3 as two words, on one dataset.
    let bound = "singles:UD=34222,0,7,0,1,3539053052,1062232653,0,0,0";
    repack(&bench, &["-f", bound, "-l", "singles:CHUNK=5x30x34", "x.h5", "a.h5"]).expect_success();
    repack(&bench, &["-l", "singles:CHUNK=3x10x17", "a.h5", "b.h5"]).expect_success();
    repack(&bench, &["-l", "singles:CHUNK=1x30x34", "b.h5", "c.h5"]).expect_success();
    for (file, chunk) in [("a.h5", [5, 30, 34]), ("b.h5", [3, 10, 17]), ("c.h5", [1, 30, 34])] {
        let params = stored_params(&bench, file).pop().unwrap();
        assert_eq!(params.len(), 16, "{file}: {params:?}");
        assert_eq!(params[..4], [0, 1, 3_539_053_052, 1_062_232_653], "{file}");
        assert_eq!(params[8..11], chunk, "{file}");
    }
    bench.run("h5diff", &["-d", "0.0045", "x.h5", "c.h5", "/singles"]).expect_success();
}

#[test]
fn survives_tools_that_add_filters_after_it() {
    let bench = bench_with_file();
    repack(&bench, &["-f", "counts:UD=34222,0,0", "-f", "counts:FLET", "x.h5", "a.h5"]).expect_success();
    bench.run("h5diff", &["x.h5", "a.h5", "/counts"]).expect_success();
    let dump = bench.run("h5dump", &["-pH", "-d", "/counts", "a.h5"]).expect_success().stdout;
    assert!(dump.contains("FILTER_ID 34222") && dump.contains("FLETCHER32"), "{dump}");
}

#[test]
fn dumps_values_of_every_dataset() {
    let bench = bench_with_file();
    let dump =
        bench.run("h5dump", &["-d", "/counts", "-s", "0,0,1", "-c", "1,1,1", "x.h5"]).expect_success().stdout;
    assert!(dump.contains("40503"), "{dump}");
}

#[test]
fn fails_on_corrupted_chunks_with_our_sentence() {
    let bench = bench_with_file();
    corrupt_stream(&bench.path("x.h5"), 40);
    let sentence = "H5Z-SAE filter: cannot decompress a chunk: checksum";
    let dump = bench.run("h5dump", &["--enable-error-stack", "-d", "/singles", "x.h5"]);
    assert!(!dump.success && dump.text().contains(sentence), "{}", dump.text());
    let repacked = repack(&bench, &["--enable-error-stack", "-f", "GZIP=1", "x.h5", "y.h5"]);
    assert!(!repacked.success && repacked.text().contains(sentence), "{}", repacked.text());
}

/// Not what we want but what h5repack 1.10 does: the documentation says so, and `sae verify` finds it.
#[test]
fn is_left_out_by_h5repack_when_it_refuses() {
    let bench = bench_with_file();
    repack(&bench, &["-f", "NONE", "x.h5", "plain.h5"]).expect_success();
    repack(&bench, &["-f", "UD=34222,0,7,9,0,0,0,0,0,0", "plain.h5", "y.h5"]).expect_success();
    assert_eq!(stored_params(&bench, "y.h5").len(), 0);
    bench.run("h5diff", &["plain.h5", "y.h5"]).expect_success();
}
