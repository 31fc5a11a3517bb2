//! The models that a search tries: one for each of its different settings.

use std::collections::HashMap;

use super::{Levels, Search, SearchSpec, spec::most_draws};
use crate::{
    base::yaml::{
        Diagnostic,
        de::from_node,
        diagnostic::Position,
        node::{Entry, Node},
    },
    tasks::top_n::models::{ModelDef, ModelSpec},
};

impl Search {
    /// A model for every trial of a `search:`.
    pub(in crate::tasks::top_n) fn read(
        model: &'static ModelDef,
        parameters: &Node,
        search: &Entry,
    ) -> Result<Self, Diagnostic> {
        let at = &search.value.at;
        let mut spec: SearchSpec = from_node(&search.value)?;
        spec.validate().map_err(|message| Diagnostic::at(at, message))?;
        // In keys, and so that the same settings are drawn under either name.
        let over = std::mem::take(&mut spec.over).into_iter();
        spec.over = over.map(|(field, of)| (model.stored_name(&field).to_owned(), of)).collect();
        let mut of = Self {
            labels: Vec::new(),
            candidates: Vec::new(),
            shown: Vec::new(),
            note: None,
            spec,
        };
        let mut taken: HashMap<String, usize> = HashMap::new();
        let mut take = |of: &mut Self, levels: Levels| -> Result<Option<usize>, Diagnostic> {
            let (label, shown, candidate) = of.read_trial(model, parameters, levels, at)?;
            let json = serde_json::to_string(&candidate).unwrap_or_default();
            if let Some(known) = taken.get(&json) {
                return Ok(Some(*known));
            }
            taken.insert(json, of.labels.len());
            of.labels.push(label);
            of.shown.push(shown);
            of.candidates.push(candidate);
            Ok(None)
        };
        match of.spec.trials {
            None => {
                for levels in of.spec.grid() {
                    let text = of.shown_levels(model, &levels);
                    if let Some(known) = take(&mut of, levels)? {
                        return Err(Diagnostic::at(
                            at,
                            format!(
                                "two trials of the search are the same setting: {} and {text}",
                                of.shown[known]
                            ),
                        )
                        .expected("each value of a field once"));
                    }
                }
            }
            Some(trials) => {
                let wanted = trials.min(of.spec.n_settings());
                let spec = of.spec.clone();
                for levels in spec.draws().take(most_draws(trials)) {
                    if of.labels.len() == wanted {
                        break;
                    }
                    take(&mut of, levels)?;
                }
                let found = of.labels.len();
                of.note = (found < trials).then(|| {
                    let different = if found == 1 { "is 1 setting" } else { "are only" };
                    let many = if found == 1 { String::new() } else { format!(" {found} settings") };
                    format!(
                        "{}:{}: the search has {trials} trials, but there {different}{many} to try: each is tried once",
                        at.file.name(),
                        at.line
                    )
                });
            }
        }
        let candidates = &of.candidates;
        // Whether texts are trained makes no other texts.
        let texts = |model: &ModelSpec| {
            let text = model.text().map(|text| (text.profiles.clone(), text.encoder.clone()));
            (text, model.reviews().cloned())
        };
        if candidates.iter().any(|candidate| texts(candidate) != texts(&candidates[0])) {
            return Err(Diagnostic::at(at, "a search cannot try several texts")
                .help("make them separate systems: `text: {profiles: {sweep: [a, b]}}`"));
        }
        Ok(of)
    }

    /// Label (with the names of keys and of files) and model of a trial.
    fn read_trial(
        &self,
        model: &'static ModelDef,
        parameters: &Node,
        levels: Levels,
        at: &Position,
    ) -> Result<(String, String, ModelSpec), Diagnostic> {
        let mut node = parameters.clone();
        let mut label = Vec::new();
        let shown = self.shown_levels(model, &levels);
        for (field, value) in levels {
            label.push(format!("{field}={}", text_of_value(&value)));
            let path: Vec<&str> = model.file_name(&field).split('.').collect();
            node.put(&path, Node::of_yaml(&value, at), at)?;
        }
        let candidate = model
            .read(&node)
            .map_err(|error| error.or_at(at).help(format!("in the trial {shown}")))?;
        Ok((label.join(", "), shown, candidate))
    }

    /// `factors=64, training.learning_rate=0.01`
    fn shown_levels(&self, model: &ModelDef, levels: &Levels) -> String {
        let shown = levels.iter().map(|(field, value)| {
            format!("{}={}", model.file_name(field), text_of_value(value).replace('\n', " "))
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// A value as it is written in a label.
fn text_of_value(value: &serde_yaml::Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::yaml::diagnostic::SourceFile;

    fn read(parameters: &str, search: &str) -> Result<Search, Diagnostic> {
        let text = format!("parameters: {parameters}\nsearch: {search}\n");
        let file = SourceFile { path: "e.yaml".into(), text };
        let root = Node::parse(&Arc::new(file))?;
        let of = |key: &str| root.mapping("it").unwrap().get(key).unwrap().clone();
        let model = ModelDef::find("als").unwrap();
        Search::read(model, &of("parameters").value, &of("search"))
    }

    #[test]
    fn the_same_setting_is_tried_once() {
        let nine = read("{}", "{trials: 9, over: {alpha: [1, 2]}}").unwrap();
        let note = "e.yaml:2: the search has 9 trials, but there are only 2 settings to try: each is tried once";
        assert_eq!((nine.shown.len(), nine.note.as_deref()), (2, Some(note)));
        let all = read("{}", "{trials: 6, over: {alpha: [1, 2, 3], cg_steps: [1, 2]}}").unwrap();
        assert_eq!((all.candidates.len(), all.note), (6, None));
        // The same numbers in other words.
        let same = read("{}", "{trials: 4, over: {alpha: [1, 1.0, 2]}}").unwrap();
        assert_eq!(same.candidates.len(), 2);
        for search in ["{over: {alpha: [1, 2, 1]}}", "{over: {alpha: [1, 1.0]}}"] {
            let error = read("{}", search).unwrap_err();
            assert!(error.message.contains("the same setting: alpha=1"), "{error}");
        }
        // A range that rounds to one number ends, too.
        let one = read("{}", "{trials: 3, over: {alpha: {uniform: [1.0001, 1.0002]}}}").unwrap();
        assert!(
            one.candidates.len() == 1 && one.note.unwrap().contains("there is 1 setting to try")
        );
    }

    #[test]
    fn keys_have_the_old_names_of_settings_and_messages_the_new_ones() {
        let search = read("{}", "{over: {training.epochs: [3], factors: [8]}}").unwrap();
        assert_eq!(search.labels, ["factors=8, iterations=3"]);
        assert_eq!(search.shown, ["factors=8, training.epochs=3"]);
        let json = serde_json::to_value(&search).unwrap();
        assert_eq!(json["spec"]["over"]["iterations"], serde_json::json!([3]));
        assert_eq!(json["candidates"][0]["iterations"], 3);
    }
}
