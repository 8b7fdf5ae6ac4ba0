use std::sync::Arc;

use h5z_sae::sae::Model;
use h5z_sae::{ByteOrder, ElementClass};

use super::*;

struct NoModels;

impl ModelSource for NoModels {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error> {
        Err(Error::new(ErrorKind::MissingModel, format!("these tests have no model, least of all {id}")))
    }
}

fn words(dims: &[usize]) -> Vec<u32> {
    let request = RequestedParams { bound: Bound::Absolute(0.5), ..RequestedParams::default() };
    StoredParams::try_new(request, ElementType::F32, dims, None).unwrap().to_words().to_vec()
}

fn values(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| (i as f32).sqrt().to_ne_bytes()).collect()
}

fn entry(id: i32, name: &str) -> PipelineEntry {
    PipelineEntry { id, name: name.to_string(), flags: 0, words: Vec::new() }
}

#[test]
fn decodes_what_it_encoded() {
    for dims in [&[60][..], &[6, 10], &[2, 5, 6], &[2, 1, 5, 6]] {
        let stream = encode(&NoModels, &words(dims), &values(60)).unwrap();
        let decoded = decode(&NoModels, &words(dims), &stream).unwrap();
        for (found, expected) in decoded.chunks(4).zip(values(60).chunks(4)) {
            let number = |bytes: &[u8]| f32::from_ne_bytes(bytes.try_into().unwrap());
            assert!((number(found) - number(expected)).abs() <= 0.5);
        }
    }
}

#[test]
fn rejects_chunks_of_another_size() {
    let error = encode(&NoModels, &words(&[6, 10]), &values(59)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("236 bytes") && error.message().contains("240 bytes"), "{error}");
}

#[test]
fn rejects_streams_of_another_chunk() {
    let stream = encode(&NoModels, &words(&[6, 10]), &values(60)).unwrap();
    for dims in [&[6, 9][..], &[10, 6], &[2, 6, 10], &[61]] {
        let error = decode(&NoModels, &words(dims), &stream).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("the file declares"), "{error}");
    }
    let other_order = if ByteOrder::NATIVE == ByteOrder::Little { ByteOrder::Big } else { ByteOrder::Little };
    let element = ElementType::try_new(ElementClass::Float, 4, other_order).unwrap();
    let swapped = StoredParams::try_new(RequestedParams::default(), element, &[6, 10], None).unwrap();
    assert!(decode(&NoModels, &swapped.to_words(), &stream).is_err());
}

#[test]
fn reads_streams_whose_leading_dims_are_written_out() {
    let element = ElementType::F32;
    let shape = h5z_sae::ChunkShape::try_new(&[2, 3, 5, 2]).unwrap();
    let options = h5z_sae::Options::new(Bound::Lossless);
    let backend = threads::backend().unwrap();
    let stream = compress_chunk(&values(60), element, &shape, &options, &backend).unwrap();
    assert_eq!(decode(&NoModels, &words(&[2, 3, 5, 2]), &stream).unwrap(), values(60));
}

#[test]
fn rejects_words_that_set_local_never_saw() {
    let request = RequestedParams::default().to_words();
    assert!(encode(&NoModels, &request, &values(60)).unwrap_err().message().contains("16 are stored"));
    assert!(decode(&NoModels, &[], &[1, 2, 3]).unwrap_err().message().contains("16 are stored"));
}

#[test]
fn survives_every_truncation() {
    let stream = encode(&NoModels, &words(&[6, 10]), &values(60)).unwrap();
    for length in 0..stream.len() {
        assert!(decode(&NoModels, &words(&[6, 10]), &stream[..length]).is_err(), "{length}");
    }
}

#[test]
fn names_filters_that_stand_before_it() {
    let message = |pipeline: &[PipelineEntry]| our_entry(pipeline).unwrap_err().message().to_string();
    assert!(
        message(&[entry(2, "shuffle"), entry(FILTER_ID, "")]).contains("filter shuffle (2) comes before")
    );
    assert!(message(&[entry(32004, ""), entry(FILTER_ID, "")]).contains("filter 32004 comes before"));
    assert!(message(&[entry(FILTER_ID, ""), entry(FILTER_ID, "")]).contains("twice"));
    assert!(message(&[entry(1, "deflate")]).contains("not in the pipeline"));
    assert!(our_entry(&[entry(FILTER_ID, ""), entry(1, "deflate")]).is_ok());
}

#[test]
fn tells_default_fill_values_from_chosen_ones() {
    assert_eq!(fill_for(Fill::User(7), Bound::Lossless), Some(7));
    assert_eq!(fill_for(Fill::Default, Bound::Absolute(1.0)), None);
    assert_eq!(fill_for(Fill::Default, Bound::Relative(0.1)), Some(0));
    assert_eq!(fill_for(Fill::Undefined, Bound::Relative(0.1)), None);
}
