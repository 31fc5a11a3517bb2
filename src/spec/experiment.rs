//! From an experiment file to a validated [`Experiment`]. After this, nobody asks whether it is valid.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    de::{NodeDeserializer, from_node},
    diagnostic::{Diagnostic, Position, SourceFile},
    include,
    node::{Entry, Mapping, Node, Value, refuse_unknown_keys},
    published::{About, PublishedTable},
    sweep,
};
use crate::{
    data::{DataSource, Relevance, SplitSpec},
    eval::{Protocol, ScoreSpec},
    llm::{AnswersSpec, JudgeSpec},
    model::{ModelSpec, Search, SearchSpec},
    rerank::JudgeName,
    text::{MetadataSpec, ProfilesSpec},
};

/// One experiment file, understood.
#[derive(Clone, Debug)]
pub struct Experiment {
    pub name: String,
    pub describe: String,
    /// The file it was read from.
    pub path: PathBuf,
    /// One for each combination of levels of the sweeps outside `systems`; mostly just one.
    pub settings: Vec<Setting>,
    /// Printed tables that the results are held against.
    pub published: Vec<PublishedTable>,
    /// All files it is made of, as they were read.
    pub sources: Vec<Arc<SourceFile>>,
    /// The whole experiment with everything included filled in.
    pub resolved: serde_yaml::Value,
}

/// Data, split, systems and evaluation that belong together.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `[seed=1]` where something outside `systems` is swept; empty otherwise.
    pub label: String,
    pub data: DataSpec,
    pub split: SplitSpec,
    pub seeds: Vec<u64>,
    pub systems: Vec<System>,
    pub evaluate: ScoreSpec,
    /// Texts about items and users, by name.
    pub profiles: Vec<(String, ProfilesSpec)>,
    /// What is known of items beside the data set's catalogue.
    pub metadata: MetadataSpec,
    /// Language models, by name.
    pub judges: Vec<(String, JudgeSpec)>,
    /// What becomes of answers of language models.
    pub answers: AnswersSpec,
}

/// Which data, and which of its ratings count as liked.
#[derive(Clone, Debug, Serialize)]
pub struct DataSpec {
    pub source: DataSource,
    pub relevant: Relevance,
    pub disliked: Option<Relevance>,
}

/// One row of a table.
#[derive(Clone, Debug, Serialize)]
pub struct System {
    /// Its name with the levels of its sweeps: `als[factors=32]`.
    pub name: String,
    pub describe: String,
    pub model: ModelSpec,
}

/// The keys of an experiment file. Only the schema is made from this type.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The experiment's name; its results are found under it.
    experiment: String,
    /// What it shows, in a sentence or two; printed in reports.
    #[serde(default)]
    describe: String,
    /// Files whose keys are taken over; keys given here win.
    #[serde(default)]
    include: Vec<PathBuf>,
    data: serde_json::Value,
    split: SplitSpec,
    #[serde(default)]
    seeds: Vec<u64>,
    systems: serde_json::Value,
    #[serde(default)]
    evaluate: ScoreSpec,
    #[serde(default)]
    profiles: serde_json::Value,
    #[serde(default)]
    metadata: MetadataSpec,
    #[serde(default)]
    judges: BTreeMap<String, JudgeSpec>,
    #[serde(default)]
    answers: AnswersSpec,
    #[serde(default)]
    published: serde_json::Value,
}

const KEYS: [&str; 12] = [
    "experiment",
    "describe",
    "data",
    "metadata",
    "judges",
    "answers",
    "profiles",
    "split",
    "seeds",
    "systems",
    "evaluate",
    "published",
];

impl Experiment {
    /// Reads an experiment file with everything it includes.
    pub fn read(path: &Path) -> Result<Self, Diagnostic> {
        let (root, sources) = include::read(path)?;
        let mapping = root.mapping("an experiment file")?;
        refuse_unknown_keys(mapping, &KEYS, "the experiment")?;
        let name = required(mapping, "experiment", &root)?.value.text("experiment")?.to_owned();
        check_name(&name, mapping)?;
        let describe = match mapping.get("describe") {
            Some(entry) => entry.value.text("describe")?.trim().to_owned(),
            None => String::new(),
        };
        let settings = sweep::expand(&root, &["systems", "experiment", "describe", "published"])?
            .into_iter()
            .map(|(levels, node)| Setting::read(levels.label(), &node))
            .collect::<Result<Vec<_>, _>>()?;
        let published = match mapping.get("published") {
            Some(entry) => published(&entry.value)?,
            None => Vec::new(),
        };
        Ok(Self {
            name,
            describe,
            path: path.to_owned(),
            settings,
            published,
            sources,
            resolved: root.to_yaml(),
        })
    }
}

