//! From an experiment file to a validated [`Experiment`]. After this, nobody asks whether it is valid.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    published::{About, PublishedTable},
    texts::Texts,
    top_n::{SearchSpec, SystemSpec, TrainOn, TrainShare, rerank::JudgeName, rerankers},
};
use crate::{
    base::yaml::{
        de::{NodeDeserializer, from_node},
        diagnostic::{Diagnostic, Position, SourceFile},
        include,
        node::{Entry, Mapping, Node, Value, refuse_unknown_keys},
        sweep,
    },
    data::{DataDirs, DataError, DataSource, Relevance, RelevanceFrom, SplitSpec},
    llm::{AnswersSpec, JudgeSpec},
    ranking::{Protocol, ScoreSpec},
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
    /// Who says so.
    pub relevant_from: RelevanceFrom,
    pub disliked: Option<Relevance>,
}

/// One row of a table.
#[derive(Clone, Debug, Serialize)]
pub struct System {
    /// Its name with the levels of its sweeps: `als[factors=32]`.
    pub name: String,
    pub describe: String,
    pub model: SystemSpec,
    /// What of the training part it learns from.
    #[serde(skip_serializing_if = "TrainOn::is_default")]
    pub train_on: TrainOn,
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
    ///
    /// `dirs` are where manifests are looked for: a data set may say which of its ratings are relevant.
    pub fn read(path: &Path, dirs: &DataDirs) -> Result<Self, Diagnostic> {
        let (root, sources) = include::read(path)?;
        let mapping = root.mapping("an experiment file")?;
        refuse_unknown_keys(mapping, &KEYS, "the experiment")?;
        let name = required(mapping, "experiment", &root)?.value.text("experiment")?.to_owned();
        check_name(&name, mapping)?;
        let describe = match mapping.get("describe") {
            Some(entry) => entry.value.text("describe")?.trim().to_owned(),
            None => String::new(),
        };
        if let Some(answers) = mapping.get("answers")
            && let Some(at) = sweep::first(&answers.value)
        {
            return Err(Diagnostic::at(at, "`answers` is about the whole run: it cannot be swept")
                .expected("one value"));
        }
        let settings = sweep::expand(&root, &["systems", "experiment", "describe", "published"])?
            .into_iter()
            .map(|(levels, node)| Setting::read(levels.label(), &node, dirs))
            .collect::<Result<Vec<_>, _>>()?;
        check_system_names(&settings, required(mapping, "systems", &root)?)?;
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

impl Experiment {
    /// Path and text of all files it is made of.
    pub fn source_texts(&self) -> Vec<(String, String)> {
        let text = |file: &Arc<SourceFile>| (file.path.display().to_string(), file.text.clone());
        self.sources.iter().map(text).collect()
    }
}

impl Setting {
    fn read(label: String, root: &Node, dirs: &DataDirs) -> Result<Self, Diagnostic> {
        let mapping = root.mapping("an experiment file")?;
        let split_entry = required(mapping, "split", root)?;
        let split: SplitSpec = from_node(&split_entry.value)?;
        split.validate().map_err(|message| Diagnostic::at(&split_entry.value.at, message))?;
        let mut systems = systems(required(mapping, "systems", root)?)?;
        for system in &mut systems {
            if let SystemSpec::Search(search) = &mut system.model {
                search.spec.cut = split.cut(search.spec.by);
            }
        }
        let mut evaluate = match mapping.get("evaluate") {
            Some(entry) => {
                let spec: ScoreSpec = from_node(&entry.value)?;
                spec.validate().map_err(|message| Diagnostic::at(&entry.value.at, message))?;
                let list = systems.iter().find(|system| system.model.gives_lists());
                if let Some(list) = list.filter(|_| spec.protocols.contains(&Protocol::Sampled)) {
                    return Err(Diagnostic::at(
                        &entry.value.at,
                        format!(
                            "the protocol `sampled` needs a score for every item, and the system `{}` \
                             gives rankings without scores",
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
        rerankers::check(&systems, &texts.judges, entry)?;
        rerankers::add_controls(&mut systems);
        rerankers::add_slices(&systems, &mut evaluate);
        Ok(Self {
            label,
            profiles: texts.profiles,
            metadata: texts.metadata,
            judges: texts.judges,
            answers: texts.answers,
            data: DataSpec::read(required(mapping, "data", root)?, dirs)?,
            split,
            seeds: seeds(mapping)?,
            systems,
            evaluate,
        })
    }
}

impl Setting {
    /// Whether a system comes out otherwise with another seed. A reranker does so with its base, and
    /// where its judge is shuffled or is asked with ids of its own.
    pub fn is_seeded(&self, system: &System) -> bool {
        let SystemSpec::Rerank(params) = &system.model else { return system.model.is_seeded() };
        let base = self.systems.iter().find(|base| base.name == params.of);
        base.is_some_and(|base| base.model.is_seeded())
            || matches!(params.judge, JudgeName::Shuffle | JudgeName::Chat(_))
    }
}

const HELP_ON_RELEVANCE: &str = "add `relevant: \">= 4\"` to `data` (any threshold), or `relevant: any` where every \
                                 rating counts as liked";

impl DataSpec {
    fn read(entry: &Entry, dirs: &DataDirs) -> Result<Self, Diagnostic> {
        let mut rest = entry.value.mapping("data")?.clone();
        let told: Option<Relevance> = match rest.take("relevant") {
            Some(entry) => Some(from_node(&entry.value)?),
            None => None,
        };
        let disliked = match rest.take("disliked") {
            Some(entry) => Some(from_node(&entry.value)?),
            None => None,
        };
        let node = Node { at: entry.value.at.clone(), value: Value::Mapping(rest) };
        let directory = entry.value.at.file.path.parent().unwrap_or(Path::new("")).to_owned();
        let source = DataSource::read(NodeDeserializer(&node), &directory)
            .map_err(|error: Diagnostic| error.or_at(&entry.value.at))?;
        let (relevant, relevant_from) = match told {
            Some(rule) => (rule, RelevanceFrom::Experiment),
            None => match source.usual_relevance(dirs, HELP_ON_RELEVANCE) {
                Ok(usual) => usual,
                Err(error @ DataError::NoRelevance { .. }) => {
                    let text = error.to_string();
                    let problem = text.lines().next().unwrap_or_default();
                    return Err(Diagnostic::at(&entry.value.at, problem).help(HELP_ON_RELEVANCE));
                }
                // Data that cannot be found end the planning, which says so.
                Err(_) => (Relevance::Any, RelevanceFrom::NoRatings),
            },
        };
        Ok(Self { source, relevant, relevant_from, disliked })
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
        let train_on = TrainOn::read(&mut rest, search.as_ref())?;
        let Some(model) = rest.take("model") else {
            let names: Vec<&str> = SystemSpec::names().collect();
            return Err(Diagnostic::at(&node.at, format!("the system `{name}` names no model"))
                .expected(format!("`model:` with one of {}", names.join(", ")))
                .help("give `model: als`, or take settings over with `use: baselines/als.yaml`"));
        };
        let parameters = Node { at: node.at.clone(), value: Value::Mapping(rest) };
        let model = SystemSpec::read(&model.value, &parameters, search.as_ref())?;
        if !model.learns() && !train_on.is_default() {
            return Err(Diagnostic::at(
                &node.at,
                format!(
                    "`positives` or `train_share` is given, and `{}` learns nothing",
                    model.name()
                ),
            )
            .help("give them to the system that is fitted"));
        }
        if train_on.train_share.is_some() && model.text().is_some() {
            return Err(Diagnostic::at(
                &node.at,
                "`train_share` cannot stand beside `text`: profiles of users are made from the whole training part",
            )
            .help("leave `train_share` out, or take a model without texts"));
        }
        Ok(Self { name, describe, model, train_on })
    }
}

impl TrainOn {
    fn read(rest: &mut Mapping, search: Option<&Entry>) -> Result<Self, Diagnostic> {
        let (positives, train_share) = (rest.take("positives"), rest.take("train_share"));
        if let (Some(entry), Some(_)) = (positives.as_ref().or(train_share.as_ref()), search) {
            return Err(Diagnostic::at(
                &entry.value.at,
                "`positives` and `train_share` cannot stand beside `search`",
            )
            .help(
                "a search measures its trials on ratings that the experiment's `relevant` accepts",
            ));
        }
        let train_on = Self {
            positives: positives.map(|entry| from_node(&entry.value)).transpose()?,
            train_share: match &train_share {
                Some(entry) => Some(from_node(&entry.value)?),
                None => None,
            },
        };
        if let Some(entry) = &train_share {
            train_on.validate().map_err(|message| Diagnostic::at(&entry.value.at, message))?;
        }
        Ok(train_on)
    }
}

/// One printed table, or a list of them.
fn published(node: &Node) -> Result<Vec<PublishedTable>, Diagnostic> {
    match &node.value {
        Value::Sequence(tables) => tables.iter().map(PublishedTable::read).collect(),
        _ => Ok(vec![PublishedTable::read(node)?]),
    }
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

/// Results go by name: two systems of one name would be averaged into one row.
fn check_system_names(settings: &[Setting], systems: &Entry) -> Result<(), Diagnostic> {
    let mut taken = BTreeSet::new();
    for setting in settings {
        for system in &setting.systems {
            if system.name.trim().is_empty() || system.name.chars().any(char::is_control) {
                let at = place_of(&system.name, systems)?;
                return Err(Diagnostic::at(at, "a system has no name that can be printed")
                    .expected("a name of one line: `als: {model: als}`"));
            }
            let name = format!("{}{}", system.name, setting.label);
            if taken.contains(&name) {
                let at = place_of(&system.name, systems)?;
                let problem = format!(
                    "two systems have the name `{name}`, with the levels of their sweeps: their results \
                     would be taken for those of one"
                );
                return Err(Diagnostic::at(at, problem)
                    .expected("a name for each")
                    .help("rename one of them, or a level: `{sweep: {low: 2, high: 3}}`"));
            }
            taken.insert(name);
        }
    }
    Ok(())
}

/// Where a system stands in the file.
pub(super) fn place_of<'a>(name: &str, systems: &'a Entry) -> Result<&'a Position, Diagnostic> {
    let entries = systems.value.mapping("systems")?.entries();
    let found = entries.iter().filter(|of| name.starts_with(&of.key)).max_by_key(|of| of.key.len());
    Ok(found.map_or(&systems.value.at, |of| &of.value.at))
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
    let model = generator.subschema_for::<SystemSpec>();
    let search = generator.subschema_for::<SearchSpec>();
    let train_share = generator.subschema_for::<TrainShare>();
    let about = generator.subschema_for::<About>();
    let mut root = generator.into_root_schema_for::<Keys>().to_value();
    // What a system may have beside its model's settings.
    let of_system = serde_json::json!({
        "describe": {"description": "What it is, for reports.", "type": "string"},
        "search": search.to_value(),
        "positives": relevance.clone().to_value(),
        "train_share": train_share.to_value(),
    });
    if let (Some(models), Some(of_system)) =
        (root["$defs"]["SystemSpec"]["oneOf"].as_array_mut(), of_system.as_object())
    {
        for properties in models.iter_mut().filter_map(|model| model["properties"].as_object_mut())
        {
            properties.extend(of_system.clone());
        }
    }
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
