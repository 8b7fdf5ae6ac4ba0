use proptest::prelude::*;

use super::*;

fn requested(bound: Bound) -> RequestedParams {
    RequestedParams {
        bound,
        model: ModelId(0x0123_4567_89ab_cdef),
        effort: Effort::Best,
        unbiased: false,
        mask_value: None,
    }
}

fn stored_words() -> [u32; N_STORED] {
    let element = ElementType::try_new(ElementClass::Float, 4, ByteOrder::Big).unwrap();
    let request = RequestedParams { mask_value: Some(0xffff_ffff), ..requested(Bound::Absolute(1e-3)) };
    StoredParams::try_new(request, element, &[2, 5, 64, 48], Some(7)).unwrap().to_words()
}

/// The stored words with one changed: the error must name the word, the value and something allowed.
#[track_caller]
fn assert_rejected(index: usize, value: u32, expected: &[&str]) {
    let mut words = stored_words();
    words[index] = value;
    let error = StoredParams::parse(&words).unwrap_err();
    for part in expected {
        assert!(error.message().contains(part), "{part:?} is missing in {:?}", error.message());
    }
    assert!(RequestedParams::parse(&words).is_err());
}

#[test]
fn lays_out_requested_words_as_documented() {
    let words = requested(Bound::Absolute(1.0)).to_words();
    assert_eq!(words, [LAYOUT_VERSION, 1, 0, 0x3ff0_0000, 0x89ab_cdef, 0x0123_4567, 2]);
}

#[test]
fn unbiased_errors_are_bit_2_of_the_options() {
    let request = RequestedParams { unbiased: true, ..requested(Bound::Absolute(1.0)) };
    assert_eq!(request.to_words()[6], 6);
    assert!(RequestedParams::parse(&request.to_words()).unwrap().unbiased);
}

#[test]
fn lays_out_stored_words_as_documented() {
    let words = stored_words();
    assert_eq!(words[7..], [0x0004_0412, 10, 64, 48, 3, 7, 0, 0xffff_ffff, 0]);
}

#[test]
fn takes_no_words_as_lossless_with_the_built_in_model() {
    let params = RequestedParams::parse(&[]).unwrap();
    assert_eq!(params, RequestedParams::default());
    assert_eq!((params.bound, params.model), (Bound::Lossless, ModelId(0)));
}

#[test]
fn takes_stored_words_as_a_request_and_keeps_the_mask() {
    let words = stored_words();
    let params = RequestedParams::parse(&words).unwrap();
    assert_eq!(params.mask_value, Some(0xffff_ffff));
    assert_eq!(params.to_words()[..N_REQUESTED], words[..N_REQUESTED]);
}

#[test]
fn gives_the_codec_dims_by_rank() {
    let shape_of = |dims: &[usize]| {
        let params = StoredParams::try_new(RequestedParams::default(), ElementType::F32, dims, None).unwrap();
        params.shape().unwrap().dims().to_vec()
    };
    assert_eq!(shape_of(&[9]), [9]);
    assert_eq!(shape_of(&[1, 9]), [1, 9]);
    assert_eq!(shape_of(&[1, 1, 9]), [1, 1, 9]);
    assert_eq!(shape_of(&[2, 3, 4, 9]), [6, 4, 9]);
}

#[test]
fn rejects_wrong_counts_of_words() {
    for count in [1, 6, 8, 10, 15, 17, 40] {
        let error = RequestedParams::parse(&vec![0; count]).unwrap_err();
        assert!(error.message().contains(&format!("{count} cd_values")), "{error}");
    }
    assert!(StoredParams::parse(&[0; 7]).is_err());
}

#[test]
fn rejects_wrong_version() {
    assert_rejected(0, 9, &["cd_value 0 (layout version) is 9", "reads 0"]);
}

#[test]
fn rejects_wrong_bounds() {
    assert_rejected(1, 5, &["cd_value 1 (bound kind) is 5", "4 (none)"]);
    assert_rejected(1, 257, &["cd_value 1 (bound kind) is 257"]);
    assert_rejected(1, 0, &["cd_values 2 and 3 (bound)", "0.001"]);
    assert_rejected(3, 0xbff0_0000, &["cd_values 2 and 3 (bound)", "finite number above 0"]);
    assert_rejected(3, 0x7ff8_0000, &["NaN"]);
    let mut words = requested(Bound::Relative(0.5)).to_words();
    words[3] = 0x4000_0000;
    assert!(RequestedParams::parse(&words).unwrap_err().message().contains("relative bound of 2"));
    let mut words = requested(Bound::Noise(0.5)).to_words();
    words[3] = 0xbfe0_0000;
    assert!(RequestedParams::parse(&words).unwrap_err().message().contains("noise bound of -0.5"));
}

