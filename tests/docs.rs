//! The documents and the code say the same: cited sections exist, links lead somewhere, the example decodes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use h5z_sae::sae::backend::ScalarBackend;
use h5z_sae::sae::{Model, ModelId};
use h5z_sae::{Error, Limits, ModelSource, decompress_chunk};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

/// Headings of a document, without their marks.
fn headings(document: &str) -> BTreeSet<&str> {
    let lines = document.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| line.trim_start_matches('#').trim()).collect()
}

/// The text of a source file's comments, lines joined, so that a citation may run over a line's end.
fn comments(source: &str) -> String {
    let lines = source.lines().filter_map(|line| line.trim_start().strip_prefix("//"));
    lines.map(|line| line.trim_start_matches(['/', '!']).trim()).collect::<Vec<_>>().join(" ")
}

/// Quoted section names that follow `docs/format.md,` in a text: `"A"`, or `"A" and "B"`.
fn citations(text: &str) -> Vec<&str> {
    let mut cited = Vec::new();
    for part in text.split("docs/format.md,").skip(1) {
        let mut rest = part.trim_start();
        while let Some((section, behind)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            cited.push(section);
            let behind = behind.trim_start_matches(',').trim_start();
            rest = behind.strip_prefix("and").unwrap_or(behind).trim_start();
        }
    }
    cited
}

#[test]
fn every_section_that_the_code_cites_exists() {
    let format = read(&root().join("docs/format.md"));
    let headings = headings(&format);
    let mut n_cited = 0;
    for path in files(&root().join("src"), "rs") {
        let text = comments(&read(&path));
        for section in citations(&text) {
            assert!(headings.contains(section), "{} cites {section:?}: no such section", path.display());
            n_cited += 1;
        }
    }
    assert!(n_cited >= 15, "only {n_cited} citations were found: is their form still the same?");
}

#[test]
fn citations_are_found_over_line_ends_and_in_pairs() {
    let source =
        "//! Codes: docs/format.md,\n//! \"Patch headers\" and \"Atoms\".\nlet x = 1; /// docs/format.md";
    assert_eq!(citations(&comments(source)), ["Patch headers", "Atoms"]);
}

/// The anchor that renderers make of a heading: lower case, words joined by hyphens, punctuation dropped.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in files(&root().join("docs"), "md") {
        // Every second part between fences is code.
        let document = read(&path).split("```").step_by(2).collect::<String>();
        for link in document.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let known = headings(&read(&target)).into_iter().map(anchor).collect::<Vec<_>>();
            let found = section.is_empty() || known.iter().any(|anchor| anchor == section);
            assert!(found, "{}: link to {link}: no such section", path.display());
        }
    }
}

struct NoModels;

impl ModelSource for NoModels {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error> {
        panic!("the example needs no model, least of all {id}")
    }
}

/// The example of docs/format.md: 4 × 16 little-endian u16, all 0 but a 3 in row 1, column 4.
#[test]
fn the_example_decodes_to_what_it_says() {
    let format = read(&root().join("docs/format.md"));
    let example = format.split("## Example").nth(1).expect("there is an example");
    let hex = example.split("```").nth(1).expect("the example has bytes").trim_start_matches("text");
    let stream: Vec<u8> =
        hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("bytes are in hex")).collect();
    let mut expected = [0u16; 64];
    expected[16 + 4] = 3;
    let expected: Vec<u8> = expected.iter().flat_map(|value| value.to_le_bytes()).collect();
    let decoded = decompress_chunk(&stream, &Limits::default(), &NoModels, &ScalarBackend);
    assert_eq!(decoded.expect("the stream format has changed: bring the example up to date"), expected);
}
