//! The JSON Schema of experiment files: that of the task, with what any value may be.

use serde_json::{Value, json};

use super::{AuditSpec, ReportSpec, TASKS, TaskDef};

/// What stands in place of a value: the levels of a sweep.
const SWEEP: &str = "Sweep";
/// A mapping whose keys come from a file.
const USE: &str = "Use";

/// Keys whose values are as they are: neither swept nor from a file.
const PLAIN: [&str; 4] = ["experiment", "task", "describe", "include"];

/// The task of this name; the default if there is none.
fn task_of(name: &str) -> &'static TaskDef {
    TASKS.iter().find(|task| task.name == name).unwrap_or(&TASKS[0])
}

/// The schema of a file of a task without `use:` and sweeps: what a reader of the reference wants to know.
pub fn bare_schema(task: &str) -> Value {
    let names: Vec<&str> = TASKS.iter().map(|task| task.name).collect();
    let mut root = (task_of(task).schema)();
    root["properties"]["task"] = json!({
        "description": "The kind of prediction.",
        "enum": names,
        "default": TASKS[0].name,
    });
    add(&mut root, "audit", serde_json::to_value(schemars::schema_for!(AuditSpec)));
    add(&mut root, "report", serde_json::to_value(schemars::schema_for!(ReportSpec)));
    root
}

/// Adds a key that every task has. Its definitions become those of the root.
fn add(root: &mut Value, key: &str, schema: serde_json::Result<Value>) {
    let mut schema = schema.unwrap_or_default();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
        if let Some(Value::Object(definitions)) = schema.remove("$defs") {
            for (name, definition) in definitions {
                root["$defs"][name] = definition;
            }
        }
    }
    root["properties"][key] = schema;
}

/// The JSON Schema of an experiment file of a task.
pub fn schema(task: &str) -> Value {
    let mut root = bare_schema(task);
    let not_swept = task_of(task).not_swept;
    let Some(sections) = root["properties"].as_object_mut() else { return root };
    let mut swept = Vec::new();
    for (key, section) in sections {
        let is_swept = !not_swept.contains(&key.as_str())
            && !["published", "audit", "report"].contains(&key.as_str());
        match PLAIN.contains(&key.as_str()) {
            true => continue,
            false if is_swept => references(section, &mut swept),
            false => {}
        }
        open(section, is_swept);
    }
    // Definitions refer to others.
    let mut known = 0;
    while known < swept.len() {
        let name = swept[known].clone();
        known += 1;
        references(&root["$defs"][&name].clone(), &mut swept);
    }
    if let Some(defs) = root["$defs"].as_object_mut() {
        for (name, schema) in defs.iter_mut() {
            inside(schema, swept.contains(name));
        }
        defs.insert(
            SWEEP.into(),
            json!({
                "description": "One variant is run for each level.",
                "type": "object",
                "properties": {
                    "sweep": {
                        "anyOf": [
                            {"type": "array", "minItems": 1},
                            {"type": "object", "minProperties": 1},
                        ],
                    },
                },
                "required": ["sweep"],
                "additionalProperties": false,
            }),
        );
        defs.insert(
            USE.into(),
            json!({
                "description": "Keys of a file; keys given beside `use` override them.",
                "type": "object",
                "properties": {
                    "use": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
                },
                "required": ["use"],
            }),
        );
    }
    // What is required may come from an included file.
    if let Some(required) = root.as_object_mut().and_then(|root| root.remove("required")) {
        root["anyOf"] = json!([{"required": required}, {"required": ["include"]}]);
    }
    root
}

/// Names of the definitions that a schema refers to.
fn references(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                let name = name.trim_start_matches("#/$defs/").to_owned();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            fields.values().for_each(|value| references(value, names));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, names)),
        _ => {}
    }
}

/// Lets values of a schema be swept and mappings come from files, and everything inside it.
fn open(schema: &mut Value, is_swept: bool) {
    inside(schema, is_swept);
    let kinds: Vec<Value> = [(is_swept, SWEEP), (true, USE)]
        .into_iter()
        .filter(|(applies, _)| *applies)
        .map(|(_, name)| json!({"$ref": format!("#/$defs/{name}")}))
        .collect();
    let mut inner = std::mem::take(schema);
    let mut outer = serde_json::Map::new();
    // What editors show stands outside.
    for key in ["description", "default"] {
        if let Some(value) = inner.as_object_mut().and_then(|of| of.remove(key)) {
            outer.insert(key.into(), value);
        }
    }
    let mut all = vec![inner];
    all.extend(kinds);
    outer.insert("anyOf".into(), all.into());
    *schema = outer.into();
}

/// The same of what is inside, not of the value itself.
fn inside(schema: &mut Value, is_swept: bool) {
    let Some(fields) = schema.as_object_mut() else { return };
    for (key, value) in fields.iter_mut() {
        match key.as_str() {
            "properties" => {
                for (name, property) in value.as_object_mut().into_iter().flatten() {
                    // The name of a kind tells which keys it has.
                    if property.get("const").is_none() && name != "use" && name != "sweep" {
                        open(property, is_swept);
                    }
                }
            }
            "additionalProperties" if value.is_object() => open(value, is_swept),
            "anyOf" | "oneOf" | "allOf" => {
                let all = value.as_array_mut().into_iter().flatten();
                all.for_each(|schema| inside(schema, is_swept));
            }
            "items" if value.is_object() => inside(value, is_swept),
            _ => {}
        }
    }
}
