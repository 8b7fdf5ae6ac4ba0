//! Which methods the chunks of a dataset took, as their streams' headers say.

use std::collections::BTreeMap;

use h5z_sae::StreamHeader;

/// Counts of chunks by the way they are coded.
#[derive(Clone, Debug, Default)]
pub struct MethodCounts(BTreeMap<String, u64>);

impl MethodCounts {
    /// Counts one chunk; `None` for one that did not pass through the filter.
    pub fn add(&mut self, header: Option<&StreamHeader>) {
        *self.0.entry(method_of(header)).or_default() += 1;
    }

    /// As a JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self.0)
    }

    /// In words, with shares: `coded with the network 75 %, raw 25 %`.
    pub fn describe(&self) -> String {
        let total: u64 = self.0.values().sum();
        let share = |(method, count): (&String, &u64)| {
            format!("{method} {:.0} %", 100.0 * *count as f64 / total as f64)
        };
        self.0.iter().map(share).collect::<Vec<_>>().join(", ")
    }
}

fn method_of(header: Option<&StreamHeader>) -> String {
    match header {
        None => "unfiltered".into(),
        Some(header) if header.model.is_some() => "with network".into(),
        Some(header) => match header.payload {
            h5z_sae::Payload::Coded => "context".into(),
            h5z_sae::Payload::Pco => "lossless".into(),
            h5z_sae::Payload::Raw => "raw".into(),
        },
    }
}
