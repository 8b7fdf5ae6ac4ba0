//! A safetensors container of named arrays, with one JSON text as metadata and a checksum over everything in it: a
//! file that was cut off or damaged is refused rather than trained on.

use std::borrow::Cow;

use crc32fast::Hasher;
use h5z_sae::{Error, ErrorKind};
use safetensors::{Dtype, SafeTensors, View};

/// Keys of the container's metadata.
const TEXT_KEY: &str = "h5z-sae-checkpoint";
const CHECKSUM_KEY: &str = "crc32";

/// Numbers that arrays hold.
pub(crate) trait Element: Copy {
    const DTYPE: Dtype;
    fn append(self, bytes: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($type:ty, $dtype:expr) => {
        impl Element for $type {
            const DTYPE: Dtype = $dtype;

            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Vec<Self> {
                let (numbers, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                numbers.iter().map(|&bytes| <$type>::from_le_bytes(bytes)).collect()
            }
        }
    };
}

element!(f32, Dtype::F32);
element!(f64, Dtype::F64);
element!(u32, Dtype::U32);
element!(u64, Dtype::U64);

struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Tensor {
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

/// Arrays to be written.
#[derive(Default)]
pub(crate) struct TensorWriter {
    tensors: Vec<(String, Tensor)>,
}

impl TensorWriter {
    /// Adds an array.
    pub(crate) fn add<T: Element>(&mut self, name: impl Into<String>, shape: &[usize], values: &[T]) {
        let mut bytes = Vec::with_capacity(size_of_val(values));
        values.iter().for_each(|value| value.append(&mut bytes));
        self.tensors.push((name.into(), Tensor { dtype: T::DTYPE, shape: shape.to_vec(), bytes }));
    }

    /// Bytes of the file.
    pub(crate) fn finish(mut self, text: String) -> Result<Vec<u8>, Error> {
        self.tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let mut hasher = Hasher::new();
        hasher.update(text.as_bytes());
        self.tensors.iter().for_each(|(_, tensor)| hasher.update(&tensor.bytes));
        let checksum = (CHECKSUM_KEY.to_owned(), format!("{:08x}", hasher.finalize()));
        let metadata = [(TEXT_KEY.to_owned(), text), checksum].into_iter().collect();
        let views = self.tensors.iter().map(|(name, tensor)| (name, tensor));
        safetensors::serialize(views, Some(metadata))
            .map_err(|error| Error::new(ErrorKind::System, format!("cannot write a checkpoint: {error}")))
    }
}

/// Arrays of a file.
pub(crate) struct TensorReader<'a> {
    tensors: SafeTensors<'a>,
}

pub(crate) fn corrupt(detail: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("checkpoint: {detail}"))
}

impl<'a> TensorReader<'a> {
    /// Reads a file, and compares its checksum. Returns the text, too.
    pub(crate) fn try_new(bytes: &'a [u8]) -> Result<(Self, String), Error> {
        let not_whole = |error| corrupt(format_args!("not a whole safetensors container ({error})"));
        let tensors = SafeTensors::deserialize(bytes).map_err(not_whole)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_whole)?;
        let metadata = header.metadata().as_ref();
        let entry = |key: &str| metadata.and_then(|metadata| metadata.get(key));
        let (Some(text), Some(expected)) = (entry(TEXT_KEY), entry(CHECKSUM_KEY)) else {
            return Err(corrupt(format_args!(
                "a safetensors container without \"{TEXT_KEY}\": another file"
            )));
        };
        let mut names = tensors.names();
        names.sort_unstable();
        let mut hasher = Hasher::new();
        hasher.update(text.as_bytes());
        for name in names {
            hasher.update(tensors.tensor(name).map_err(not_whole)?.data());
        }
        let found = format!("{:08x}", hasher.finalize());
        if found != *expected {
            return Err(corrupt(format_args!(
                "damaged: its checksum is {found}, and {expected} when it was written"
            )));
        }
        Ok((Self { tensors }, text.clone()))
    }

    /// An array whose shape is known.
    pub(crate) fn read<T: Element>(&self, name: &str, shape: &[usize]) -> Result<Vec<T>, Error> {
        let tensor = self
            .tensors
            .tensor(name)
            .map_err(|error| corrupt(format_args!("no tensor \"{name}\" ({error})")))?;
        if tensor.dtype() != T::DTYPE || tensor.shape() != shape {
            return Err(corrupt(format_args!(
                "tensor \"{name}\" is {:?} {:?}, expected {:?} {shape:?}",
                tensor.dtype(),
                tensor.shape(),
                T::DTYPE
            )));
        }
        Ok(T::read(tensor.data()))
    }
}
