//! Rows and columns, each of which may be a text instead of a mapping.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{ColumnSpec, RowSpec};
use crate::base::lists::one_or_more;

/// A schema that a text satisfies, too.
pub(super) fn or_text(schema: &mut schemars::Schema) {
    let mut inner = std::mem::take(schema).to_value();
    let description = inner.as_object_mut().and_then(|of| of.remove("description"));
    let mut outer = serde_json::json!({"anyOf": [{"type": "string"}, inner]});
    if let Some(description) = description {
        outer["description"] = description;
    }
    if let Ok(changed) = schemars::Schema::try_from(outer) {
        *schema = changed;
    }
}

/// Reads a text, or the keys `K`.
struct TextOr<K, T>(fn(String) -> T, std::marker::PhantomData<K>);

impl<'de, K: Deserialize<'de> + Into<T>, T> Visitor<'de> for TextOr<K, T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name, or a mapping (`key: value`)")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        Ok(self.0(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        Ok(K::deserialize(MapAccessDeserializer::new(map))?.into())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowKeys {
    system: Option<String>,
    #[serde(rename = "as")]
    shown: Option<String>,
    group: Option<String>,
    #[serde(default)]
    rows: Vec<RowSpec>,
}

impl From<RowKeys> for RowSpec {
    fn from(RowKeys { system, shown, group, rows }: RowKeys) -> Self {
        Self { system, shown, group, rows }
    }
}

impl<'de> Deserialize<'de> for RowSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let of = |text| Self { system: Some(text), ..Self::default() };
        deserializer.deserialize_any(TextOr::<RowKeys, Self>(of, std::marker::PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnKeys {
    group: Option<String>,
    #[serde(default, deserialize_with = "one_or_more")]
    metrics: Vec<String>,
    slice: Option<String>,
    protocol: Option<String>,
    convention: Option<String>,
    fold: Option<String>,
}

impl From<ColumnKeys> for ColumnSpec {
    fn from(of: ColumnKeys) -> Self {
        let ColumnKeys { group, metrics, slice, protocol, convention, fold } = of;
        Self { group, metrics, slice, protocol, convention, fold }
    }
}

impl<'de> Deserialize<'de> for ColumnSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let of = |text| Self { metrics: vec![text], ..Self::default() };
        deserializer.deserialize_any(TextOr::<ColumnKeys, Self>(of, std::marker::PhantomData))
    }
}