impl Setting {
    fn read(label: String, root: &Node) -> Result<Self, Diagnostic> {
        let mapping = root.mapping("an experiment file")?;
        let split_entry = required(mapping, "split", root)?;
        let split: SplitSpec = from_node(&split_entry.value)?;
        split.validate().map_err(|message| Diagnostic::at(&split_entry.value.at, message))?;
        let systems = systems(required(mapping, "systems", root)?)?;
        let evaluate = match mapping.get("evaluate") {
            Some(entry) => {
                let spec: ScoreSpec = from_node(&entry.value)?;
                spec.validate().map_err(|message| Diagnostic::at(&entry.value.at, message))?;
                let list = systems.iter().find(|s| matches!(s.model, ModelSpec::External(_)));
                if let Some(list) = list.filter(|_| spec.protocols.contains(&Protocol::Sampled)) {
                    return Err(Diagnostic::at(
                        &entry.value.at,
                        format!(
                            "the protocol `sampled` needs a score for every item, and the system `{}` \
                             is a file of rankings",
                            list.name
                        ),
                    )
                    .expected("the protocols full, judged or judged-after-cut"));
                }
                spec
            }
            None => ScoreSpec::default(),
        };
        let directory = root.at.file.path.parent().unwrap_or(Path::new("")).to_owned();
        let texts = Texts::read(mapping, &directory)?;
        let entry = required(mapping, "systems", root)?;
        texts.check(&systems, entry)?;
        check_rerankers(&systems, &texts.judges, entry)?;
        Ok(Self {
            label,
            profiles: texts.profiles,
            metadata: texts.metadata,
            judges: texts.judges,
            answers: texts.answers,
            data: DataSpec::read(required(mapping, "data", root)?)?,
            split,
            seeds: seeds(mapping)?,
            systems,
            evaluate,
        })
    }
}

impl Setting {
    /// The judge of a name that was checked to be there.
    pub fn judge(&self, name: &str) -> JudgeSpec {
        let found = self.judges.iter().find(|(known, _)| known == name);
        found.map(|(_, judge)| judge.clone()).unwrap_or_default()
    }
}

impl DataSpec {
    fn read(entry: &Entry) -> Result<Self, Diagnostic> {
        let mut rest = entry.value.mapping("data")?.clone();
        let relevant = match rest.take("relevant") {
            Some(entry) => from_node(&entry.value)?,
            None => Relevance::Any,
        };
        let disliked = match rest.take("disliked") {
            Some(entry) => Some(from_node(&entry.value)?),
            None => None,
        };
        let node = Node { at: entry.value.at.clone(), value: Value::Mapping(rest) };
        let directory = entry.value.at.file.path.parent().unwrap_or(Path::new("")).to_owned();
        let source = DataSource::read(NodeDeserializer(&node), &directory)
            .map_err(|error: Diagnostic| error.or_at(&entry.value.at))?;
        Ok(Self { source, relevant, disliked })
    }
}

fn systems(entry: &Entry) -> Result<Vec<System>, Diagnostic> {
    let mapping = entry.value.mapping("systems")?;
    if mapping.entries().is_empty() {
        return Err(Diagnostic::at(&entry.value.at, "`systems` is empty")
            .expected("at least one system: `als: {model: als}`"));
    }
    let mut systems: Vec<System> = Vec::new();
    for entry in mapping.entries() {
        for (levels, node) in sweep::expand(&entry.value, &[])? {
            systems.push(System::read(format!("{}{}", entry.key, levels.label()), &node)?);
        }
    }
    Ok(systems)
}

