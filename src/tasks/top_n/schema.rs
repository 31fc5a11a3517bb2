//! The JSON Schema of experiment files of this task.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{SearchSpec, SystemSpec, TrainShare};
use crate::{
    base::lists::OneOrMore,
    data::{DataSource, Relevance, SplitSpec},
    llm::{EndpointSpec, ResponsesSpec},
    ranking::{ScoreSpec, Spelling},
    tasks::published::About,
    text::{ItemProfiles, MetadataSpec, UserProfiles},
};

/// The keys of an experiment file. Only the schema is made from this type.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The name of the experiment and its results: letters, digits and - _ . +
    #[schemars(regex(pattern = r"^[^\s/@.][^\s/@]*$"))]
    experiment: String,
    /// What the experiment shows, in a sentence or two, for reports.
    #[serde(default)]
    describe: String,
    /// Files whose keys are inserted; keys given here override them.
    #[serde(default)]
    #[schemars(with = "OneOrMore<String>")]
    include: Vec<PathBuf>,
    data: Value,
    split: SplitSpec,
    /// Seeds; every system that depends on one is run with each.
    #[serde(default)]
    #[schemars(length(min = 1), extend("uniqueItems" = true, "default" = [1]))]
    seeds: Vec<u64>,
    systems: Value,
    #[serde(default)]
    evaluate: ScoreSpec,
    #[serde(default)]
    profiles: Value,
    #[serde(default)]
    metadata: MetadataSpec,
    /// Chat models behind an OpenAI-compatible API, by name.
    #[serde(default)]
    endpoints: BTreeMap<String, EndpointSpec>,
    #[serde(default)]
    responses: ResponsesSpec,
    #[serde(default)]
    published: Value,
}

/// Names of schemas that the finished one does not refer to.
const INLINED: [&str; 5] = ["About", "DataSource", "ImportedUsers", "ItemProfiles", "UserProfiles"];

/// The schema without what any mapping may have: `use:` and `{sweep: …}`.
pub(super) fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let _ = generator.subschema_for::<DataSource>();
    let _ = generator.subschema_for::<ItemProfiles>();
    let _ = generator.subschema_for::<UserProfiles>();
    let relevance = generator.subschema_for::<Relevance>().to_value();
    let model = generator.subschema_for::<SystemSpec>().to_value();
    let search = generator.subschema_for::<SearchSpec>().to_value();
    let train_share = generator.subschema_for::<TrainShare>().to_value();
    let metric = generator.subschema_for::<Spelling>().to_value();
    let _ = generator.subschema_for::<About>();
    let mut root = generator.into_root_schema_for::<Keys>().to_value();
    let defs = root["$defs"].clone();

    // Keys of a system in addition to its model's settings.
    let of_system = Map::from_iter([
        (
            "describe".to_owned(),
            json!({"description": "A description for reports.", "type": "string"}),
        ),
        ("search".to_owned(), search),
        (
            "positives".to_owned(),
            described(
                &relevance,
                "Which training ratings are positives; by default those that `relevant` accepts.",
            ),
        ),
        ("train_share".to_owned(), train_share),
    ]);
    for system in items(&mut root["$defs"]["SystemSpec"]["oneOf"]) {
        let name = system["properties"]["model"]["const"].as_str().unwrap_or_default().to_owned();
        let keys = of_system.iter().filter(|(key, _)| match name.as_str() {
            "rerank" | "external" => *key == "describe",
            _ => true,
        });
        let keys: Vec<_> = keys.map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Some(properties) = system["properties"].as_object_mut() {
            properties.extend(keys);
        }
        system["additionalProperties"] = false.into();
    }
    root["title"] = "An assay experiment file".into();
    root["description"] = "Any value may be `{sweep: [a, b]}`: one variant is run for each level. \
        `use: FILE` in a mapping inserts the keys of FILE."
        .into();
    root["properties"]["data"] = data(&defs["DataSource"], &relevance);
    root["properties"]["profiles"] = profiles(&defs);
    root["properties"]["systems"] = json!({
        "description": "The systems to compare, one row of the tables each.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": model,
    });
    root["properties"]["published"] = published(&mut root["$defs"], &metric);
    if let Some(defs) = root["$defs"].as_object_mut() {
        INLINED.iter().for_each(|name| drop(defs.remove(*name)));
    }
    for key in ["split", "evaluate", "metadata", "responses"] {
        // A description of the section stands with its own type.
        if let Some(section) = root["properties"][key].as_object_mut() {
            section.remove("default");
        }
    }
    root
}

