//! The model file (`.sae`): a safetensors container, so that PyTorch and other tools open it.
//!
//! ```text
//! u64 little-endian   length of the header, a multiple of 8, at most 1 MiB
//! header              JSON: name → {dtype, shape, data_offsets}, and __metadata__
//! tensors             little-endian, row-major, without gaps
//! ```
//!
//! `__metadata__` has the one key `h5z-sae`. Its value is a JSON object as text (see [`Settings`]); one key, because
//! the container does not order its keys, and equal models must give equal bytes. Tensors (m hidden units, ℓ latents,
//! K basis rows, n values of a patch, n′ stored columns):
//!
//! ```text
//! decoder.hidden  [ℓ, m] I8 or I16        decoder.basis.0, .1, …  [rows, n′] I8 or I16 each, K rows together
//! decoder.hidden_bias  [m] I32            decoder.mean  [n′] I64
//! decoder.coef  [m, K′] I8 or I16, K′ ≤ K, absent where it is the identity (K′ = K = m)
//! decoder.coef_bias  [K] I32              decoder.coef_shift, decoder.coef_frac_bits  [K] U8
//! encoder.input  [K′, m] F16, [n, m] with direct_encoder           encoder.input_bias  [m] F16
//! encoder.latent  [m, ℓ] F16              encoder.latent_bias  [ℓ] F16
//! priors.fire  [ℓ] U16                    priors.weight_scale  [ℓ] I8
//! priors.linear_scale, priors.linear_only_scale  [K] I8
//! ```
//!
//! A reader rejects unknown tensors, unknown settings, other types or shapes, bytes after the last tensor, and
//! whatever [`ModelSpec`] forbids.

use std::borrow::Cow;
use std::collections::BTreeMap;

use half::f16;
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};

use super::settings::{SETTINGS_KEY, Settings};
use super::spec::{DecoderWeights, EncoderWeights, IntTensor, IntValues, ModelSpec, Priors};
use crate::array::PatchShape;
use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_BASIS_BLOCKS, MAX_MODEL_BYTES, MAX_MODEL_HEADER_BYTES};

impl ModelSpec {
    /// The bytes of a `.sae` file. Equal specs give equal bytes; encoder weights are rounded to binary16.
    /// Inverse of [`ModelSpec::parse`].
    ///
    /// # Errors
    /// `InvalidArgument` where a field breaks a rule of [`ModelSpec`]; `LimitExceeded` where the file would be
    /// larger than a reader accepts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.check().map_err(|broken| Error::invalid(format!("model: {broken}")))?;
        let failed = |detail: String| Error::invalid(format!("model cannot be written: {detail}"));
        let settings =
            serde_json::to_string(&Settings::of(self)).map_err(|error| failed(error.to_string()))?;
        let metadata = [(SETTINGS_KEY.to_owned(), settings)].into_iter().collect();
        let bytes = safetensors::serialize(self.tensors(), Some(metadata))
            .map_err(|error| failed(error.to_string()))?;
        check_sizes(&bytes)?;
        Ok(bytes)
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let (decoder, encoder, priors) = (&self.decoder, &self.encoder, &self.priors);
        let (n_latents, n_hidden) = (decoder.hidden.rows, decoder.hidden.cols);
        let n_inputs = encoder.input.len() / n_hidden;
        let mut tensors = vec![
            ("decoder.hidden", Tensor::weights(&decoder.hidden)),
            (
                "decoder.hidden_bias",
                Tensor::list(Dtype::I32, &decoder.hidden_bias, |value| value.to_le_bytes()),
            ),
            ("decoder.coef_bias", Tensor::list(Dtype::I32, &decoder.coef_bias, |value| value.to_le_bytes())),
            ("decoder.coef_shift", Tensor::list(Dtype::U8, &decoder.coef_shift, |value| [value])),
            ("decoder.coef_frac_bits", Tensor::list(Dtype::U8, &decoder.coef_frac_bits, |value| [value])),
            ("decoder.mean", Tensor::list(Dtype::I64, &decoder.mean, |value| value.to_le_bytes())),
            ("encoder.input", Tensor::halves(&encoder.input).shaped(vec![n_inputs, n_hidden])),
            ("encoder.input_bias", Tensor::halves(&encoder.input_bias)),
            ("encoder.latent", Tensor::halves(&encoder.latent).shaped(vec![n_hidden, n_latents])),
            ("encoder.latent_bias", Tensor::halves(&encoder.latent_bias)),
            ("priors.fire", Tensor::list(Dtype::U16, &priors.fire, |value| value.to_le_bytes())),
            (
                "priors.weight_scale",
                Tensor::list(Dtype::I8, &priors.weight_scale, |value| value.to_le_bytes()),
            ),
            (
                "priors.linear_scale",
                Tensor::list(Dtype::I8, &priors.linear_scale, |value| value.to_le_bytes()),
            ),
            (
                "priors.linear_only_scale",
                Tensor::list(Dtype::I8, &priors.linear_only_scale, |value| value.to_le_bytes()),
            ),
        ];
        if let Some(coef) = &decoder.coef {
            tensors.push(("decoder.coef", Tensor::weights(coef)));
        }
        let named = tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor));
        let basis = decoder.basis.iter().enumerate();
        named.chain(basis.map(|(index, block)| (basis_name(index), Tensor::weights(block)))).collect()
    }

    /// Reads the bytes of a `.sae` file.
    ///
    /// # Errors
    /// `LimitExceeded` for a file or a header that is too long; `Unsupported` for another version of the format;
    /// `Corrupt` for everything else that is not a model.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        check_sizes(bytes)?;
        let container = SafeTensors::deserialize(bytes).map_err(|error| {
            Error::corrupt(format!("model file: not a whole safetensors container ({error})"))
        })?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| bad_container(&error))?;
        let settings = Settings::read(header.metadata().iter().flatten())?;
        let mut file = File::of(&container);
        let decoder = file.decoder(&settings)?;
        let encoder = file.encoder(&settings)?;
        let spec = Self {
            patch: PatchShape { rows: settings.patch[0], cols: settings.patch[1] },
            point_symmetric: settings.point_symmetric,
            transform: settings.transform()?,
            penalty: settings.penalty(),
            sparsity_lambda: settings.sparsity_lambda,
            active: settings.active,
            none_step_log2: settings.none_step_log2,
            decoder,
            encoder,
            priors: file.priors()?,
            provenance: settings.provenance,
        };
        file.finish()?;
        spec.check().map_err(|broken| Error::corrupt(format!("model file: {broken}")))?;
        Ok(spec)
    }
}

