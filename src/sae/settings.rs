//! The settings of a model file: the JSON object in the container's metadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spec::{ModelSpec, Penalty, Transform};
use crate::error::{Error, ErrorKind};

/// The one key of the container's metadata.
pub(super) const SETTINGS_KEY: &str = "h5z-sae";

/// The version that this library writes and reads; 0 may still change.
const FORMAT_VERSION: u32 = 0;

/// Which version the settings are written for; read before them, since a later one may have other fields.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// The JSON object in the container's metadata: every field of [`ModelSpec`] that is not a tensor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    format_version: u32,
    /// Rows, columns.
    pub(super) patch: [usize; 2],
    pub(super) point_symmetric: bool,
    transform: TransformName,
    /// 0 for `none`.
    transform_offset_q24: u32,
    penalty: PenaltyName,
    pub(super) sparsity_lambda: f64,
    pub(super) active: u32,
    pub(super) none_step_log2: u8,
    pub(super) latent_frac_bits: u8,
    pub(super) hidden_shift: u8,
    pub(super) hidden_bits: u8,
    pub(super) coef_bits: u8,
    pub(super) output_frac_bits: u8,
    pub(super) direct_encoder: bool,
    pub(super) provenance: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TransformName {
    None,
    Sqrt,
    Log,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PenaltyName {
    Z,
    Grad,
}

impl Settings {
    /// Reads the settings out of a container's metadata.
    ///
    /// # Errors
    /// `Unsupported` for another version of the format, `Corrupt` for everything else that is not settings.
    pub(super) fn read<'a>(metadata: impl Iterator<Item = (&'a String, &'a String)>) -> Result<Self, Error> {
        let metadata: BTreeMap<&str, &str> =
            metadata.map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let missing = "model file: a safetensors file, but not of h5z-sae (no such metadata key)";
        let text = metadata.get(SETTINGS_KEY).ok_or_else(|| Error::corrupt(missing))?;
        if let Some(key) = metadata.keys().find(|&&key| key != SETTINGS_KEY) {
            return Err(Error::corrupt(format!("model file: unknown metadata key {key:?}")));
        }
        let bad = |error| Error::corrupt(format!("model file: bad settings ({error})"));
        let version: Version = serde_json::from_str(text).map_err(bad)?;
        if version.format_version != FORMAT_VERSION {
            let found = version.format_version;
            let message =
                format!("model file of format version {found}: this library reads version {FORMAT_VERSION}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        serde_json::from_str(text).map_err(bad)
    }

    /// The settings of a model.
    pub(super) fn of(spec: &ModelSpec) -> Self {
        let (transform, transform_offset_q24) = match spec.transform {
            Transform::None => (TransformName::None, 0),
            Transform::Sqrt { offset_q24 } => (TransformName::Sqrt, offset_q24),
            Transform::Log { offset_q24 } => (TransformName::Log, offset_q24),
        };
        Self {
            format_version: FORMAT_VERSION,
            patch: [spec.patch.rows, spec.patch.cols],
            point_symmetric: spec.point_symmetric,
            transform,
            transform_offset_q24,
            penalty: match spec.penalty {
                Penalty::Z => PenaltyName::Z,
                Penalty::Grad => PenaltyName::Grad,
            },
            sparsity_lambda: spec.sparsity_lambda,
            active: spec.active,
            none_step_log2: spec.none_step_log2,
            latent_frac_bits: spec.decoder.latent_frac_bits,
            hidden_shift: spec.decoder.hidden_shift,
            hidden_bits: spec.decoder.hidden_bits,
            coef_bits: spec.decoder.coef_bits,
            output_frac_bits: spec.decoder.output_frac_bits,
            direct_encoder: spec.encoder.direct,
            provenance: spec.provenance.clone(),
        }
    }

    pub(super) fn transform(&self) -> Result<Transform, Error> {
        let offset_q24 = self.transform_offset_q24;
        match self.transform {
            TransformName::None if offset_q24 != 0 => Err(Error::corrupt(format!(
                "model file: transform none has no offset, but {offset_q24} is given"
            ))),
            TransformName::None => Ok(Transform::None),
            TransformName::Sqrt => Ok(Transform::Sqrt { offset_q24 }),
            TransformName::Log => Ok(Transform::Log { offset_q24 }),
        }
    }

    pub(super) fn penalty(&self) -> Penalty {
        match self.penalty {
            PenaltyName::Z => Penalty::Z,
            PenaltyName::Grad => Penalty::Grad,
        }
    }
}
