//! The reference of experiment files in Markdown, from their schema.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Sections of definitions that stand on their own, so that tables do not repeat them.
struct Reference<'a> {
    defs: &'a Map<String, Value>,
    text: String,
}

const HEAD: &str = "\
# Reference of experiment files

Written by `assay schema --markdown` from the schema, which the parser agrees with. [Experiment files](EXPERIMENTS.md) shows
how the parts work together.

Any value but those of `experiment`, `task`, `describe`, `include`, `published` and `responses` may be `{sweep: [a, b]}`. In
any mapping `use: FILE` inserts the keys of a file; keys beside it override them.
";

const DEFAULTS: &str = "
A model without settings has the defaults below. Numbers beside them are nDCG@10 on a tenth of the training part of
MovieLens-100K's fold u1 (`relevant: \">= 4\"`), on which the settings of `baselines/` were tuned, too; no test part was
looked at. Data of another size or density want other settings: a `search` finds them.
";

/// The reference, from the schema without `use:` and sweeps.
pub fn reference(schema: &Value) -> String {
    let none = Map::new();
    let defs = schema["$defs"].as_object().unwrap_or(&none);
    let mut of = Reference { defs, text: HEAD.to_owned() };
    of.text.push_str("\n## Keys of an experiment\n\n");
    of.table(schema);
    let properties = schema["properties"].as_object().unwrap_or(&none);
    for key in ["data", "profiles", "systems"] {
        if let Some(section) = properties.get(key) {
            let _ = write!(of.text, "\n## {key}\n\n{}\n", sentence(section));
            match key {
                "systems" => of.systems(),
                _ => of.kinds(section, 3),
            }
        }
    }
    for key in ["audit", "report"] {
        if let Some(section) = properties.get(key) {
            let _ = write!(of.text, "\n## {key}\n\n{}\n\n", sentence(section));
            of.table(section);
        }
    }
    of.text.push_str("\n## Shared settings\n");
    let names: Vec<&String> = defs.keys().filter(|name| *name != "SystemSpec").collect();
    for name in names {
        of.definition(name);
    }
    of.text
}