fn bad_container(error: &SafeTensorError) -> Error {
    Error::corrupt(format!("model file: not a whole safetensors container ({error})"))
}

fn basis_name(index: usize) -> String {
    format!("decoder.basis.{index}")
}

/// Caps of the file and of its header, before anything is parsed or allocated.
fn check_sizes(bytes: &[u8]) -> Result<(), Error> {
    let too_long = |what: &str, found: u64, most: usize| {
        Error::new(
            ErrorKind::LimitExceeded,
            format!("model file: {what} of {found} bytes, at most {most} allowed"),
        )
    };
    if bytes.len() > MAX_MODEL_BYTES {
        return Err(too_long("file", bytes.len() as u64, MAX_MODEL_BYTES));
    }
    let Some(length_field) = bytes.first_chunk() else {
        let message = format!("model file: {} bytes are no model", bytes.len());
        return Err(Error::new(ErrorKind::Truncated, message));
    };
    let header_bytes = u64::from_le_bytes(*length_field);
    if header_bytes > MAX_MODEL_HEADER_BYTES as u64 {
        return Err(too_long("header", header_bytes, MAX_MODEL_HEADER_BYTES));
    }
    Ok(())
}

/// One tensor on its way into a file.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn list<V: Copy, const N: usize>(dtype: Dtype, values: &[V], to_bytes: impl Fn(V) -> [u8; N]) -> Self {
        let bytes = values.iter().flat_map(|&value| to_bytes(value)).collect();
        Self { dtype, shape: vec![values.len()], bytes }
    }

    fn halves(values: &[f32]) -> Self {
        Self::list(Dtype::F16, values, |value| f16::from_f32_const(value).to_le_bytes())
    }

    fn weights(tensor: &IntTensor) -> Self {
        let list = match &tensor.values {
            IntValues::I8(values) => Self::list(Dtype::I8, values, |value| value.to_le_bytes()),
            IntValues::I16(values) => Self::list(Dtype::I16, values, |value| value.to_le_bytes()),
        };
        list.shaped(vec![tensor.rows, tensor.cols])
    }

    fn shaped(self, shape: Vec<usize>) -> Self {
        Self { shape, ..self }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The tensors of a file that nobody has asked for yet.
struct File<'a> {
    tensors: BTreeMap<String, safetensors::tensor::TensorView<'a>>,
}

impl<'a> File<'a> {
    fn of(container: &SafeTensors<'a>) -> Self {
        Self { tensors: container.tensors().into_iter().collect() }
    }

    /// Takes a tensor of one of `dtypes` with `rank` dimensions.
    fn take(
        &mut self,
        name: &str,
        dtypes: &[Dtype],
        rank: usize,
    ) -> Result<(Dtype, Vec<usize>, &'a [u8]), Error> {
        let missing = || Error::corrupt(format!("model file: tensor {name} is missing"));
        let tensor = self.tensors.remove(name).ok_or_else(missing)?;
        let (dtype, shape) = (tensor.dtype(), tensor.shape());
        if !dtypes.contains(&dtype) || shape.len() != rank {
            return Err(Error::corrupt(format!(
                "model file: tensor {name} is {dtype:?} of shape {shape:?}: {dtypes:?} of rank {rank} expected"
            )));
        }
        Ok((dtype, shape.to_vec(), tensor.data()))
    }