#[test]
fn rejects_wrong_options() {
    assert_rejected(6, 3, &["cd_value 6 (options) is 3", "2 best"]);
    assert_rejected(6, 0x100, &["cd_value 6 (options) is 0x100"]);
    assert_rejected(6, 7, &["cd_value 6 (options) is 7"]);
    let mut words = requested(Bound::None).to_words();
    words[6] = 4;
    let error = RequestedParams::parse(&words).unwrap_err();
    assert!(error.message().contains("cd_value 6 (options) is 4: bit 2 (unbiased) needs a bound"), "{error}");
}

#[test]
fn rejects_wrong_elements() {
    assert_rejected(7, 0x0004_0413, &["cd_value 7 (element)", "class must be"]);
    assert_rejected(7, 0x0004_0422, &["byte order must be"]);
    assert_rejected(7, 0x0004_0312, &["element size of 3 bytes"]);
    assert_rejected(7, 0x0004_0112, &["element size of 1 bytes"]);
    assert_rejected(7, 0x0000_0412, &["rank must be 1 to 32"]);
    assert_rejected(7, 0x0021_0412, &["rank must be 1 to 32"]);
    assert_rejected(7, 0x0104_0412, &["bits 24-31 must be 0"]);
}

#[test]
fn rejects_wrong_dims() {
    assert_rejected(8, 0, &["cd_value 8 (frames) is 0"]);
    assert_rejected(9, 0, &["cd_value 9 (rows) is 0"]);
    assert_rejected(10, 0, &["cd_value 10 (columns) is 0"]);
    assert_rejected(7, 0x0002_0412, &["cd_value 8 (frames) is 10", "rank 1 or 2"]);
    let mut words = stored_words();
    words[8..11].fill(u32::MAX);
    assert!(StoredParams::parse(&words).unwrap_err().message().contains("overflows"));
}

#[test]
fn rejects_wrong_flags_and_patterns() {
    assert_rejected(11, 7, &["cd_value 11 (flags) is 7"]);
    assert_rejected(11, 2, &["cd_value 12 (fill value) is 0x7"]);
    assert_rejected(11, 1, &["cd_value 14 (mask value) is 0xffffffff"]);
    assert_rejected(13, 1, &["fill value with bit pattern 0x100000007", ">f4", "32 bits"]);
    assert_rejected(15, 1, &["mask value with bit pattern"]);
}

prop_compose! {
    fn any_requested()(
        (kind, value) in prop_oneof![
            Just((0u8, 0.0)),
            (1e-300f64..1e300).prop_map(|v| (1, v)),
            (1e-12f64..0.999).prop_map(|v| (2, v)),
            (1e-12f64..1e12).prop_map(|v| (3, v)),
            Just((4, 0.0)),
        ],
        model in any::<u64>(),
        unbiased in any::<bool>(),
        effort in prop_oneof![Just(Effort::Default), Just(Effort::Fast), Just(Effort::Best)],
        mask_value in any::<Option<u8>>(),
    ) -> RequestedParams {
        RequestedParams {
            bound: Bound::try_new(kind, value).unwrap(),
            model: ModelId(model),
            effort,
            unbiased: unbiased && kind != 4,
            mask_value: mask_value.map(u64::from),
        }
    }
}

proptest! {
    #[test]
    fn requested_survives_a_round_trip(params in any_requested()) {
        prop_assert_eq!(RequestedParams::parse(&params.to_words()).unwrap(), params);
    }

    #[test]
    fn stored_survives_a_round_trip(
        params in any_requested(),
        size_log2 in 1u32..4,
        big in any::<bool>(),
        dims in prop::collection::vec(1usize..20, 1..8),
        fill in any::<Option<u16>>(),
    ) {
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let element = ElementType::try_new(ElementClass::Float, 1 << size_log2, order).unwrap();
        let stored = StoredParams::try_new(params, element, &dims, fill.map(u64::from)).unwrap();
        let words = stored.to_words();
        prop_assert_eq!(StoredParams::parse(&words).unwrap(), stored);
        prop_assert_eq!(RequestedParams::parse(&words).unwrap(), params);
        prop_assert_eq!(stored.shape().unwrap().n_values(), dims.iter().product::<usize>());
    }

    #[test]
    fn any_words_parse_or_fail_without_a_panic(words in prop::collection::vec(any::<u32>(), 0..20)) {
        if let Ok(params) = RequestedParams::parse(&words) {
            prop_assert_eq!(RequestedParams::parse(&params.to_words()).unwrap(), params);
        }
    }
}
