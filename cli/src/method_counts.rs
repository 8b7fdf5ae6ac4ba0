//! Which methods the patches of a dataset took.

use h5z_sae::{ErrorKind, MethodCounts, count_methods};
use serde_json::{Value, json};

use crate::models::Lookup;

/// Counts of patches by method, over many chunks.
#[derive(Clone, Debug, Default)]
pub struct MethodShares {
    constant: usize,
    network: usize,
    context_grid: usize,
    context_aligned: usize,
    lossless: usize,
    header_bytes: usize,
    pixel_bytes: usize,
    /// Chunks that did not pass through the filter.
    unfiltered_chunks: usize,
    /// Chunks whose patches cannot be told apart, as their model is not there.
    unknown_chunks: usize,
}

impl MethodShares {
    /// Counts one stream; `None` for a chunk that did not pass through the filter.
    ///
    /// # Errors
    /// If the stream is damaged.
    pub fn of_chunk(stream: Option<&[u8]>) -> Result<Self, h5z_sae::Error> {
        let Some(stream) = stream else { return Ok(Self { unfiltered_chunks: 1, ..Self::default() }) };
        match count_methods(stream, &Lookup) {
            Ok(counts) => Ok(Self::from(counts)),
            Err(error) if error.kind() == ErrorKind::MissingModel => {
                Ok(Self { unknown_chunks: 1, ..Self::default() })
            }
            Err(error) => Err(error),
        }
    }

    /// Adds the counts of other chunks.
    pub fn add(&mut self, other: &Self) {
        self.constant += other.constant;
        self.network += other.network;
        self.context_grid += other.context_grid;
        self.context_aligned += other.context_aligned;
        self.lossless += other.lossless;
        self.header_bytes += other.header_bytes;
        self.pixel_bytes += other.pixel_bytes;
        self.unfiltered_chunks += other.unfiltered_chunks;
        self.unknown_chunks += other.unknown_chunks;
    }

    /// Counts of patches and bytes.
    pub fn to_json(&self) -> Value {
        json!({
            "constant": self.constant,
            "network": self.network,
            "context_grid": self.context_grid,
            "context_aligned": self.context_aligned,
            "lossless": self.lossless,
            "header_bytes": self.header_bytes,
            "pixel_bytes": self.pixel_bytes,
            "unfiltered_chunks": self.unfiltered_chunks,
            "unknown_chunks": self.unknown_chunks,
        })
    }

    /// Shares of patches in words, `network 75 %, constant 25 %`; empty without any.
    pub fn describe(&self) -> String {
        let methods = [
            ("network", self.network),
            ("context grid", self.context_grid),
            ("context aligned", self.context_aligned),
            ("constant", self.constant),
            ("lossless", self.lossless),
        ];
        let total: usize = methods.iter().map(|(_, count)| count).sum();
        let taken = methods.iter().filter(|(_, count)| *count > 0);
        let mut words: Vec<String> = taken
            .map(|(method, count)| format!("{method} {:.1} %", 100.0 * *count as f64 / total as f64))
            .collect();
        for (kind, count) in [("unfiltered", self.unfiltered_chunks), ("unknown", self.unknown_chunks)] {
            if count > 0 {
                words.push(format!("{kind} chunks: {count}"));
            }
        }
        words.join(", ")
    }
}

impl From<MethodCounts> for MethodShares {
    fn from(counts: MethodCounts) -> Self {
        Self {
            constant: counts.constant,
            network: counts.network,
            context_grid: counts.grid,
            context_aligned: counts.aligned,
            lossless: counts.lossless,
            header_bytes: counts.header_bytes,
            pixel_bytes: counts.pixel_bytes,
            ..Self::default()
        }
    }
}