impl Reference<'_> {
    /// Keys that every model's system has, then the models.
    fn systems(&mut self) {
        let systems = self.defs["SystemSpec"]["oneOf"].as_array().cloned().unwrap_or_default();
        let own = ["describe", "search", "positives", "train_share"];
        if let Some(model) = systems.first() {
            self.text.push_str(DEFAULTS);
            let mut common = model.clone();
            if let Some(properties) = common["properties"].as_object_mut() {
                properties.retain(|key, _| own.contains(&key.as_str()));
            }
            common["required"] = Value::Null;
            self.text
                .push_str("\nBeside `model` and its settings, every system of a model has:\n\n");
            self.table(&common);
        }
        for system in &systems {
            let name = system["properties"]["model"]["const"].as_str().unwrap_or_default();
            let _ = write!(self.text, "\n### {name}\n\n{}\n", sentence(system));
            let mut settings = system.clone();
            let is_model = system["properties"]["search"].is_object();
            if let Some(properties) = settings["properties"].as_object_mut() {
                properties
                    .retain(|key, _| key != "model" && !(is_model && own.contains(&key.as_str())));
                if !properties.is_empty() {
                    self.text.push('\n');
                    self.table(&settings);
                }
            }
        }
    }

    /// The alternatives of a section, each with its keys.
    fn kinds(&mut self, section: &Value, level: usize) {
        let inner = match &section["additionalProperties"] {
            Value::Object(_) => &section["additionalProperties"],
            _ => section,
        };
        for kind in alternatives(inner) {
            let tag = kind["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .find_map(|(key, of)| Some(format!("{key}: {}", of["const"].as_str()?)));
            let required = kind["required"][0].as_str().unwrap_or_default();
            let title = tag.unwrap_or_else(|| required.to_owned());
            let _ = write!(self.text, "\n{} `{title}`\n\n", "#".repeat(level));
            let about = sentence(kind);
            if !about.is_empty() {
                let _ = write!(self.text, "{about}\n\n");
            }
            if kind["properties"]
                .as_object()
                .is_some_and(|of| of.len() > 1 || !of.contains_key("from"))
            {
                self.table(kind);
            }
            for (key, property) in kind["properties"].as_object().into_iter().flatten() {
                let inner = alternatives(property);
                if inner.len() > 1 && inner.iter().all(|of| of["properties"].is_object()) {
                    let _ = write!(self.text, "\nOf `{key}`:\n");
                    self.kinds(property, level + 1);
                }
            }
        }
    }

    fn definition(&mut self, name: &str) {
        let schema = self.defs[name].clone();
        let _ = write!(self.text, "\n### {}\n\n", title(name));
        let about = sentence(&schema);
        if !about.is_empty() {
            let _ = write!(self.text, "{about}\n\n");
        }
        if schema["properties"].is_object() {
            return self.table(&schema);
        }
        let kinds = alternatives(&schema);
        if kinds.len() < 2 {
            let _ = writeln!(self.text, "{}{}", self.kind(&schema), range_of(&schema, " (", ")"));
            return;
        }
        for kind in kinds {
            let names = names(kind);
            let about = sentence(kind);
            let about = if about.is_empty() { about } else { format!(": {about}") };
            match (names.is_empty(), kind["properties"].as_object()) {
                (false, _) => {
                    let _ = writeln!(self.text, "- {}{about}", names.join(", "));
                }
                (true, Some(properties)) => {
                    let keys: Vec<String> =
                        properties.keys().map(|key| format!("`{key}`")).collect();
                    let _ = writeln!(self.text, "- a mapping with {}{about}", keys.join(", "));
                    for (key, inner) in properties {
                        if inner["properties"].is_object() {
                            let _ = write!(self.text, "\n  Keys of `{key}`:\n\n");
                            self.table(inner);
                            self.text.push('\n');
                        }
                    }
                }
                (true, None) => {
                    let _ = writeln!(
                        self.text,
                        "- {}{}{about}",
                        self.kind(kind),
                        range_of(kind, " (", ")")
                    );
                }
            }
        }
    }

    /// A row for each key.
    fn table(&mut self, schema: &Value) {
        self.text.push_str(
            "| key | value | default | range | meaning |\n| --- | --- | --- | --- | --- |\n",
        );
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_tag = property.get("const").is_some();
            let default = match &property["default"] {
                _ if is_tag => String::new(),
                _ if required.iter().any(|of| of == key) => "required".into(),
                Value::Null => String::new(),
                value => format!("`{}`", flow(value)),
            };
            let row = [
                format!("`{key}`"),
                self.kind(property),
                default,
                range_of(property, "", ""),
                self.meaning(property),
            ];
            let cells = row.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
            let _ = writeln!(self.text, "| {} |", cells.join(" | "));
        }
    }

    /// What a key means; where it does not say so itself, what its values are.
    fn meaning(&self, property: &Value) -> String {
        let own = sentence(property);
        let kinds = alternatives(property);
        let mut referred =
            std::iter::once(property).chain(kinds).filter_map(|of| of["$ref"].as_str());
        match (own.is_empty(), referred.next()) {
            (true, Some(name)) => {
                self.defs.get(name.trim_start_matches("#/$defs/")).map(sentence).unwrap_or_default()
            }
            _ => own,
        }
    }

    /// What a value is, in words.
    fn kind(&self, schema: &Value) -> String {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/$defs/");
            let of = title(name);
            return match self.defs.get(name).filter(|_| name != "SystemSpec") {
                Some(_) => format!("[{of}](#{})", of.to_lowercase().replace(' ', "-")),
                None => "a system".into(),
            };
        }
        if let Some(value) = schema["const"].as_str() {
            return format!("`{value}`");
        }
        let all = alternatives(schema);
        if !all.is_empty() {
            let mut kinds: Vec<String> = Vec::new();
            let plain = all.iter().filter(|of| of["type"] != "null" && of["pattern"].is_null());
            let is_long = all.iter().filter(|of| of["properties"].is_object()).count() > 1;
            for of in plain {
                let kind = match (is_long, of["type"] == "array") {
                    (true, false) => "see below".to_owned(),
                    (_, true) if kinds.len() == 1 && self.kind(&of["items"]) == kinds[0] => {
                        "a list of them".into()
                    }
                    _ => self.kind(of),
                };
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            return kinds.join(", or ");
        }
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<String> = values.iter().map(|of| format!("`{}`", flow(of))).collect();
            return values.join(", ");
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let kind = |of: &&str| match *of {
            "integer" => "whole number".to_owned(),
            "number" => "number".into(),
            "string" => "text".into(),
            "boolean" => "true or false".into(),
            "array" => match schema["items"].is_object() {
                true => format!("list of {}", self.kind(&schema["items"])),
                false => "list".into(),
            },
            "object" if schema["additionalProperties"].is_object() => {
                match alternatives(&schema["additionalProperties"]).len() > 1 {
                    true => "names, see below".into(),
                    false => format!("names: {}", self.kind(&schema["additionalProperties"])),
                }
            }
            "object" => "mapping".into(),
            other => other.to_owned(),
        };
        let kinds: Vec<String> = types.iter().filter(|of| **of != "null").map(kind).collect();
        if kinds.is_empty() { "any value".into() } else { kinds.join(" or ") }
    }
}