impl System {
    fn read(name: String, node: &Node) -> Result<Self, Diagnostic> {
        let mut rest = node.mapping(&format!("the system `{name}`"))?.clone();
        let describe = match rest.take("describe") {
            Some(entry) => entry.value.text("describe")?.trim().to_owned(),
            None => String::new(),
        };
        let search = rest.take("search");
        let Some(model) = rest.take("model") else {
            return Err(Diagnostic::at(&node.at, format!("the system `{name}` names no model"))
                .expected(format!("`model:` with one of {}", ModelSpec::NAMES.join(", ")))
                .help("give `model: als`, or take settings over with `use: baselines/als.yaml`"));
        };
        let model_name = model.value.text("model")?;
        if !ModelSpec::NAMES.contains(&model_name) {
            return Err(Diagnostic::at(&model.value.at, format!("unknown model `{model_name}`"))
                .expected(format!("one of {}", ModelSpec::NAMES.join(", ")))
                .suggest(model_name, ModelSpec::NAMES.iter().copied()));
        }
        let parameters = Node { at: node.at.clone(), value: Value::Mapping(rest) };
        let spec = match search {
            Some(search) => searched(model_name, &model.value.at, &parameters, &search)?,
            None => model_spec(model_name, &model.value.at, &parameters)?,
        };
        let model = spec;
        Ok(Self { name, describe, model })
    }
}

/// One printed table, or a list of them.
fn published(node: &Node) -> Result<Vec<PublishedTable>, Diagnostic> {
    match &node.value {
        Value::Sequence(tables) => tables.iter().map(PublishedTable::read).collect(),
        _ => Ok(vec![PublishedTable::read(node)?]),
    }
}

/// The settings of a model, validated.
fn model_spec(name: &str, name_at: &Position, parameters: &Node) -> Result<ModelSpec, Diagnostic> {
    let mut spec = ModelSpec::deserialize_params(name, NodeDeserializer(parameters))
        .map_err(|error| error.or_at(&parameters.at))?;
    if let ModelSpec::External(external) = &mut spec {
        external.directory = name_at.file.path.parent().unwrap_or(Path::new("")).to_owned();
    }
    spec.validate().map_err(|(field, message)| {
        let place = match &parameters.value {
            Value::Mapping(mapping) => mapping.get(field).map(|entry| &entry.value.at),
            _ => None,
        };
        Diagnostic::at(place.unwrap_or(&parameters.at), format!("`{field}`: {message}"))
    })?;
    Ok(spec)
}

/// A model for every trial of a `search:`.
fn searched(
    name: &str,
    name_at: &Position,
    parameters: &Node,
    search: &Entry,
) -> Result<ModelSpec, Diagnostic> {
    let spec: SearchSpec = from_node(&search.value)?;
    spec.validate().map_err(|message| Diagnostic::at(&search.value.at, message))?;
    let (mut labels, mut candidates) = (Vec::new(), Vec::new());
    for levels in spec.levels() {
        let mut node = parameters.clone();
        let mut label = Vec::new();
        for (field, value) in levels {
            let text = serde_yaml::to_string(&value).unwrap_or_default();
            label.push(format!("{field}={}", text.trim()));
            let path: Vec<&str> = field.split('.').collect();
            node.put(&path, Node::of_yaml(&value, &search.value.at), &search.value.at)?;
        }
        let candidate = model_spec(name, name_at, &node).map_err(|error| {
            error.or_at(&search.value.at).help(format!("in the trial {}", label.join(", ")))
        })?;
        labels.push(label.join(", "));
        candidates.push(candidate);
    }
    if candidates.iter().any(|candidate| candidate.text() != candidates[0].text()) {
        return Err(Diagnostic::at(&search.value.at, "a search cannot try several texts")
            .help("make them systems of their own: `text: {profiles: {sweep: [a, b]}}`"));
    }
    Ok(ModelSpec::Search(Box::new(Search { spec, labels, candidates })))
}

fn seeds(mapping: &Mapping) -> Result<Vec<u64>, Diagnostic> {
    let Some(entry) = mapping.get("seeds") else { return Ok(vec![1]) };
    let seeds: Vec<u64> = from_node(&entry.value)?;
    if seeds.is_empty() {
        return Err(Diagnostic::at(&entry.value.at, "`seeds` is empty")
            .expected("at least one whole number: `seeds: [1, 2, 3]`"));
    }
    for (at, seed) in seeds.iter().enumerate() {
        if seeds[..at].contains(seed) {
            return Err(Diagnostic::at(
                &entry.value.at,
                format!("the seed {seed} stands here twice: one run would be counted as two"),
            ));
        }
    }
    Ok(seeds)
}

