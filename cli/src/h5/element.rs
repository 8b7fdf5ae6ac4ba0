//! HDF5 datatypes as the codec's element types.

use h5z_sae::{ByteOrder, ElementClass, ElementType};
use hdf5::Datatype;
use hdf5_sys::h5i::hid_t;
use hdf5_sys::h5t::{
    H5T_class_t, H5T_norm_t, H5T_order_t, H5T_sign_t, H5Tget_class, H5Tget_ebias, H5Tget_fields, H5Tget_norm,
    H5Tget_offset, H5Tget_order, H5Tget_precision, H5Tget_sign, H5Tget_size,
};

use super::raw::{call, check};
use crate::error::CliError;

/// Exponent bits, mantissa bits and exponent bias of IEEE 754 binary16, binary32 and binary64.
const IEEE_LAYOUTS: [(usize, usize, usize, usize); 3] = [(2, 5, 10, 15), (4, 8, 23, 127), (8, 11, 52, 1023)];

/// The element type of a dataset.
///
/// # Errors
/// A sentence that says what the type is and which types the filter takes.
pub fn element_type(dtype: &Datatype) -> Result<ElementType, CliError> {
    let id = dtype.id();
    // SAFETY: `id` is an open datatype for as long as `dtype` lives; the calls read it and nothing else.
    let (class, size_bytes, order) =
        call(|| unsafe { (H5Tget_class(id), H5Tget_size(id), H5Tget_order(id)) });
    let order = match order {
        H5T_order_t::H5T_ORDER_LE => ByteOrder::Little,
        H5T_order_t::H5T_ORDER_BE => ByteOrder::Big,
        _ if size_bytes == 1 => ByteOrder::NATIVE,
        _ => return Err(unsupported("its byte order is neither little nor big")),
    };
    let class = match class {
        H5T_class_t::H5T_INTEGER => integer_class(id, size_bytes)?,
        H5T_class_t::H5T_FLOAT => float_class(id, size_bytes)?,
        other => return Err(unsupported(&format!("its class is {}", class_name(other)))),
    };
    ElementType::try_new(class, size_bytes, order).map_err(|error| unsupported(error.message()))
}

fn integer_class(id: hid_t, size_bytes: usize) -> Result<ElementClass, CliError> {
    // SAFETY: as in `element_type`.
    let (precision, offset, sign) =
        call(|| unsafe { (H5Tget_precision(id), H5Tget_offset(id), H5Tget_sign(id)) });
    if precision != size_bytes * 8 || offset != 0 {
        return Err(unsupported(&format!(
            "its integers have {precision} bits of the {} stored",
            size_bytes * 8
        )));
    }
    Ok(if sign == H5T_sign_t::H5T_SGN_NONE { ElementClass::Unsigned } else { ElementClass::Signed })
}

fn float_class(id: hid_t, size_bytes: usize) -> Result<ElementClass, CliError> {
    let (mut sign_at, mut exponent_at, mut exponent, mut mantissa_at, mut mantissa) = (0, 0, 0, 0, 0);
    // SAFETY: as in `element_type`; the five pointers are to locals of the type that HDF5 writes.
    let (status, bias, norm) = call(|| unsafe {
        let status = H5Tget_fields(
            id,
            &raw mut sign_at,
            &raw mut exponent_at,
            &raw mut exponent,
            &raw mut mantissa_at,
            &raw mut mantissa,
        );
        (status, H5Tget_ebias(id), H5Tget_norm(id))
    });
    check(status)?;
    let found = (size_bytes, exponent, mantissa, bias);
    let placed = mantissa_at == 0 && exponent_at == mantissa && sign_at == mantissa + exponent;
    if !placed || norm != H5T_norm_t::H5T_NORM_IMPLIED || !IEEE_LAYOUTS.contains(&found) {
        return Err(unsupported(&format!(
            "its floats have {exponent} exponent bits and {mantissa} mantissa bits in {size_bytes} bytes, which is no \
             IEEE format"
        )));
    }
    Ok(ElementClass::Float)
}

fn class_name(class: H5T_class_t) -> &'static str {
    match class {
        H5T_class_t::H5T_STRING => "string",
        H5T_class_t::H5T_BITFIELD => "bit field",
        H5T_class_t::H5T_OPAQUE => "opaque",
        H5T_class_t::H5T_COMPOUND => "compound",
        H5T_class_t::H5T_REFERENCE => "reference",
        H5T_class_t::H5T_ENUM => "enumeration",
        H5T_class_t::H5T_VLEN => "variable length",
        H5T_class_t::H5T_ARRAY => "array",
        H5T_class_t::H5T_TIME => "time",
        _ => "unknown",
    }
}

fn unsupported(reason: &str) -> CliError {
    CliError::new(format!(
        "datatype cannot be compressed: {reason}; allowed are integers of 8 to 64 bits and IEEE floats of 16, 32 and 64"
    ))
}
