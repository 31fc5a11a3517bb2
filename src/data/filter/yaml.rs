//! How filters are written in an experiment file: reading them, what is wrong with them, and showing them as they are there.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Filter, Filters, Moment, PerSide, Period};
use crate::{
    base::yaml::{
        Diagnostic,
        de::from_node,
        node::{Node, Value},
    },
    data::{Relevance, times},
};

impl Filters {
    /// Reads `filter:`: a list, or one filter.
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let one = |node: &Node| -> Result<Filter, Diagnostic> {
            let mapping = node.mapping("a filter")?;
            if mapping.entries().len() != 1 {
                let problem = match mapping.entries().len() {
                    0 => "a filter without a name",
                    _ => "several filters in one mapping, which has no order",
                };
                return Err(Diagnostic::at(&node.at, problem)
                    .expected("a list of filters, which are applied in turn")
                    .help("write `filter: [{rating: \">= 4\"}, {k_core: 5}]`"));
            }
            let filter: Filter = from_node(node)?;
            let at = &mapping.entries()[0].value.at;
            filter.validate().map_err(|problem| {
                Diagnostic::at(at, format!("the filter `{filter}`: {problem}"))
            })?;
            Ok(filter)
        };
        match &node.value {
            Value::Sequence(filters) if filters.is_empty() => {
                Err(Diagnostic::at(&node.at, "`filter` is empty")
                    .help("remove it, or name a filter: `filter: [{k_core: 5}]`"))
            }
            Value::Sequence(filters) => filters.iter().map(one).collect::<Result<_, _>>().map(Self),
            _ => Ok(Self(vec![one(node)?])),
        }
    }
}

impl Filter {
    /// What is wrong with its settings, if anything.
    fn validate(&self) -> Result<(), &'static str> {
        match self {
            Self::KCore(per) | Self::MinInteractions(per) => match (per.user, per.item) {
                (None, None) => Err("neither `user` nor `item` is given"),
                (Some(0), _) | (_, Some(0)) => Err("0 would remove nothing"),
                _ => Ok(()),
            },
            Self::Rating(Relevance::Any) => Err("`any` would remove nothing"),
            Self::Time(Period { from: None, before: None }) => {
                Err("neither `from` nor `before` is given")
            }
            Self::Time(Period { from: Some(from), before: Some(before) })
                if from.time >= before.time =>
            {
                Err("`from` is not before `before`: the period is empty")
            }
            Self::First(0) | Self::Last(0) => Err("0 would leave nothing"),
            _ => Ok(()),
        }
    }
}

/// As in an experiment file.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mapping = |pairs: [(&str, Option<String>); 2]| {
            let given = pairs.into_iter().filter_map(|(key, of)| Some(format!("{key}: {}", of?)));
            format!("{{{}}}", given.collect::<Vec<_>>().join(", "))
        };
        let per = |of: &PerSide| {
            let text = |n: Option<u32>| n.map(|n| n.to_string());
            mapping([("user", text(of.user)), ("item", text(of.item))])
        };
        match self {
            Self::KCore(of) => write!(f, "k_core: {}", per(of)),
            Self::MinInteractions(of) => write!(f, "min_interactions: {}", per(of)),
            Self::Rating(rule) => write!(f, "rating: \"{rule}\""),
            Self::Time(Period { from, before }) => {
                let text = |of: &Option<Moment>| of.map(|of| of.to_string());
                write!(f, "time: {}", mapping([("from", text(from)), ("before", text(before))]))
            }
            Self::First(n) => write!(f, "first: {n}"),
            Self::Last(n) => write!(f, "last: {n}"),
        }
    }
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.time.whole().filter(|_| self.is_date);
        match date.and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0)) {
            Some(date) if date.time() == chrono::NaiveTime::MIN => {
                write!(f, "{}", date.format("%Y-%m-%d"))
            }
            Some(date) => write!(f, "{}", date.format("%Y-%m-%dT%H:%M:%SZ")),
            None => self.time.fmt(f),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // However it is written: one moment is one key.
        self.time.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cell;
        impl de::Visitor<'_> for Cell {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", times::EXPECTED)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Moment, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Moment, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Moment, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                let is_date = times::date(text.trim()).is_some();
                match times::read(std::iter::once(Some(text))) {
                    Ok(read) if !read.is_empty() => Ok(Moment { time: read[0], is_date }),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Cell)
    }
}

impl JsonSchema for Filters {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Filters".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let filter = generator.subschema_for::<Filter>().to_value();
        schemars::json_schema!({
            "description": "Filters, applied in turn before the split.",
            "anyOf": [filter, {"type": "array", "items": filter, "minItems": 1}],
        })
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["number", "string"],
            "description": "A date (UTC without a zone), or a number on the scale of the data's times.",
            "examples": ["1998-01-01", "1998-01-01T12:00:00Z", 883612800],
        })
    }
}

impl<'de> Deserialize<'de> for PerSide {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            user: Option<u32>,
            item: Option<u32>,
        }
        struct Sides;
        impl<'de> de::Visitor<'de> for Sides {
            type Value = PerSide;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number for users and items, or `{{user: 5, item: 10}}`")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<PerSide, E> {
                let number = u32::try_from(number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))?;
                Ok(PerSide { user: Some(number), item: Some(number) })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<PerSide, A::Error> {
                let Keys { user, item } =
                    Keys::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(PerSide { user, item })
            }
        }
        deserializer.deserialize_any(Sides)
    }
}
