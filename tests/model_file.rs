//! Model files that are damaged, hostile or of another version are refused, each with a sentence that says why.

use std::collections::BTreeMap;

use h5z_sae::sae::backend::ScalarBackend;
use h5z_sae::sae::testing::{TestRng, cosine_spec, random_codes, random_spec};
use h5z_sae::sae::{IntValues, Model, ModelId, ModelSpec, Transform};
use h5z_sae::{ErrorKind, PatchShape};
use serde_json::{Value, json};

/// A small model whose tensors all have several values: 4 × 3 patches, 6 basis rows in two blocks, 12 latents.
fn small_spec() -> ModelSpec {
    let mut spec = cosine_spec(PatchShape { rows: 4, cols: 3 }, true);
    let decoder = &mut spec.decoder;
    let mut first = decoder.basis.remove(0);
    let IntValues::I16(values) = &mut first.values else { panic!("the cosine basis has 16 bits") };
    let rest = values.split_off(2 * first.cols);
    let second =
        h5z_sae::sae::IntTensor { rows: first.rows - 2, cols: first.cols, values: IntValues::I16(rest) };
    first.rows = 2;
    decoder.basis = vec![first, second];
    spec
}

/// A model file taken apart, to be changed in one place and put together again.
struct Parts {
    settings: Value,
    other_metadata: BTreeMap<String, String>,
    /// name → (dtype, shape, bytes)
    tensors: BTreeMap<String, (String, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Self {
        let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
        let metadata = header.remove("__metadata__").unwrap();
        let data = &bytes[8 + header_len..];
        let tensors = header.into_iter().map(|(name, info)| {
            let shape = serde_json::from_value(info["shape"].clone()).unwrap();
            let [start, end]: [usize; 2] = serde_json::from_value(info["data_offsets"].clone()).unwrap();
            (name, (info["dtype"].as_str().unwrap().to_owned(), shape, data[start..end].to_vec()))
        });
        Self {
            settings: serde_json::from_str(metadata["h5z-sae"].as_str().unwrap()).unwrap(),
            other_metadata: BTreeMap::new(),
            tensors: tensors.collect(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut metadata = self.other_metadata.clone();
        if !self.settings.is_null() {
            metadata.insert("h5z-sae".to_owned(), self.settings.to_string());
        }
        let mut header = BTreeMap::from([("__metadata__".to_owned(), json!(metadata))]);
        let mut data = Vec::new();
        for (name, (dtype, shape, bytes)) in &self.tensors {
            let end = data.len() + bytes.len();
            header.insert(
                name.clone(),
                json!({"dtype": dtype, "shape": shape, "data_offsets": [data.len(), end]}),
            );
            data.extend(bytes);
        }
        with_header(&serde_json::to_string(&header).unwrap(), &data)
    }
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Changes a small valid file in one place and asserts how it is refused.
fn assert_refused(change: impl Fn(&mut Parts), kind: ErrorKind, part_of_message: &str) {
    let mut parts = Parts::of(&small_spec().to_bytes().unwrap());
    change(&mut parts);
    let error = ModelSpec::parse(&parts.to_bytes()).expect_err(part_of_message);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(part_of_message), "{error:?} does not say {part_of_message:?}");
}

#[test]
fn reads_files_whose_tensors_stand_in_another_order() {
    let spec = small_spec();
    let parts = Parts::of(&spec.to_bytes().unwrap());
    assert_eq!(ModelSpec::parse(&parts.to_bytes()).unwrap(), spec);
}

#[test]
fn encoder_weights_are_rounded_to_binary16_and_nothing_else_changes() {
    let mut spec = small_spec();
    spec.sparsity_lambda = 0.1 + 0.2;
    spec.encoder.input[0] = 0.1;
    spec.encoder.latent_bias[0] = -65519.0;
    let mut expected = spec.clone();
    expected.encoder.input[0] = 0.099_975_586;
    expected.encoder.latent_bias[0] = -65504.0;
    assert_eq!(ModelSpec::parse(&spec.to_bytes().unwrap()).unwrap(), expected);
}

#[test]
fn the_id_is_the_start_of_the_sha256() {
    // printf '' | sha256sum | cut -c1-16
    assert_eq!(ModelId::of_file(b"").to_string(), "e3b0c44298fc1c14");
    let bytes = small_spec().to_bytes().unwrap();
    assert_eq!(Model::parse(&bytes).unwrap().id(), ModelId::of_file(&bytes));
}

#[test]
fn rejects_other_versions_before_their_settings() {
    let later = |parts: &mut Parts| parts.settings = json!({"format_version": 1, "something_new": []});
    assert_refused(later, ErrorKind::Unsupported, "format version 1: this library reads version 0");
}

#[test]
fn rejects_files_of_other_programs() {
    assert_refused(|parts| parts.settings = Value::Null, ErrorKind::Corrupt, "not of h5z-sae");
    assert_eq!(ModelSpec::parse(b"").unwrap_err().kind(), ErrorKind::Truncated);
    assert_eq!(ModelSpec::parse(b"\x89HDF\r\n\x1a\n").unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(ModelSpec::parse(&with_header("{}", b"")).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn rejects_what_it_does_not_know() {
    let metadata = |parts: &mut Parts| {
        parts.other_metadata.insert("format".to_owned(), "pt".to_owned());
    };
    assert_refused(metadata, ErrorKind::Corrupt, "unknown metadata key \"format\"");
    let tensor = |parts: &mut Parts| {
        parts.tensors.insert("decoder.extra".to_owned(), ("U8".to_owned(), vec![1], vec![0]));
    };
    assert_refused(tensor, ErrorKind::Corrupt, "unknown tensor \"decoder.extra\"");
    assert_refused(|parts| parts.settings["depth"] = json!(5), ErrorKind::Corrupt, "unknown field `depth`");
    assert_refused(
        |parts| parts.settings["transform"] = json!("cbrt"),
        ErrorKind::Corrupt,
        "unknown variant `cbrt`",
    );
    assert_refused(
        |parts| parts.settings["penalty"] = json!("l2"),
        ErrorKind::Corrupt,
        "unknown variant `l2`",
    );
}

#[test]
fn rejects_settings_out_of_range() {
    let cases = [
        ("patch", json!([0, 3]), "patch of 0 x 3"),
        ("patch", json!([4, 4097]), "patch of 4 x 4097"),
        ("patch", json!([4, 4]), "decoder.basis.0 is 2 x 6: 2 x 8 expected"),
        ("patch", json!([4, 3, 2]), "bad settings"),
        ("point_symmetric", json!(false), "decoder.basis.0 is 2 x 6: 2 x 12 expected"),
        ("transform_offset_q24", json!(1), "transform none has no offset"),
        ("sparsity_lambda", json!(-0.5), "sparsity_lambda is -0.5"),
        ("sparsity_lambda", Value::Null, "bad settings"),
        ("active", json!(13), "active is 13: 0 to 12 allowed"),
        ("none_step_log2", json!(15), "none_step_log2 is 15: 0 to 14 allowed"),
        ("latent_frac_bits", json!(21), "latent_frac_bits is 21: 0 to 20 allowed"),
        ("hidden_shift", json!(32), "hidden_shift is 32: 0 to 31 allowed"),
        ("hidden_bits", json!(0), "hidden_bits is 0: 1 to 20 allowed"),
        ("hidden_bits", json!(21), "hidden_bits is 21: 1 to 20 allowed"),
        ("coef_bits", json!(0), "coef_bits is 0: 1 to 40 allowed"),
        ("coef_bits", json!(41), "coef_bits is 41: 1 to 40 allowed"),
        ("coef_bits", json!(40), "below 2^53 to be exact"),
        ("output_frac_bits", json!(45), "output_frac_bits is 45: 0 to 44 allowed"),
        ("output_frac_bits", json!(-1), "bad settings"),
        ("direct_encoder", json!(true), "encoder.input has 72 values: 144 expected"),
        ("provenance", json!({"epochs": 3}), "bad settings"),
    ];
    for (field, value, part_of_message) in cases {
        assert_refused(|parts| parts.settings[field] = value.clone(), ErrorKind::Corrupt, part_of_message);
    }
}

#[test]
fn rejects_transform_offsets_out_of_range() {
    for (transform, offset, allowed) in
        [("sqrt", (1 << 24) + 1, "0 to"), ("log", 0, "1 to"), ("log", 1 << 25, "1 to")]
    {
        let change = |parts: &mut Parts| {
            parts.settings["transform"] = json!(transform);
            parts.settings["transform_offset_q24"] = json!(offset);
        };
        let message = format!("transform_offset_q24 is {offset}: {allowed} 16777216 allowed");
        assert_refused(change, ErrorKind::Corrupt, &message);
    }
}

#[test]
fn rejects_a_file_without_one_of_its_settings() {
    let settings = Parts::of(&small_spec().to_bytes().unwrap()).settings;
    let names: Vec<String> = settings.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 16);
    for name in names {
        let change = |parts: &mut Parts| {
            parts.settings.as_object_mut().unwrap().remove(&name);
        };
        assert_refused(change, ErrorKind::Corrupt, &format!("missing field `{name}`"));
    }
}

/// Every tensor of a small model, except that `decoder.coef` and the last basis block may be absent.
fn tensor_names() -> Vec<String> {
    Parts::of(&small_spec().to_bytes().unwrap()).tensors.into_keys().collect()
}

#[test]
fn rejects_a_file_without_one_of_its_tensors() {
    assert_eq!(tensor_names().len(), 17);
    for name in tensor_names() {
        let change = |parts: &mut Parts| {
            parts.tensors.remove(&name).unwrap();
        };
        let message = match name.as_str() {
            "decoder.coef" => "decoder.coef is absent".to_owned(),
            "decoder.basis.0" => "unknown tensor \"decoder.basis.1\"".to_owned(),
            "decoder.basis.1" => "columns of decoder.coef is 6: 1 to 2 allowed".to_owned(),
            _ => format!("tensor {name} is missing"),
        };
        assert_refused(change, ErrorKind::Corrupt, &message);
    }
}

#[test]
fn a_network_may_speak_through_the_leading_rows_of_the_basis_alone() {
    let mut spec = small_spec();
    let coef = spec.decoder.coef.as_mut().unwrap();
    let IntValues::I8(values) = &coef.values else { panic!("the cosine model has 8 bits here") };
    let leading = values.chunks_exact(6).flat_map(|row| &row[..4]).copied().collect();
    (coef.cols, coef.values) = (4, IntValues::I8(leading));
    let message = spec.to_bytes().unwrap_err().to_string();
    let n_hidden = spec.decoder.hidden.cols;
    assert!(message.contains(&format!("encoder.input has {} values", 6 * n_hidden)), "{message}");
    spec.encoder.input.truncate(4 * n_hidden);
    let bytes = spec.to_bytes().unwrap();
    assert_eq!(ModelSpec::parse(&bytes).unwrap(), spec);
    assert_eq!((Model::parse(&bytes).unwrap().n_coefs(), Model::parse(&bytes).unwrap().n_linear()), (4, 6));
}

#[test]
fn rejects_tensors_of_other_types_and_ranks() {
    for name in tensor_names() {
        let other_type = |parts: &mut Parts| {
            let (dtype, shape, bytes) = parts.tensors.get_mut(&name).unwrap();
            let n_values: usize = shape.iter().product();
            *dtype = "F64".to_owned();
            *bytes = vec![0; 8 * n_values];
        };
        assert_refused(other_type, ErrorKind::Corrupt, &format!("tensor {name} is F64"));
        let other_rank = |parts: &mut Parts| parts.tensors.get_mut(&name).unwrap().1.push(1);
        assert_refused(other_rank, ErrorKind::Corrupt, &format!("tensor {name} is"));
    }
}

#[test]
fn rejects_tensors_with_one_row_more() {
    for name in tensor_names() {
        let longer = |parts: &mut Parts| {
            let (_, shape, bytes) = parts.tensors.get_mut(&name).unwrap();
            let row_bytes = bytes.len() / shape[0];
            bytes.extend(vec![1; row_bytes]);
            shape[0] += 1;
        };
        assert_refused(longer, ErrorKind::Corrupt, "expected");
    }
}

#[test]
fn rejects_tensors_with_values_out_of_range() {
    let first_value = |name: &'static str, value: Vec<u8>| {
        move |parts: &mut Parts| parts.tensors.get_mut(name).unwrap().2[..value.len()].copy_from_slice(&value)
    };
    let corrupt = ErrorKind::Corrupt;
    assert_refused(first_value("decoder.coef_shift", vec![41]), corrupt, "decoder.coef_shift[0] is 41");
    assert_refused(
        first_value("decoder.coef_frac_bits", vec![41]),
        corrupt,
        "decoder.coef_frac_bits[0] is 41",
    );
    let means = [(1i64 << 53).to_le_bytes(), (-1i64 << 53).to_le_bytes(), i64::MIN.to_le_bytes()];
    for mean in means {
        assert_refused(first_value("decoder.mean", mean.to_vec()), corrupt, "below 2^53 allowed");
    }
    assert_refused(first_value("priors.fire", vec![0, 0]), corrupt, "priors.fire[0] is 0");
    for name in ["encoder.input", "encoder.input_bias", "encoder.latent", "encoder.latent_bias"] {
        for (bits, found) in [(0x7c00u16, "inf"), (0xfc00, "-inf"), (0x7e00, "NaN")] {
            let message = format!("{name}[0] is {found}");
            assert_refused(first_value(name, bits.to_le_bytes().to_vec()), corrupt, &message);
        }
    }
}

#[test]
fn rejects_empty_layers() {
    let empty = |rows: bool| {
        move |parts: &mut Parts| {
            let (_, shape, bytes) = parts.tensors.get_mut("decoder.hidden").unwrap();
            *shape = if rows { vec![0, 12] } else { vec![12, 0] };
            bytes.clear();
        }
    };
    assert_refused(empty(true), ErrorKind::Corrupt, "number of latents is 0");
    assert_refused(empty(false), ErrorKind::Corrupt, "number of hidden units is 0");
    let endless = |parts: &mut Parts| {
        let (_, shape, bytes) = parts.tensors.get_mut("decoder.basis.1").unwrap();
        *shape = vec![usize::MAX, 0];
        bytes.clear();
    };
    assert_refused(endless, ErrorKind::Corrupt, "number of basis rows");
}

#[test]
fn rejects_headers_and_files_beyond_the_caps() {
    let header = format!("{{{}}}", " ".repeat(1 << 20));
    let error = ModelSpec::parse(&with_header(&header, b"")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.message().contains("header of 1048578 bytes"), "{error}");
    let mut endless = small_spec().to_bytes().unwrap();
    endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(ModelSpec::parse(&endless).unwrap_err().kind(), ErrorKind::LimitExceeded);
    let mut spec = small_spec();
    spec.provenance.insert("notes".to_owned(), "x".repeat(1 << 20));
    assert_eq!(spec.to_bytes().unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn writers_refuse_what_readers_refuse() {
    type Change = fn(&mut ModelSpec);
    let broken: [(Change, &str); 5] = [
        (|spec| spec.transform = Transform::Log { offset_q24: 0 }, "transform_offset_q24 is 0"),
        (|spec| spec.encoder.input[3] = f32::NAN, "encoder.input[3] is NaN"),
        (|spec| spec.encoder.input_bias[1] = 65520.0, "encoder.input_bias[1] is 65520"),
        (|spec| spec.decoder.hidden_bias.truncate(11), "decoder.hidden_bias has 11 values: 12 expected"),
        (|spec| spec.sparsity_lambda = f64::INFINITY, "sparsity_lambda is inf"),
    ];
    for (break_it, part_of_message) in broken {
        let mut spec = small_spec();
        break_it(&mut spec);
        let error = spec.to_bytes().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(part_of_message), "{error}");
    }
}

#[test]
fn survives_every_truncation_and_a_longer_file() {
    let bytes = small_spec().to_bytes().unwrap();
    for len in 0..bytes.len() {
        assert!(Model::parse(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(Model::parse(&longer).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn survives_ten_thousand_corruptions() {
    let mut n_accepted = 0;
    for seed in 0..10_000 {
        let mut bytes = random_spec(seed % 50).to_bytes().unwrap();
        let mut rng = TestRng::new(seed);
        for _ in 0..rng.count(1, 4) {
            let position = if rng.one_in(2) { rng.count(0, bytes.len() - 1) } else { rng.count(0, 1500) };
            let last = bytes.len() - 1;
            bytes[position.min(last)] = rng.bits() as u8;
        }
        // What is still a model must also decode.
        if let Ok(model) = Model::parse(&bytes) {
            n_accepted += 1;
            let mut out = vec![0; 2 * model.n_values()];
            model.decode_patches(&ScalarBackend, &random_codes(model.spec(), seed, 2), &mut out).unwrap();
        }
    }
    assert!((100..9_900).contains(&n_accepted), "{n_accepted} of 10000 accepted: the test tests nothing");
}

#[test]
fn the_built_in_model_is_small_and_is_the_file_beside_the_sources() {
    let model = Model::builtin().unwrap();
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/builtin.sae")).unwrap();
    assert_eq!(model.id(), ModelId::of_file(&file));
    assert!(file.len() <= 2 << 20, "{} bytes", file.len());
}
