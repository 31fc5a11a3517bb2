//! YAML as a tree in which every key and value has its position.
//!
//! serde_yaml decides what a scalar is (`no`, `1e3`, `"4"`); saphyr-parser is used only for the positions.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::Read,
    path::Path,
    sync::Arc,
};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::diagnostic::{Diagnostic, Position, SourceFile};
use crate::base::{
    limits::MOST_VALUES,
    terminal::{is_control, shown},
};

/// Maximum size of a file in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// The key that adds the entries of other mappings (YAML 1.1).
const MERGE: &str = "<<";

/// A YAML value and its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub at: Position,
    pub value: Value,
}

/// The value of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Sequence(Vec<Node>),
    Mapping(Mapping),
}

/// Keys in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping(Vec<Entry>);

/// One key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_at: Position,
    pub value: Node,
}

impl Mapping {
    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The entry of `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// Removes and returns the entry of `key`.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.0.iter().position(|entry| entry.key == key)?;
        Some(self.0.remove(at))
    }

    /// Replaces the entry with the same key, or adds it at the end.
    pub fn set(&mut self, entry: Entry) {
        match self.0.iter_mut().find(|present| present.key == entry.key) {
            Some(present) => *present = entry,
            None => self.0.push(entry),
        }
    }

    /// The mapping at a path of keys.
    pub fn get_mut(&mut self, path: &[&str]) -> Option<&mut Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        let entry = self.0.iter_mut().find(|entry| entry.key == *first)?;
        match &mut entry.value.value {
            Value::Mapping(below) => below.get_mut(rest),
            _ => None,
        }
    }

    /// Gives the entry of `old` the key `new`.
    pub fn rename(&mut self, old: &str, new: &str) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.key == old) {
            entry.key = new.to_owned();
        }
    }

    /// Entries with mutable values.
    pub fn values_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.0.iter_mut().map(|entry| (entry.key.as_str(), &mut entry.value))
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.key.as_str())
    }
}

impl Node {
    /// A value that is not from a file, with the position `at`.
    pub fn of_yaml(value: &serde_yaml::Value, at: &Position) -> Self {
        use serde_yaml::Value as Yaml;
        let of = |value: &Yaml| Self::of_yaml(value, at);
        let value = match value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => Value::Bool(*value),
            Yaml::Number(number) => match number.as_i64() {
                Some(integer) => Value::Integer(integer),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Yaml::String(text) => Value::Text(text.clone()),
            Yaml::Sequence(items) => Value::Sequence(items.iter().map(of).collect()),
            Yaml::Mapping(mapping) => Value::Mapping(Mapping(
                mapping
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.as_str().unwrap_or_default().to_owned(),
                        key_at: at.clone(),
                        value: of(value),
                    })
                    .collect(),
            )),
            Yaml::Tagged(tagged) => return of(&tagged.value),
        };
        Self { at: at.clone(), value }
    }

    /// Sets `value` at a path of keys below this mapping; missing mappings are created.
    pub fn put(&mut self, path: &[&str], value: Self, at: &Position) -> Result<(), Diagnostic> {
        let Some((first, rest)) = path.split_first() else {
            *self = value;
            return Ok(());
        };
        let found = self.found();
        let Value::Mapping(mapping) = &mut self.value else {
            return Err(Diagnostic::at(at, format!("cannot set `{first}` in {found}")));
        };
        let mut below = match mapping.get(first) {
            Some(entry) => entry.value.clone(),
            None => Self { at: at.clone(), value: Value::Mapping(Mapping::default()) },
        };
        below.put(rest, value, at)?;
        // An existing key on the path keeps its position.
        let passed = mapping.get(first).filter(|_| !rest.is_empty());
        let key_at = passed.map_or(at, |entry| &entry.key_at).clone();
        mapping.set(Entry { key: (*first).to_owned(), key_at, value: below });
        Ok(())
    }

    /// Reads and parses a file.
    pub fn read(path: &Path) -> Result<(Self, Arc<SourceFile>), Diagnostic> {
        let unreadable =
            |problem: String| Diagnostic::new(format!("cannot read {}: {problem}", path.display()));
        let mut bytes = Vec::new();
        // It may be a pipe.
        let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
        let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(error.to_string()))?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(unreadable(format!("it is longer than {} MB", MOST_BYTES >> 20)));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            Diagnostic::new(format!(
                "{}: not UTF-8 text (byte {} of the file)",
                path.display(),
                error.utf8_error().valid_up_to()
            ))
        })?;
        let file = Arc::new(SourceFile { path: path.to_owned(), text });
        Ok((Self::parse(&file)?, file))
    }

    /// Parses one YAML document.
    pub fn parse(file: &Arc<SourceFile>) -> Result<Self, Diagnostic> {
        Self::parse_part(file, &file.text)
    }

    /// Parses a text that has the characters of `file` at the same positions.
    pub fn parse_part(file: &Arc<SourceFile>, text: &str) -> Result<Self, Diagnostic> {
        let mut builder =
            Builder { file, parser: Parser::new_from_str(text), anchors: Vec::new(), values: 0 };
        loop {
            let (event, span) = builder.next()?;
            match event {
                Event::StreamEnd => {
                    return Ok(Self { at: builder.position(span), value: Value::Null });
                }
                Event::DocumentStart(_) => break,
                _ => {}
            }
        }
        let (event, span) = builder.next()?;
        let root = builder.node(event, span)?;
        builder.next()?;
        let (event, span) = builder.next()?;
        if !matches!(event, Event::StreamEnd) {
            let at = builder.position(span);
            return Err(Diagnostic::at(&at, "a second YAML document starts here")
                .expected("one document a file"));
        }
        Ok(root)
    }

    /// The value in words, for messages.
    pub fn found(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(value) => format!("the boolean `{value}`"),
            Value::Integer(value) => format!("the number `{value}`"),
            Value::Float(value) => format!("the number `{value}`"),
            Value::Text(value) => format!("the text `{}`", shown(value)),
            Value::Sequence(_) => "a list".into(),
            Value::Mapping(_) => "a mapping".into(),
        }
    }

    /// The node as a mapping, or an error.
    pub fn mapping(&self, what: &str) -> Result<&Mapping, Diagnostic> {
        match &self.value {
            Value::Mapping(mapping) => Ok(mapping),
            _ => Err(Diagnostic::at(&self.at, format!("{what}: found {}", self.found()))
                .expected("a mapping (`key: value` lines)")),
        }
    }

    /// The node as a text, or an error.
    pub fn text(&self, what: &str) -> Result<&str, Diagnostic> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(Diagnostic::at(&self.at, format!("{what}: found {}", self.found()))
                .expected("text")),
        }
    }

    /// The value without positions, for hashing and writing.
    pub fn to_yaml(&self) -> serde_yaml::Value {
        match &self.value {
            Value::Null => serde_yaml::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => value.clone().into(),
            Value::Sequence(items) => items.iter().map(Self::to_yaml).collect::<Vec<_>>().into(),
            Value::Mapping(mapping) => {
                let pairs = mapping
                    .entries()
                    .iter()
                    .map(|entry| (entry.key.clone().into(), entry.value.to_yaml()));
                serde_yaml::Value::Mapping(pairs.collect())
            }
        }
    }
}

struct Builder<'a> {
    file: &'a Arc<SourceFile>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Anchors, each with its number of values.
    anchors: Vec<(usize, Node, usize)>,
    /// Number of values so far, including those of aliases.
    values: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Diagnostic> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = self.position(Span::empty(*error.marker()));
                Err(Diagnostic::at(&at, format!("not valid YAML: {}", error.info())))
            }
            None => Err(Diagnostic::new(format!(
                "{}: the YAML ends unexpectedly",
                self.file.path.display()
            ))),
        }
    }

    fn position(&self, span: Span) -> Position {
        let one_line = span.start.line() == span.end.line();
        Position {
            file: self.file.clone(),
            line: span.start.line().max(1),
            column: span.start.col() + 1,
            width: if one_line { span.len().max(1) } else { 1 },
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Diagnostic> {
        let at = self.position(span);
        let before = self.values;
        self.count(1, &at)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                // A single control character may be a column separator.
                if text.chars().nth(1).is_some() {
                    refuse_controls(&text, &at)?;
                }
                (scalar(&text, style), anchor)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.iter().rev().find(|(id, ..)| *id == anchor);
                let values = known.map_or(0, |(.., values)| *values);
                self.count(values, &at)?;
                let known = self.anchors.iter().rev().find(|(id, ..)| *id == anchor);
                return match known {
                    Some((_, node, _)) => Ok(node.clone()),
                    None => Err(Diagnostic::at(&at, "this alias is inside its own anchor")),
                };
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break (Value::Sequence(items), anchor);
                    }
                    items.push(self.node(event, span)?);
                }
            }
            Event::MappingStart(anchor, _) => (Value::Mapping(self.mapping()?), anchor),
            _ => return Err(Diagnostic::at(&at, "not valid YAML here")),
        };
        let node = Node { at, value };
        if anchor > 0 {
            let values = self.values - before;
            // The anchor keeps a copy.
            self.count(values, &node.at)?;
            self.anchors.push((anchor, node.clone(), values));
        }
        Ok(node)
    }

    fn count(&mut self, more: usize, at: &Position) -> Result<(), Diagnostic> {
        self.values += more;
        match self.values > MOST_VALUES {
            true => Err(Diagnostic::at(
                at,
                format!("up to here the file has more than {MOST_VALUES} values, the limit"),
            )
            .help("write less, or repeat less with aliases (`*name`)")),
            false => Ok(()),
        }
    }

    fn mapping(&mut self) -> Result<Mapping, Diagnostic> {
        let mut mapping = Mapping::default();
        // A map, because a linear search for each key would be quadratic in a large file.
        let mut taken: HashMap<String, usize> = HashMap::new();
        let mut merged: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key_at = self.position(span);
            let (key, is_merge) = match event {
                Event::MappingEnd => {
                    merged.into_iter().for_each(|entry| {
                        if !taken.contains_key(&entry.key) {
                            mapping.0.push(entry);
                        }
                    });
                    return Ok(mapping);
                }
                Event::Scalar(text, style, ..) => {
                    let is_merge = style == ScalarStyle::Plain && text == MERGE;
                    (text.into_owned(), is_merge)
                }
                _ => {
                    return Err(
                        Diagnostic::at(&key_at, "this key is not text").expected("a plain key")
                    );
                }
            };
            refuse_controls(&key, &key_at)?;
            if key.contains(['\n', '\t']) {
                return Err(Diagnostic::at(&key_at, "this key contains a line break or a tab")
                    .expected("a key on one line"));
            }
            if let Some(line) = taken.insert(key.clone(), key_at.line) {
                return Err(Diagnostic::at(&key_at, format!("the key `{key}` is given twice"))
                    .help(format!("it is first given on line {line}; keep one of the two")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            match is_merge {
                true => merged = merge(value)?,
                false => mapping.0.push(Entry { key, key_at, value }),
            }
        }
    }
}

/// The entries that a merge key adds where the mapping has none of its own; of a list of mappings, the first that has a key gives it.
fn merge(value: Node) -> Result<Vec<Entry>, Diagnostic> {
    let wrong = |of: &Node| {
        Err(Diagnostic::at(&of.at, format!("`{MERGE}` cannot merge {}", of.found()))
            .expected(format!("the alias of a mapping, or a list of them: `{MERGE}: *name`")))
    };
    let mappings = match value.value {
        Value::Sequence(items) => items,
        _ => vec![value],
    };
    let (mut merged, mut taken) = (Vec::new(), HashSet::new());
    for of in mappings {
        let Value::Mapping(entries) = of.value else { return wrong(&of) };
        merged.extend(entries.0.into_iter().filter(|entry| taken.insert(entry.key.clone())));
    }
    Ok(merged)
}

/// Refuses control characters, because texts of a file are shown in terminals and pages.
fn refuse_controls(text: &str, at: &Position) -> Result<(), Diagnostic> {
    match text.chars().find(|c| is_control(*c)) {
        None => Ok(()),
        Some(c) => Err(Diagnostic::at(
            at,
            format!("this text contains the control character U+{:04X}", u32::from(c)),
        )
        .expected("text without control characters")),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match serde_yaml::from_str(text) {
        Ok(serde_yaml::Value::Null) => Value::Null,
        Ok(serde_yaml::Value::Bool(value)) => Value::Bool(value),
        Ok(serde_yaml::Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Integer(value),
            (None, Some(value)) => Value::Float(value),
            (None, None) => Value::Text(text.to_owned()),
        },
        _ => Value::Text(text.to_owned()),
    }
}

/// Keys of `mapping` that are not in `known`, as an error on the first of them.
pub fn refuse_unknown_keys(
    mapping: &Mapping,
    known: &[&str],
    what: &str,
) -> Result<(), Diagnostic> {
    match mapping.keys().find(|key| !known.contains(key)) {
        None => Ok(()),
        Some(key) => {
            // invariant: `key` was just found in it
            let entry = mapping.get(key).expect("the key is there");
            Err(unknown_key(key, known.iter().copied(), Some(what)).or_at(&entry.key_at))
        }
    }
}

/// The error for an unknown key.
pub fn unknown_key<'a>(
    key: &str,
    known: impl IntoIterator<Item = &'a str>,
    what: Option<&str>,
) -> Diagnostic {
    let known: Vec<&str> = known.into_iter().collect();
    let place = what.map(|what| format!(" in {what}")).unwrap_or_default();
    Diagnostic::new(format!("unknown key `{key}`{place}"))
        .expected(format!("one of {}", known.join(", ")))
        .suggest(key, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Node, Diagnostic> {
        Node::parse(&Arc::new(SourceFile { path: "x.yaml".into(), text: text.into() }))
    }

    #[test]
    fn scalars_are_interpreted_like_serde_yaml() {
        let text = "[1, 2.5, true, no, '4', null, .inf, 1e-3, text, 2024-01-01]";
        let expected: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
        assert_eq!(parse(text).unwrap().to_yaml(), expected);
    }

    #[test]
    fn aliases_multiply_only_up_to_a_limit() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for at in 1..9 {
            let below = format!("*a{}, ", at - 1).repeat(10);
            text.push_str(&format!("a{at}: &a{at} [{below}]\n"));
        }
        let error = parse(&text).unwrap_err();
        assert!(error.message.contains("more than 1000000 values, the limit"), "{error:?}");
        let few = text.lines().take(3).collect::<Vec<_>>().join("\n");
        let root = parse(&few).unwrap();
        let Value::Sequence(last) = &root.mapping("x").unwrap().get("a2").unwrap().value.value
        else {
            panic!("a list");
        };
        assert_eq!(last.len(), 10);
    }

    #[test]
    fn a_repeated_key_is_refused_at_its_second_position() {
        let error = parse("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(error.position.as_ref().map(|p| (p.line, p.column)), Some((3, 1)));
        assert!(error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn control_characters_are_refused_at_their_position() {
        for text in [
            "a: \"x\\e]52;c;AA\\a\"",
            "\"a\\e\": 1",
            "a: \"x\\u202ey\"",
            "a: \"x\\0y\"",
            "a: x\u{85}y",
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.to_string().contains("control character") || text.contains('\u{85}'),
                "{error}"
            );
        }
        assert!(parse("a: \"\\t\"\nb: \"\\x01\"\nc: \"two\\nlines\"").is_ok());
    }

    #[test]
    fn long_values_are_shortened() {
        let node = parse(&"word ".repeat(10_000)).unwrap();
        assert!(node.mapping("it").unwrap_err().to_string().len() < 600);
    }

    #[test]
    fn a_merge_key_adds_what_the_mapping_does_not_have() {
        let text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: {w: 4}}\nc: {y: 6, <<: *a}\nd:\n  <<: [*b, *a]\n  w: 7\n";
        let mut expected: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
        expected.apply_merge().unwrap();
        assert_eq!(parse(text).unwrap().to_yaml(), expected);
        assert!(parse("a: {\"<<\": 1}").is_ok(), "a text in quotes is a key like others");
        for (text, found) in [("<<: 1", "the number `1`"), ("a: {<<: [{x: 1}, y]}", "the text `y`")]
        {
            let error = parse(text).unwrap_err();
            assert_eq!(error.message, format!("`<<` cannot merge {found}"));
        }
    }

    #[test]
    fn anchors_are_copied() {
        let node = parse("a: &x {k: 1}\nb: *x\n").unwrap();
        let root = node.mapping("").unwrap();
        assert_eq!(root.get("a").unwrap().value.to_yaml(), root.get("b").unwrap().value.to_yaml());
    }

    #[test]
    fn invalid_yaml_has_a_position() {
        let error = parse("a: [1, 2\nb: 3\n").unwrap_err();
        assert!(error.position.is_some(), "{error}");
    }
}