fn alternatives(schema: &Value) -> Vec<&Value> {
    let of = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    of.into_iter().flatten().collect()
}

/// The names that a kind stands for.
fn names(kind: &Value) -> Vec<String> {
    let one = kind["const"].as_str().into_iter();
    let several = kind["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    one.chain(several).map(|name| format!("`{name}`")).collect()
}

/// `FrequencyScaling` as `Frequency scaling`.
fn title(name: &str) -> String {
    let mut title = String::new();
    let name = name.trim_end_matches("Spec").trim_end_matches("Params");
    for (at, c) in name.chars().enumerate() {
        if at > 0 && c.is_uppercase() {
            title.push(' ');
        }
        if at > 0 { title.extend(c.to_lowercase()) } else { title.push(c) }
    }
    title
}

fn sentence(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
    // Links between types of the program.
    text.replace("[`", "`").replace("`]", "`")
}

/// A value on one line, as YAML has it.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields: Vec<String> =
                fields.map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Number(number) => match number.as_f64() {
            // 1.0 is written as 1, and 32-bit floats without the digits of 64.
            Some(value) if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value}"),
            Some(value) if (value as f32).to_string().len() < number.to_string().len() => {
                (value as f32).to_string()
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn range_of(schema: &Value, before: &str, after: &str) -> String {
    let bound = |key: &str| schema.get(key).map(flow);
    let mut parts = Vec::new();
    match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => parts.push(format!("{low} to {high}")),
        (Some(low), None) => parts.push(format!("{low} or more")),
        (None, Some(high)) => parts.push(format!("at most {high}")),
        (None, None) => {}
    }
    if let Some(low) = bound("exclusiveMinimum") {
        parts.push(format!("greater than {low}"));
    }
    if let Some(high) = bound("exclusiveMaximum") {
        parts.push(format!("less than {high}"));
    }
    if let Some(of) = bound("multipleOf") {
        parts.push(format!("a multiple of {of}"));
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        let inner = range_of(items, "", "");
        if !inner.is_empty() {
            parts.push(format!("each {inner}"));
        }
    }
    for kind in alternatives(schema) {
        let inner = range_of(kind, "", "");
        if kind["type"] != "array" && !inner.is_empty() {
            parts.push(inner);
        }
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!("{before}{}{after}", parts.join(", ")),
    }
}
