//! Reads typed values from a [`Node`], so that every serde error has a position.

use serde::de::{self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::{
    diagnostic::Diagnostic,
    node::{Entry, Mapping, Node, Value, unknown_key},
};

/// Reads a `T` from `node`.
pub fn from_node<'de, T: de::Deserialize<'de>>(node: &'de Node) -> Result<T, Diagnostic> {
    T::deserialize(NodeDeserializer(node)).map_err(|error| error.or_at(&node.at))
}

/// A node as a serde deserializer.
#[derive(Clone, Copy)]
pub struct NodeDeserializer<'de>(pub &'de Node);

impl de::Error for Diagnostic {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: de::Unexpected, expected: &dyn de::Expected) -> Self {
        Self::new(format!("wrong type: found {}", in_words(found))).expected(plainly(expected))
    }

    fn invalid_value(found: de::Unexpected, expected: &dyn de::Expected) -> Self {
        Self::new(format!("wrong value: found {}", in_words(found))).expected(plainly(expected))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        unknown_key(field, known.iter().copied(), None)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("unknown name `{variant}`"))
            .expected(format!("one of {}", known.join(", ")))
            .suggest(variant, known.iter().copied())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key `{field}` is missing"))
    }
}

/// The type that serde expected, without Rust's names.
fn plainly(expected: &dyn de::Expected) -> String {
    let expected = expected.to_string();
    match expected.as_str() {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number, 0 or more".into(),
        "i64" | "i32" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a string" => "text".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" => "a mapping".into(),
        other if other.starts_with("struct ") => "a mapping (`key: value`)".into(),
        _ => expected,
    }
}

fn in_words(found: de::Unexpected) -> String {
    match found {
        de::Unexpected::Str(text) => format!("the text `{text}`"),
        de::Unexpected::Bool(value) => format!("the boolean `{value}`"),
        de::Unexpected::Signed(value) => format!("the number `{value}`"),
        de::Unexpected::Unsigned(value) => format!("the number `{value}`"),
        de::Unexpected::Float(value) => format!("the number `{value}`"),
        de::Unexpected::Unit => "nothing".into(),
        de::Unexpected::Seq => "a list".into(),
        de::Unexpected::Map => "a mapping".into(),
        other => other.to_string(),
    }
}

impl<'de> de::Deserializer<'de> for NodeDeserializer<'de> {
    type Error = Diagnostic;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Diagnostic> {
        let result = match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::Sequence(items) => visitor.visit_seq(Items(items.iter())),
            Value::Mapping(mapping) => visitor.visit_map(Entries::of(mapping)),
        };
        result.map_err(|error| error.or_at(&self.0.at))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Diagnostic> {
        match self.0.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Diagnostic> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Diagnostic> {
        let result =
            match &self.0.value {
                Value::Text(_) => visitor.visit_enum(Variant { name: self.0, content: None }),
                Value::Mapping(mapping) if mapping.entries().len() == 1 => {
                    visitor.visit_enum(KeyedVariant(&mapping.entries()[0]))
                }
                _ => Err(Diagnostic::new(format!("wrong type: found {}", self.0.found()))
                    .expected("a name")),
            };
        result.map_err(|error| error.or_at(&self.0.at))
    }

    /// Refuses lists: derived code would take their values for the first keys.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Diagnostic> {
        match self.0.value {
            Value::Sequence(_) => {
                let error: Diagnostic = de::Error::invalid_type(de::Unexpected::Seq, &visitor);
                Err(error.or_at(&self.0.at))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Diagnostic;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Diagnostic> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(NodeDeserializer(node)).map(Some).map_err(|error| error.or_at(&node.at))
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
}

impl<'de> Entries<'de> {
    fn of(mapping: &'de Mapping) -> Self {
        Self { rest: mapping.entries().iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Diagnostic;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Diagnostic> {
        self.current = self.rest.next();
        let Some(entry) = self.current else { return Ok(None) };
        seed.deserialize(de::value::BorrowedStrDeserializer::new(&entry.key))
            .map(Some)
            .map_err(|error: Diagnostic| error.or_at(&entry.key_at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Diagnostic> {
        // invariant: serde asks for a value only after a key
        let entry = self.current.expect("a key was read");
        seed.deserialize(NodeDeserializer(&entry.value)).map_err(|mut error| {
            if error.position.is_none() {
                error.message = format!("`{}`: {}", entry.key, error.message);
            }
            error.or_at(&entry.value.at)
        })
    }
}

struct Variant<'de> {
    name: &'de Node,
    content: Option<&'de Node>,
}

struct KeyedVariant<'de>(&'de Entry);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Diagnostic;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), Diagnostic> {
        let value = seed
            .deserialize(NodeDeserializer(self.name))
            .map_err(|error| error.or_at(&self.name.at))?;
        Ok((value, self))
    }
}

impl<'de> EnumAccess<'de> for KeyedVariant<'de> {
    type Error = Diagnostic;
    type Variant = Variant<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Variant<'de>), Diagnostic> {
        let value = seed
            .deserialize(de::value::BorrowedStrDeserializer::new(&self.0.key))
            .map_err(|error: Diagnostic| error.or_at(&self.0.key_at))?;
        Ok((value, Variant { name: &self.0.value, content: Some(&self.0.value) }))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Diagnostic;

    fn unit_variant(self) -> Result<(), Diagnostic> {
        match self.content {
            None => Ok(()),
            Some(node) if node.value == Value::Null => Ok(()),
            Some(node) => Err(Diagnostic::at(&node.at, "this name takes no settings")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Diagnostic> {
        match self.content {
            Some(node) => seed.deserialize(NodeDeserializer(node)),
            None => Err(Diagnostic::at(&self.name.at, "this name needs settings")
                .expected("a mapping `name: {…}`")),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Diagnostic> {
        self.struct_variant(&[], visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Diagnostic> {
        match self.content {
            Some(node) => {
                de::Deserializer::deserialize_struct(NodeDeserializer(node), "", &[], visitor)
            }
            None => Err(Diagnostic::at(&self.name.at, "this name needs settings")
                .expected("a mapping `name: {…}`")),
        }
    }
}