    fn list<V, const N: usize>(
        &mut self,
        name: &str,
        dtype: Dtype,
        from_bytes: impl Fn([u8; N]) -> V,
    ) -> Result<Vec<V>, Error> {
        let (_, _, bytes) = self.take(name, &[dtype], 1)?;
        Ok(read_values(bytes, from_bytes))
    }

    fn halves(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let (_, found, bytes) = self.take(name, &[Dtype::F16], shape.len())?;
        if found != shape {
            let message = format!("model file: tensor {name} is of shape {found:?}: {shape:?} expected");
            return Err(Error::corrupt(message));
        }
        Ok(read_values(bytes, half_from_bytes))
    }

    fn weights(&mut self, name: &str) -> Result<IntTensor, Error> {
        let (dtype, shape, bytes) = self.take(name, &[Dtype::I8, Dtype::I16], 2)?;
        let values = match dtype {
            Dtype::I8 => IntValues::I8(read_values(bytes, i8::from_le_bytes)),
            _ => IntValues::I16(read_values(bytes, i16::from_le_bytes)),
        };
        Ok(IntTensor { rows: shape[0], cols: shape[1], values })
    }

    fn decoder(&mut self, settings: &Settings) -> Result<DecoderWeights, Error> {
        Ok(DecoderWeights {
            latent_frac_bits: settings.latent_frac_bits,
            hidden: self.weights("decoder.hidden")?,
            hidden_bias: self.list("decoder.hidden_bias", Dtype::I32, i32::from_le_bytes)?,
            hidden_shift: settings.hidden_shift,
            hidden_bits: settings.hidden_bits,
            coef: self
                .tensors
                .contains_key("decoder.coef")
                .then(|| self.weights("decoder.coef"))
                .transpose()?,
            coef_bias: self.list("decoder.coef_bias", Dtype::I32, i32::from_le_bytes)?,
            coef_shift: self.list("decoder.coef_shift", Dtype::U8, u8::from_le_bytes)?,
            coef_frac_bits: self.list("decoder.coef_frac_bits", Dtype::U8, u8::from_le_bytes)?,
            coef_bits: settings.coef_bits,
            basis: self.basis()?,
            mean: self.list("decoder.mean", Dtype::I64, i64::from_le_bytes)?,
            output_frac_bits: settings.output_frac_bits,
        })
    }

    fn basis(&mut self) -> Result<Vec<IntTensor>, Error> {
        let names = (0..MAX_BASIS_BLOCKS).map(basis_name);
        let present: Vec<String> = names.take_while(|name| self.tensors.contains_key(name)).collect();
        present.iter().map(|name| self.weights(name)).collect()
    }

    fn encoder(&mut self, settings: &Settings) -> Result<EncoderWeights, Error> {
        let input_bias = self.list("encoder.input_bias", Dtype::F16, half_from_bytes)?;
        let latent_bias = self.list("encoder.latent_bias", Dtype::F16, half_from_bytes)?;
        let (n_hidden, n_latents) = (input_bias.len(), latent_bias.len());
        let n_inputs = self.tensors.get("encoder.input").and_then(|input| input.shape().first().copied());
        Ok(EncoderWeights {
            input: self.halves("encoder.input", &[n_inputs.unwrap_or(0), n_hidden])?,
            latent: self.halves("encoder.latent", &[n_hidden, n_latents])?,
            input_bias,
            latent_bias,
            direct: settings.direct_encoder,
        })
    }

    fn priors(&mut self) -> Result<Priors, Error> {
        Ok(Priors {
            fire: self.list("priors.fire", Dtype::U16, u16::from_le_bytes)?,
            weight_scale: self.list("priors.weight_scale", Dtype::I8, i8::from_le_bytes)?,
            linear_scale: self.list("priors.linear_scale", Dtype::I8, i8::from_le_bytes)?,
            linear_only_scale: self.list("priors.linear_only_scale", Dtype::I8, i8::from_le_bytes)?,
        })
    }

    fn finish(self) -> Result<(), Error> {
        match self.tensors.keys().next() {
            Some(name) => Err(Error::corrupt(format!("model file: unknown tensor {name:?}"))),
            None => Ok(()),
        }
    }
}

fn half_from_bytes(pair: [u8; 2]) -> f32 {
    f16::from_le_bytes(pair).to_f32_const()
}

/// The container has checked that the length is a multiple of the width.
fn read_values<V, const N: usize>(bytes: &[u8], from_bytes: impl Fn([u8; N]) -> V) -> Vec<V> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| from_bytes(chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{extreme_spec, random_spec};
    use super::*;

    #[test]
    fn survives_a_round_trip_with_equal_bytes() {
        for seed in 0..50 {
            for spec in [random_spec(seed), extreme_spec(seed)] {
                let bytes = spec.to_bytes().unwrap();
                let back = ModelSpec::parse(&bytes).unwrap();
                assert_eq!(back, spec, "seed {seed}");
                assert_eq!(back.to_bytes().unwrap(), bytes, "seed {seed}");
            }
        }
    }
}