fn items(node: &mut Value) -> impl Iterator<Item = &mut Value> {
    node.as_array_mut().into_iter().flatten()
}

fn described(schema: &Value, text: &str) -> Value {
    let mut schema = schema.clone();
    schema["description"] = text.into();
    schema
}

/// A data set, or a reader and its files: every kind with all of its keys, and no others.
fn data(source: &Value, relevance: &Value) -> Value {
    let of_all = |schema: &mut Value| {
        schema["properties"]["relevant"] = described(
            relevance,
            "Which ratings are liked. By default the rule of the data set's manifest; data without ratings have all \
             liked.",
        );
        schema["properties"]["disliked"] =
            described(relevance, "Which ratings are disliked; without it, none are.");
        schema["additionalProperties"] = false.into();
    };
    let mut kinds = vec![source["anyOf"][0].clone()];
    let own = &source["anyOf"][1];
    for reader in own["oneOf"].as_array().into_iter().flatten() {
        let mut reader = reader.clone();
        for (key, value) in own["properties"].as_object().into_iter().flatten() {
            reader["properties"][key] = value.clone();
        }
        kinds.push(reader);
    }
    kinds.iter_mut().for_each(of_all);
    json!({
        "description": "The data set, and which of its ratings count as liked and disliked.",
        "anyOf": kinds,
    })
}

/// `{from: …}` for items and users, or one for each.
fn profiles(defs: &Value) -> Value {
    let closed = |kind: &str| -> Vec<Value> {
        let mut kinds = defs[kind]["oneOf"].as_array().cloned().unwrap_or_default();
        for kind in &mut kinds {
            // The settings of a kind may be a definition: to close it, they stand beside `from`.
            let name = kind["$ref"].as_str().map(|of| of.trim_start_matches("#/$defs/").to_owned());
            if let Some(settings) = name.and_then(|name| defs.get(&name)) {
                for (key, value) in settings["properties"].as_object().into_iter().flatten() {
                    kind["properties"][key] = value.clone();
                }
                if let (Some(required), Some(of)) =
                    (kind["required"].as_array_mut(), settings["required"].as_array())
                {
                    required.extend(of.iter().cloned());
                }
                kind.as_object_mut().map(|kind| kind.remove("$ref"));
            }
            kind["additionalProperties"] = false.into();
        }
        kinds
    };
    let (items, users) = (closed("ItemProfiles"), closed("UserProfiles"));
    // What makes both has the keys of both.
    let both = items.iter().filter_map(|item| {
        let from = &item["properties"]["from"]["const"];
        let user = users.iter().find(|user| user["properties"]["from"]["const"] == *from)?;
        // An item's file and a user's are two files; a model writes users with more settings than items.
        matches!(from.as_str(), Some("metadata" | "template")).then(|| user.clone())
    });
    let mut kinds: Vec<Value> = both.collect();
    kinds.push(json!({
        "type": "object",
        "description": "Separately.",
        "properties": {
            "items": {"description": "Texts about items.", "oneOf": items},
            "users": {"description": "Texts about users.", "oneOf": users},
        },
        "required": ["items", "users"],
        "additionalProperties": false,
    }));
    json!({
        "description": "Texts about items and users, by name.",
        "type": "object",
        "additionalProperties": {"anyOf": kinds},
    })
}

/// A published table, or a list of them.
fn published(defs: &mut Value, metric: &Value) -> Value {
    let mut table = defs["About"].clone();
    table["properties"]["rows"] = json!({
        "description": "The published rows: `ALS: {ndcg: 0.197}`; `not_checkable: WHY` marks a row that cannot be \
                        checked.",
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {"not_checkable": {"type": "string"}},
            "additionalProperties": {"type": "number"},
            "propertyNames": {"anyOf": [metric, {"const": "not_checkable"}]},
        },
    });
    table["properties"]["systems"] = json!({
        "description": "The system of each published row; by default the one with the same name.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    });
    table["description"] = "A published table.".into();
    if let Some(required) = table["required"].as_array_mut() {
        required.push("rows".into());
    }
    defs["PublishedTable"] = table;
    json!({
        "description": "Published tables of papers that the results are compared with, cell by cell.",
        "anyOf": [
            {"$ref": "#/$defs/PublishedTable"},
            {"type": "array", "items": {"$ref": "#/$defs/PublishedTable"}},
        ],
    })
}