fn required<'a>(mapping: &'a Mapping, key: &str, node: &Node) -> Result<&'a Entry, Diagnostic> {
    mapping.get(key).ok_or_else(|| {
        Diagnostic::at(&node.at, format!("the key `{key}` is missing"))
            .help("`assay schema` prints what an experiment file holds")
    })
}

/// Every reranker must find its base system and its judge.
fn check_rerankers(
    systems: &[System],
    judges: &[(String, JudgeSpec)],
    entry: &Entry,
) -> Result<(), Diagnostic> {
    for system in systems {
        let ModelSpec::Rerank(params) = &system.model else { continue };
        let at = place_of(&system.name, entry)?;
        let base = systems.iter().find(|base| base.name == params.of);
        let names =
            systems.iter().filter(|base| base.name != system.name).map(|base| &base.name[..]);
        match base.map(|base| &base.model) {
            None => {
                return Err(Diagnostic::at(
                    at,
                    format!("`{}` reranks `{}`, which is no system", system.name, params.of),
                )
                .expected(
                    "the name of another system, with the levels of its sweeps: `gat[cosine=on]`",
                )
                .suggest(&params.of, names));
            }
            Some(ModelSpec::Rerank(_) | ModelSpec::External(_)) => {
                return Err(Diagnostic::at(
                    at,
                    format!("`{}` reranks `{}`, which is no model", system.name, params.of),
                )
                .expected("a system whose model scores every item"));
            }
            Some(_) => {}
        }
        if let JudgeName::Chat(judge) = &params.judge
            && !judges.iter().any(|(name, _)| name == judge)
        {
            let known = judges.iter().map(|(name, _)| &name[..]);
            let controls = ["encoder", "popularity", "shuffle", "oracle"];
            return Err(Diagnostic::at(at, format!("unknown judge `{judge}`"))
                .expected(
                    "encoder, popularity, shuffle, oracle, or one of the experiment's `judges`",
                )
                .suggest(judge, controls.into_iter().chain(known)));
        }
    }
    Ok(())
}

/// Where a system stands in the file.
fn place_of<'a>(name: &str, systems: &'a Entry) -> Result<&'a Position, Diagnostic> {
    let entries = systems.value.mapping("systems")?.entries();
    let found = entries.iter().filter(|of| name.starts_with(&of.key)).max_by_key(|of| of.key.len());
    Ok(found.map_or(&systems.value.at, |of| &of.value.at))
}

/// What an experiment says of texts and language models.
struct Texts {
    profiles: Vec<(String, ProfilesSpec)>,
    metadata: MetadataSpec,
    judges: Vec<(String, JudgeSpec)>,
    answers: AnswersSpec,
}

impl Texts {
    fn read(mapping: &Mapping, directory: &Path) -> Result<Self, Diagnostic> {
        let entries = |key: &str| -> Result<Vec<Entry>, Diagnostic> {
            match mapping.get(key) {
                Some(entry) => Ok(entry.value.mapping(key)?.entries().to_vec()),
                None => Ok(Vec::new()),
            }
        };
        let mut judges = Vec::new();
        for entry in entries("judges")? {
            let judge: JudgeSpec = from_node(&entry.value)?;
            judge.validate().map_err(|message| Diagnostic::at(&entry.value.at, message))?;
            judges.push((entry.key, judge));
        }
        let mut answers = AnswersSpec::default();
        if let Some(entry) = mapping.get("answers") {
            answers = from_node(&entry.value)?;
            answers
                .validate(&judges)
                .map_err(|message| Diagnostic::at(&entry.value.at, message))?;
        }
        let mut profiles = Vec::new();
        for entry in entries("profiles")? {
            let spec = ProfilesSpec::read(&entry.value, directory)?;
            for judge in spec.judges() {
                if !judges.iter().any(|(name, _)| name == judge) {
                    return Err(Diagnostic::at(
                        &entry.value.at,
                        format!("unknown judge `{judge}`"),
                    )
                    .expected("one of the experiment's `judges`")
                    .suggest(judge, judges.iter().map(|(name, _)| &name[..])));
                }
            }
            profiles.push((entry.key, spec));
        }
        let mut metadata = MetadataSpec::default();
        if let Some(entry) = mapping.get("metadata") {
            metadata = from_node(&entry.value)?;
            metadata.directory = directory.to_owned();
            if let Some(tmdb) = &metadata.tmdb {
                tmdb.validate().map_err(|message| Diagnostic::at(&entry.value.at, message))?;
            }
        }
        Ok(Self { profiles, metadata, judges, answers })
    }

