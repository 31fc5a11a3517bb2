//! Settings of systems as lists of fields, and what differs between two of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::tasks::SystemRecord;

/// By field, such as `training.learning_rate`, its value. Values that are not set are not in it.
pub type Fields = BTreeMap<String, Value>;

/// A field that differs between two systems.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// `cosine`, or `search.over.dropout`.
    pub field: String,
    /// Both values; none where a system does not have the field.
    pub values: [Option<Value>; 2],
}

impl Difference {
    pub fn new(field: &str, first: impl Into<Value>, second: impl Into<Value>) -> Self {
        Self { field: field.to_owned(), values: [Some(first.into()), Some(second.into())] }
    }

    /// `cosine (2.0 and 0.0)`
    pub fn text(&self) -> String {
        let shown = |value: &Option<Value>| match value {
            None => "not set".into(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let [first, second] = self.values.each_ref().map(shown);
        format!("{} ({first} and {second})", self.field)
    }

    pub fn to_json(&self) -> Value {
        json!({"field": self.field, "values": self.values})
    }

    /// Whether one of the settings that make up a factor includes it.
    pub fn is_of(&self, factor: &[String]) -> bool {
        let field = self.field.strip_prefix("search.over.").unwrap_or(&self.field);
        factor.iter().any(|of| is_within(field, of) || is_within(&self.field, of))
    }
}

/// Whether a field is the setting `of`, or below it.
fn is_within(field: &str, of: &str) -> bool {
    field.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The search of a system, if it has one: number of trials, and the fields that they vary.
pub fn search(system: &SystemRecord) -> Option<(usize, Vec<&str>)> {
    let search = system.search()?;
    let trials = search["candidates"].as_array().map_or(0, Vec::len);
    let over = search["spec"]["over"].as_object();
    Some((trials, over.into_iter().flat_map(|of| of.keys().map(String::as_str)).collect()))
}

/// The settings of the model itself: of a search, those of one of its trials.
pub fn of_model(system: &SystemRecord) -> &Value {
    match system.settings["model"] == "search" {
        true => &system.settings["candidates"][0],
        false => &system.settings,
    }
}

/// The fields of a system. Fields that a search varies are `search.over.…`, with their values.
pub fn fields(system: &SystemRecord) -> Fields {
    let mut fields = Fields::new();
    flatten("", of_model(system), &mut fields);
    // What is explained changes no list.
    fields.retain(|field, _| !is_within(field, "explain"));
    // That of a program stands beside its settings.
    fields.retain(|field, _| !is_within(field, "search"));
    let (Some((trials, over)), Some(of_search)) = (search(system), system.search()) else {
        return fields;
    };
    fields.retain(|field, _| !over.iter().any(|of| is_within(field, of)));
    let spec = &of_search["spec"];
    fields.insert("search.trials".into(), trials.into());
    for name in ["seed", "metric", "k", "validation"] {
        fields.insert(format!("search.{name}"), spec[name].clone());
    }
    for name in over {
        fields.insert(format!("search.over.{name}"), spec["over"][name].clone());
    }
    fields
}

fn flatten(name: &str, value: &Value, into: &mut Fields) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, into);
            }
        }
        Value::Null => {}
        value => drop(into.insert(name.to_owned(), value.clone())),
    }
}

/// The fields that differ. A search beside fixed settings is one difference, `search`: what it varies is not counted
/// again.
pub fn differences(first: &SystemRecord, second: &SystemRecord) -> Vec<Difference> {
    let mut both = [fields(first), fields(second)];
    let searches = [search(first), search(second)];
    let mut found = Vec::new();
    // What is varied by a search of one of them is compared under `search`.
    for (at, other) in [(0, 1), (1, 0)] {
        let Some((_, over)) = &searches[at] else { continue };
        for field in over {
            let fixed = both[other].remove(*field);
            if searches[other].is_some()
                && let Some(fixed) = fixed
            {
                both[other].insert(format!("search.over.{field}"), fixed);
            }
        }
    }
    match &searches {
        [Some(_), Some(_)] | [None, None] => {}
        [first, second] => {
            let of = |search: &Option<(usize, Vec<&str>)>| match search {
                Some((1, _)) => "1 trial".to_owned(),
                Some((trials, _)) => format!("{trials} trials"),
                None => "none".into(),
            };
            found.push(Difference::new("search", of(first), of(second)));
            both.iter_mut().for_each(|of| of.retain(|field, _| !is_within(field, "search")));
        }
    }
    let names: BTreeSet<&String> = both.iter().flat_map(|of| of.keys()).collect();
    for name in names {
        let values = [both[0].get(name).cloned(), both[1].get(name).cloned()];
        if values[0] != values[1] {
            found.push(Difference { field: name.clone(), values });
        }
    }
    found
}

/// `cosine (2 and 0), dropout (0.1 and not set)`
pub fn texts(differences: &[Difference]) -> String {
    differences.iter().map(Difference::text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(settings: Value) -> SystemRecord {
        SystemRecord {
            name: "s".into(),
            describe: String::new(),
            model: "gat".into(),
            settings,
            is_seeded: true,
            learns_from: None,
            knows_test: false,
            reranks: None,
        }
    }

    fn names(first: Value, second: Value) -> Vec<String> {
        let found = differences(&system(first), &system(second));
        found.into_iter().map(|of| of.field).collect()
    }

    fn searched(over: Value, candidate: Value) -> Value {
        json!({"model": "search", "candidates": [candidate.clone(), candidate], "labels": [],
            "spec": {"over": over, "seed": 1, "metric": "ndcg", "k": 10, "validation": 0.1}})
    }

    #[test]
    fn what_is_not_set_is_no_difference_and_what_is_below_counts() {
        let first = json!({"model": "gat", "cosine": 2, "text": null, "training": {"epochs": 3}});
        let second = json!({"model": "gat", "cosine": 0, "text": {"profiles": "p"}, "training": {"epochs": 3}});
        assert_eq!(names(first.clone(), second.clone()), ["cosine", "text.profiles"]);
        let found = differences(&system(first), &system(second));
        let open: Vec<_> = found.iter().filter(|of| !of.is_of(&["text".into()])).collect();
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].text(), "cosine (2 and 0)");
        assert!(!Difference::new("textual", 1, 2).is_of(&["text".into()]));
    }

    #[test]
    fn a_search_beside_fixed_settings_is_one_difference() {
        let over = json!({"dropout": [0.1, 0.3]});
        let tuned = searched(over, json!({"model": "gat", "cosine": 2, "dropout": 0.3}));
        let fixed = json!({"model": "gat", "cosine": 2, "dropout": 0.1});
        assert_eq!(names(tuned.clone(), fixed), ["search"]);
        let other = searched(
            json!({"cosine": [0, 2]}),
            json!({"model": "gat", "cosine": 0, "dropout": 0.1}),
        );
        assert_eq!(names(tuned.clone(), other), ["search.over.cosine", "search.over.dropout"]);
        let same = searched(
            json!({"dropout": [0.1, 0.3]}),
            json!({"model": "gat", "cosine": 2, "dropout": 0.1}),
        );
        assert_eq!(names(tuned, same), Vec::<String>::new());
    }
}
