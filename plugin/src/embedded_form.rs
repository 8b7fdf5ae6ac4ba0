//! The form of a model inside an HDF5 file: where it lies, how it is stored, and what is said of one that is not so.
//!
//! It is the one value of the scalar dataset `/_h5z_sae/models/<id>`, which is the model file. Of opaque type, so that
//! nothing converts it. A scalar, because tools that put filters on all datasets of a file (`h5repack -f GZIP=9`) leave
//! scalars alone: a model behind the filter that needs it could not be read. The name begins with an underscore, as
//! netCDF, whose nccopy goes through all groups of a file, stops at one that begins with a dot.
//!
//! The file may come from anywhere, so that nothing but its own plain bytes is read: no link that leads elsewhere, no
//! external file, no chunk, no filter, no size that the file has not stored. The filter and `sae` ask HDF5 each in its
//! own way; what they ask, and what follows from the answers, is here. No HDF5 in this module.

use h5z_sae::sae::ModelId;

use crate::models::MAX_FILE_BYTES;

/// Groups that lead to the models, outermost first.
pub const GROUPS: [&str; 2] = ["/_h5z_sae", "/_h5z_sae/models"];

/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 16;

/// The dataset that holds the model of that id.
pub fn path(id: ModelId) -> String {
    format!("{}/{id}", GROUPS[1])
}

/// The id that a dataset of the group is named by; `None` for other names.
pub fn id_of_name(name: &str) -> Option<ModelId> {
    let is_id = name.len() == ID_DIGITS && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| u64::from_str_radix(name, 16).ok().map(ModelId)).flatten()
}

/// What is said of a group or dataset that is a soft or an external link.
pub fn leads_elsewhere(path: &str) -> String {
    format!("{path} is a link to somewhere else: expected an object of this file")
}

/// What HDF5 says of a dataset that has a model's name.
#[derive(Clone, Copy, Debug)]
pub struct StoredForm {
    /// Its type is opaque and its dataspace scalar.
    pub is_opaque_scalar: bool,
    /// Its layout is contiguous or compact, and none of it is in other files. We write contiguous ones; h5repack may be
    /// asked to make compact ones of them.
    pub is_plain: bool,
    /// Size of its one value.
    pub n_bytes: u64,
    /// Bytes that the file has stored of it.
    pub stored_bytes: u64,
}

impl StoredForm {
    /// The number of bytes to read, at most [`MAX_FILE_BYTES`].
    ///
    /// # Errors
    /// What is wrong with the dataset, with "it" in the place of its name.
    pub fn readable_bytes(self) -> Result<usize, String> {
        let Self { is_opaque_scalar, is_plain, n_bytes, stored_bytes } = self;
        if !is_opaque_scalar {
            return Err("it is an ordinary dataset: expected a scalar of opaque type".to_string());
        }
        if !is_plain {
            return Err("it is stored in chunks or in other files: expected one contiguous block".to_string());
        }
        if n_bytes > MAX_FILE_BYTES {
            return Err(format!("it has {n_bytes} bytes: expected {MAX_FILE_BYTES} at most"));
        }
        if stored_bytes != n_bytes {
            return Err(format!("{stored_bytes} of its {n_bytes} bytes are stored: expected all of them"));
        }
        usize::try_from(n_bytes)
            .map_err(|_| format!("it has {n_bytes} bytes, more than this machine addresses"))
    }
}

/// Whether what was read is the model that the name promises.
///
/// # Errors
/// The id that it has instead.
pub fn check_id(bytes: &[u8], expected: ModelId) -> Result<(), String> {
    match ModelId::of_file(bytes) {
        found if found == expected => Ok(()),
        found => Err(format!("its content has the id {found}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: StoredForm =
        StoredForm { is_opaque_scalar: true, is_plain: true, n_bytes: 1000, stored_bytes: 1000 };

    #[test]
    fn the_place_of_a_model_begins_with_no_dot() {
        assert_eq!(path(ModelId(255)), "/_h5z_sae/models/00000000000000ff");
        assert!(GROUPS.iter().all(|group| path(ModelId(1)).starts_with(group)));
    }

    #[test]
    fn only_whole_ids_name_models() {
        assert_eq!(id_of_name("00000000000000ff"), Some(ModelId(255)));
        for name in ["ff", "00000000000000FF", "+0000000000000ff", "000000000000000ff", "notes"] {
            assert_eq!(id_of_name(name), None, "{name}");
        }
    }

    #[test]
    fn tells_what_is_wrong_with_what_is_stored() {
        assert_eq!(GOOD.readable_bytes(), Ok(1000));
        let too_large = MAX_FILE_BYTES + 1;
        for (form, sentence) in [
            (StoredForm { is_opaque_scalar: false, ..GOOD }, "it is an ordinary dataset"),
            (StoredForm { is_plain: false, ..GOOD }, "it is stored in chunks"),
            (StoredForm { stored_bytes: 999, ..GOOD }, "999 of its 1000 bytes are stored"),
            (
                StoredForm { n_bytes: too_large, stored_bytes: too_large, ..GOOD },
                "it has 536870913 bytes: expected 536870912 at most",
            ),
        ] {
            assert!(form.readable_bytes().unwrap_err().starts_with(sentence), "{form:?}");
        }
    }

    #[test]
    fn rejects_content_of_another_id() {
        let id = ModelId::of_file(b"model");
        assert_eq!(check_id(b"model", id), Ok(()));
        assert_eq!(
            check_id(b"other", id),
            Err(format!("its content has the id {}", ModelId::of_file(b"other")))
        );
    }
}
