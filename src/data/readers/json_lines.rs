//! JSON lines: one object a line, its keys as the columns of a table of text.

use std::{collections::HashMap, fmt, path::Path};

use polars::prelude::{Column, DataFrame};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::Value;

use crate::data::DataError;

/// Whether the file's name says that it holds JSON lines, compressed or not.
pub(super) fn is_named(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    [".json", ".jsonl", ".ndjson"].iter().any(|ending| plain.ends_with(ending))
}

/// The entries of an object in their order. A key that comes twice is an error: nothing says which is meant.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries: Vec<(String, Value)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if entries.iter().any(|(known, _)| *known == key) {
                        return Err(de::Error::custom(format!("the key `{key}` comes twice")));
                    }
                    entries.push((key, value));
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// From here on not every whole number is a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value as the text of a cell: none for `null`; lists and objects stay JSON. An error for a number whose digits are lost,
/// which could make two identifiers one.
fn cell(value: Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number)
            if number.is_f64() && number.as_f64().is_none_or(|of| of.abs() >= EXACT) =>
        {
            Err(format!("the number {number} has more digits than can be kept: write it as text"))
        }
        other => Ok(Some(other.to_string())),
    }
}

/// The columns, in the order in which their keys first appear. A key that a line does not have is an empty cell.
pub(super) fn frame(path: &Path, text: &[u8]) -> Result<DataFrame, DataError> {
    let mut columns: Vec<(String, Vec<Option<String>>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut rows = 0;
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let wrong = |problem: String| DataError::Line {
            path: path.to_owned(),
            line: number,
            problem,
            found: String::from_utf8_lossy(line).chars().take(80).collect(),
            expected: "JSON lines: one JSON object a line, each key once".into(),
        };
        if rows == 0 && line.trim_ascii_start().starts_with(b"[") {
            return Err(wrong("it is a JSON array, not JSON lines".into()));
        }
        let object: Object = serde_json::from_slice(line)
            .map_err(|error| wrong(format!("no JSON object: {error}")))?;
        for (key, value) in object.0 {
            let at = *places.entry(key).or_insert_with_key(|key| {
                columns.push((key.clone(), Vec::new()));
                columns.len() - 1
            });
            let cells = &mut columns[at].1;
            cells.resize(rows, None);
            cells.push(cell(value).map_err(&wrong)?);
        }
        rows += 1;
    }
    let series = columns.into_iter().map(|(name, mut cells)| {
        cells.resize(rows, None);
        Column::new(name.into(), cells)
    });
    DataFrame::new(rows, series.collect()).map_err(|error| DataError::File {
        path: path.to_owned(),
        problem: format!("it is no table: {error}"),
        help: "write it again".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<DataFrame, String> {
        frame(Path::new("x.json"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_columns_and_a_missing_key_is_an_empty_cell() {
        let text = "{\"u\": \"a\", \"n\": 5.0, \"t\": 1393545600}\n\n{\"u\": \"b\", \"x\": [1, \"y\"], \"n\": null}\n";
        let frame = of(text).unwrap();
        let cells = |name: &str| -> Vec<Option<String>> {
            let column = frame.column(name).unwrap().str().unwrap();
            column.iter().map(|cell| cell.map(str::to_owned)).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(cells("u"), [some("a"), some("b")]);
        assert_eq!(cells("n"), [some("5.0"), None]);
        assert_eq!(cells("t"), [some("1393545600"), None]);
        assert_eq!(cells("x"), [None, some("[1,\"y\"]")]);
    }

    #[test]
    fn what_is_no_json_line_is_an_error_with_its_line() {
        for (text, says) in [
            ("{\"a\": 1}\n{\"a\": 1\n", "x.json:2"),
            ("{\"a\": 1}\n{\"a\": 1, \"a\": 2}\n", "the key `a` comes twice"),
            ("[\n{\"a\": 1}]\n", "a JSON array"),
            ("{\"a\": 1}\n7\n", "an object"),
            ("{\"a\": 18446744073709551615}\n{\"a\": 100000000000000000001}\n", "x.json:2"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
