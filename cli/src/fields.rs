//! Named facts in a chosen order, printed for people or as JSON.

use serde_json::{Map, Value};

/// Facts in the order in which people should read them.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(&'static str, Field)>);

#[derive(Clone, Debug)]
enum Field {
    One(Value),
    Group(Fields),
    List(Vec<Fields>),
}

impl Fields {
    /// Adds a fact; null is shown in JSON only.
    pub fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, Field::One(value.into())));
        self
    }

    /// Adds a group of facts.
    pub fn group(mut self, name: &'static str, fields: Self) -> Self {
        self.0.push((name, Field::Group(fields)));
        self
    }

    /// Adds a list of such groups.
    pub fn list(mut self, name: &'static str, list: Vec<Self>) -> Self {
        self.0.push((name, Field::List(list)));
        self
    }

    /// As a JSON object.
    pub fn to_json(&self) -> Value {
        let value = |field: &Field| match field {
            Field::One(value) => value.clone(),
            Field::Group(fields) => fields.to_json(),
            Field::List(list) => list.iter().map(Self::to_json).collect(),
        };
        Value::Object(
            self.0.iter().map(|(name, field)| (name.to_string(), value(field))).collect::<Map<_, _>>(),
        )
    }

    /// A line for each fact, groups indented.
    pub fn to_text(&self) -> String {
        let mut lines = Vec::new();
        self.add_lines(0, &mut lines);
        lines.join("\n")
    }

    fn add_lines(&self, depth: usize, lines: &mut Vec<String>) {
        let indent = "  ".repeat(depth);
        for (name, field) in &self.0 {
            let label = format!("{indent}{}", name.replace('_', " "));
            match field {
                Field::One(Value::Null) => {}
                Field::One(value) => lines.push(format!("{label}: {}", in_words(value))),
                Field::Group(fields) => {
                    lines.push(format!("{label}:"));
                    fields.add_lines(depth + 1, lines);
                }
                Field::List(list) => list.iter().for_each(|fields| {
                    lines.push(format!("{label}:"));
                    fields.add_lines(depth + 1, lines);
                }),
            }
        }
    }
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(in_words).collect::<Vec<_>>().join(" "),
        Value::Object(entries) if entries.is_empty() => "none".into(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| format!("{key}: {}", in_words(value)))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_facts_in_order_and_machines_all_of_them() {
        let inner = Fields::default().fact("b", 2).fact("a", Value::Null);
        let fields =
            Fields::default().fact("z_last", "x").group("group", inner.clone()).list("item", vec![inner]);
        assert_eq!(fields.to_text(), "z last: x\ngroup:\n  b: 2\nitem:\n  b: 2");
        assert_eq!(fields.to_json()["item"][0]["a"], Value::Null);
    }
}
