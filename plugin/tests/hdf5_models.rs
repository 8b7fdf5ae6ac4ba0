//! Datasets whose chunks need a model file, through Debian's HDF5.

mod common;

use std::path::{Path, PathBuf};

use common::{Bench, Outcome, output_of};
use h5z_sae::PatchShape;
use h5z_sae::sae::{ModelId, testing::cosine_spec};

/// A model file in a folder, and the id of its content.
struct ModelFile {
    id: ModelId,
    folder: PathBuf,
    path: PathBuf,
}

fn write_model(folder: &Path) -> ModelFile {
    std::fs::create_dir_all(folder).unwrap();
    let bytes = cosine_spec(PatchShape { rows: 16, cols: 16 }, false).to_bytes().unwrap();
    let id = ModelId::of_file(&bytes);
    let path = folder.join(format!("{id}.sae"));
    std::fs::write(&path, bytes).unwrap();
    ModelFile { id, folder: folder.to_path_buf(), path }
}

/// Runs tests/c/smooth.c with the model's id.
fn write_smooth(bench: &Bench, id: ModelId, search_path: Option<&Path>) -> Outcome {
    let mut command = bench.command(bench.compile("smooth"));
    command.args(["x.h5", &(id.0 as u32).to_string(), &((id.0 >> 32) as u32).to_string()]);
    if let Some(folder) = search_path {
        command.env("H5Z_SAE_MODEL_PATH", folder);
    }
    output_of(command)
}

fn read_smooth(bench: &Bench, search_path: Option<&Path>) -> Outcome {
    let mut command = bench.command(bench.compile("read"));
    command.args(["x.h5", "smooth", "1"]);
    if let Some(folder) = search_path {
        command.env("H5Z_SAE_MODEL_PATH", folder);
    }
    output_of(command).expect_success()
}

#[test]
fn writes_with_a_model_and_misses_it_at_reading() {
    let bench = Bench::new();
    let model = write_model(&bench.path("models"));
    let written = write_smooth(&bench, model.id, Some(&model.folder)).expect_success();
    assert!(written.stdout.starts_with("written"), "{}", written.text());
    assert!(read_smooth(&bench, Some(&model.folder)).stdout.starts_with("read"));
    let failed = read_smooth(&bench, None);
    let records = failed.our_records();
    assert_eq!(records.len(), 1, "{}", failed.text());
    let sentence = format!("H5Z-SAE filter: cannot decompress a chunk: model {} was not found", model.id);
    assert!(records[0].starts_with(&sentence), "{}", records[0]);
}

#[test]
fn finds_models_beside_the_plugin_and_at_home() {
    for folder in ["plugins", "data/h5z-sae"] {
        let bench = Bench::new();
        let model = write_model(&bench.path(folder));
        write_smooth(&bench, model.id, None).expect_success();
        assert!(read_smooth(&bench, None).stdout.starts_with("read"), "{folder}");
    }
}

#[test]
fn rejects_models_whose_content_has_another_id() {
    let bench = Bench::new();
    let model = write_model(&bench.path("models"));
    std::fs::rename(&model.path, model.folder.join("0000000000000007.sae")).unwrap();
    let refused = write_smooth(&bench, ModelId(7), Some(&model.folder)).expect_success();
    assert!(refused.stdout.starts_with("refused"), "{}", refused.text());
    let records = refused.our_records();
    assert_eq!(records.len(), 1, "{}", refused.text());
    assert!(
        records[0].contains(&format!("0000000000000007.sae (its content has the id {})", model.id)),
        "{records:?}"
    );
}

#[test]
fn goes_on_searching_after_a_broken_file() {
    let bench = Bench::new();
    let model = write_model(&bench.path("good"));
    std::fs::create_dir(bench.path("bad")).unwrap();
    std::fs::write(bench.path("bad").join(model.path.file_name().unwrap()), b"broken").unwrap();
    let both = std::env::join_paths([bench.path("bad"), model.folder.clone()]).unwrap();
    write_smooth(&bench, model.id, Some(Path::new(&both))).expect_success();
    assert!(read_smooth(&bench, Some(Path::new(&both))).stdout.starts_with("read"));
}

/// The one stream of x.h5; the rest of the file holds the time of writing.
fn only_stream(bench: &Bench, written: &Outcome) -> Vec<u8> {
    let n_bytes: usize = written.stdout.trim().strip_prefix("written ").unwrap().parse().unwrap();
    let bytes = std::fs::read(bench.path("x.h5")).unwrap();
    let start = bytes.windows(3).position(|window| window == b"\x89S\x20").unwrap();
    bytes[start..start + n_bytes].to_vec()
}

#[test]
fn writes_the_same_bytes_with_several_threads() {
    let bench = Bench::new();
    let model = write_model(&bench.path("plugins"));
    let single = only_stream(&bench, &write_smooth(&bench, model.id, None).expect_success());
    let mut command = bench.command(bench.compile("smooth"));
    command.args(["x.h5", &(model.id.0 as u32).to_string(), &((model.id.0 >> 32) as u32).to_string()]);
    command.env("H5Z_SAE_NUM_THREADS", "4");
    assert!(single == only_stream(&bench, &output_of(command).expect_success()), "the streams differ");
}