    /// Every system that wants texts must find them.
    fn check(&self, systems: &[System], entry: &Entry) -> Result<(), Diagnostic> {
        for system in systems {
            let Some(text) = system.model.text() else { continue };
            let known = || self.profiles.iter().map(|(name, _)| &name[..]);
            if known().any(|name| name == text.profiles) {
                continue;
            }
            let at = place_of(&system.name, entry)?;
            let error = Diagnostic::at(
                at,
                format!("the system `{}` wants the profiles `{}`", system.name, text.profiles),
            );
            return Err(match self.profiles.is_empty() {
                true => {
                    error.expected("`profiles:` in the experiment, e.g. `{mine: {from: template}}`")
                }
                false => error
                    .expected(format!("one of {}", known().collect::<Vec<_>>().join(", ")))
                    .suggest(&text.profiles, known()),
            });
        }
        Ok(())
    }
}

/// The name is a directory name too.
fn check_name(name: &str, mapping: &Mapping) -> Result<(), Diagnostic> {
    let fine = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
    if !name.is_empty() && name.chars().all(fine) && !name.starts_with('.') {
        return Ok(());
    }
    let entry = mapping.get("experiment").map(|entry| entry.value.at.clone());
    let error = Diagnostic::new(format!("`{name}` cannot be an experiment's name"))
        .expected("letters, digits and - _ . + (it names a directory)");
    Err(match entry {
        Some(at) => error.or_at(&at),
        None => error,
    })
}

/// The JSON Schema of an experiment file. Any value may also be `{sweep: …}`; that is said in words,
/// not in the schema, because it would stand at every value.
pub fn schema() -> serde_json::Value {
    let mut generator = schemars::SchemaGenerator::default();
    let mut data = generator.subschema_for::<DataSource>();
    data.ensure_object();
    let relevance = generator.subschema_for::<Relevance>();
    let model = generator.subschema_for::<ModelSpec>();
    let about = generator.subschema_for::<About>();
    let mut root = generator.into_root_schema_for::<Keys>().to_value();
    root["title"] = "An assay experiment file".into();
    root["description"] = "Any value may be `{sweep: [a, b]}`: one variant is run for each level. \
        `use: FILE` in a mapping takes the keys of FILE over."
        .into();
    root["properties"]["data"] = serde_json::json!({
        "description": "The data set, and which of its ratings count as liked and disliked.",
        "allOf": [data.to_value()],
        "properties": {"relevant": relevance.clone().to_value(), "disliked": relevance.to_value()},
    });
    root["properties"]["systems"] = serde_json::json!({
        "description": "What is compared: one row of the tables each.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "anyOf": [model.to_value(), {"type": "object", "required": ["use"]}],
        },
    });
    let table = serde_json::json!({
        "allOf": [about.to_value()],
        "properties": {
            "rows": {
                "description": "The printed rows: `ALS: {ndcg: 0.197}`; `not_checkable: WHY` beside \
                                the metrics says that a row cannot be checked.",
                "type": "object",
            },
            "systems": {
                "description": "The system of each printed row; by default the one of its name.",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
        },
    });
    let tables = serde_json::json!({"type": "object", "required": ["use"]});
    root["properties"]["published"] = serde_json::json!({
        "description": "Printed tables of papers that the results are held against, cell by cell.",
        "anyOf": [table, tables, {"type": "array", "items": {"anyOf": [table, tables]}}],
    });
    root["properties"]["include"] = serde_json::json!({
        "description": "Files whose keys are taken over; keys given here win.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    });
    root
}
