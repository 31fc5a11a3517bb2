//! Experiment files of this task: data, split, systems, evaluation.

use std::{path::Path, sync::Arc};

use serde::Serialize;

use super::{SystemSpec, TrainOn, rerank::JudgeName, rerankers, texts::Texts};
use crate::{
    base::yaml::{
        de::{NodeDeserializer, from_node},
        diagnostic::{Diagnostic, Position},
        include::Renamed,
        node::{Entry, Mapping, Node, Value},
    },
    data::{DataDirs, DataError, DataSource, Relevance, RelevanceFrom, SplitSpec},
    llm::{EndpointSpec, ResponsesSpec},
    ranking::ScoreSpec,
    tasks::{
        Task,
        experiment::required,
        shared::{check_system_names, description, metrics, needs_scores, seeds, systems},
    },
    text::{MetadataSpec, ProfilesSpec},
};

/// Keys of the experiment file in addition to those of every task.
pub(super) const KEYS: &[&str] = &[
    "data",
    "metadata",
    "endpoints",
    "responses",
    "profiles",
    "split",
    "seeds",
    "systems",
    "evaluate",
];

/// Keys with a new name.
pub(super) const RENAMED: &[Renamed] = &[
    Renamed::top("judges", &["endpoints"]),
    Renamed::top("answers", &["responses"]),
    // One name for one setting in all models.
    Renamed { within: "systems.*", old: "dim", new: &["factors"] },
    Renamed { within: "systems.*", old: "iterations", new: &["training", "epochs"] },
    Renamed { within: "systems.*.search.over", old: "dim", new: &["factors"] },
    Renamed { within: "systems.*.search.over", old: "iterations", new: &["training.epochs"] },
];

/// Keys whose mappings have names as keys.
pub(super) const NAMED: &[&str] = &["systems", "endpoints", "profiles"];

/// An experiment of the task `top-n`.
#[derive(Debug)]
pub struct TopN {
    pub variants: Vec<Variant>,
}

impl TopN {
    /// Reads the variants of an experiment file, whose root is `root` before its sweeps.
    pub(super) fn read(
        root: &Node,
        variants: Vec<(String, Node)>,
        dirs: &DataDirs,
    ) -> Result<Arc<dyn Task>, Diagnostic> {
        let variants = variants
            .into_iter()
            .map(|(label, node)| Variant::read(label, &node, dirs))
            .collect::<Result<Vec<_>, _>>()?;
        let mapping = root.mapping("an experiment file")?;
        let names = variants.iter().flat_map(|variant| {
            variant.systems.iter().map(|system| (system.name.as_str(), variant.label.as_str()))
        });
        check_system_names(names, required(mapping, "systems", root)?)?;
        Ok(Arc::new(Self { variants }))
    }
}

/// Data, split, systems and evaluation for one combination of the levels swept outside `systems`. Most experiments have
/// one variant.
#[derive(Clone, Debug)]
pub struct Variant {
    /// `[seed=1]` if something outside `systems` is swept; otherwise empty.
    pub label: String,
    pub data: DataSpec,
    pub split: SplitSpec,
    pub seeds: Vec<u64>,
    pub systems: Vec<System>,
    pub evaluate: ScoreSpec,
    /// Texts about items and users, by name.
    pub profiles: Vec<(String, ProfilesSpec)>,
    /// Item metadata in addition to the data set's catalogue.
    pub metadata: MetadataSpec,
    /// Chat models behind an OpenAI-compatible API, by name.
    pub endpoints: Vec<(String, EndpointSpec)>,
    /// Where responses come from, and what they may cost.
    pub responses: ResponsesSpec,
    /// Where the file names the data and the folds.
    pub places: Places,
    /// How the file is read where it leaves something open.
    pub warnings: Vec<String>,
}

/// Positions in the file, for errors that are found later.
#[derive(Clone, Debug)]
pub struct Places {
    pub data: Position,
    pub folds: Position,
}

impl Places {
    fn of(mapping: &Mapping, root: &Node) -> Result<Self, Diagnostic> {
        let inner = |section: &str, key: &str| -> Result<Position, Diagnostic> {
            let entry = required(mapping, section, root)?;
            let inner = entry.value.mapping(section)?.get(key);
            Ok(inner.map_or(&entry.value.at, |entry| &entry.value.at).clone())
        };
        Ok(Self { data: inner("data", "set")?, folds: inner("split", "only")? })
    }
}

/// Which data, and which of its ratings count as liked.
#[derive(Clone, Debug, Serialize)]
pub struct DataSpec {
    pub source: DataSource,
    pub relevant: Relevance,
    /// Where the rule comes from.
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
    /// The part of the training data it is trained on.
    #[serde(skip_serializing_if = "TrainOn::is_default")]
    pub train_on: TrainOn,
    /// Whether assay added it as a control.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_added: bool,
}

impl Variant {
    fn read(label: String, root: &Node, dirs: &DataDirs) -> Result<Self, Diagnostic> {
        let mapping = root.mapping("an experiment file")?;
        let split_entry = required(mapping, "split", root)?;
        let split: SplitSpec = from_node(&split_entry.value)?;
        split.validate().map_err(|message| Diagnostic::at(&split_entry.value.at, message))?;
        let mut warnings = Vec::new();
        let mut systems =
            systems(required(mapping, "systems", root)?, "als: {model: als}", |name, node| {
                System::read(name, node, &mut warnings)
            })?;
        for system in &mut systems {
            let search = match &mut system.model {
                SystemSpec::Search(search) => Some(&mut search.spec),
                SystemSpec::Command(params) => {
                    params.search.as_mut().map(|search| &mut search.spec)
                }
                _ => None,
            };
            if let Some(spec) = search {
                spec.cut = split.cut(spec.by);
            }
        }
        let mut evaluate = match mapping.get("evaluate") {
            Some(entry) => {
                let mut node = entry.value.clone();
                warnings.extend(metrics::spell_out(&mut node)?);
                let spec: ScoreSpec = from_node(&node)?;
                spec.validate().map_err(|message| Diagnostic::at(&entry.value.at, message))?;
                let list = systems.iter().find(|system| system.model.gives_lists());
                needs_scores(
                    &spec.protocols,
                    list.map(|system| system.name.as_str()),
                    &entry.value.at,
                    "the protocols full, judged or judged-after-cut",
                )?;
                spec
            }
            None => ScoreSpec::default(),
        };
        let directory = root.at.file.path.parent().unwrap_or(Path::new("")).to_owned();
        let texts = Texts::read(mapping, &directory)?;
        let entry = required(mapping, "systems", root)?;
        texts.check(&systems, entry)?;
        rerankers::check(&systems, &texts.endpoints, entry)?;
        rerankers::add_controls(&mut systems);
        rerankers::add_slices(&systems, &mut evaluate);
        Ok(Self {
            label,
            profiles: texts.profiles,
            metadata: texts.metadata,
            endpoints: texts.endpoints,
            responses: texts.responses,
            data: DataSpec::read(required(mapping, "data", root)?, dirs)?,
            split,
            seeds: seeds(mapping)?,
            systems,
            evaluate,
            places: Places::of(mapping, root)?,
            warnings,
        })
    }
}

impl Variant {
    /// Whether a system's results depend on the seed. A reranker's do if its base's do, or if its judge shuffles the
    /// candidates or their ids.
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
            Some(rule) => match source.has_ratings(dirs) {
                Ok(false) if rule != Relevance::Any => {
                    let problem = format!(
                        "the relevance rule `{rule}` needs ratings, but the data set `{}` has none",
                        source.name()
                    );
                    return Err(Diagnostic::at(&entry.value.at, problem).help(
                        "name the rating column (`columns: {rating: NAME}`), or use `relevant: any`",
                    ));
                }
                Err(error) if !error.is_missing() => return Err(unreadable(entry, &error)),
                _ => (rule, RelevanceFrom::Experiment),
            },
            None => match source.usual_relevance(dirs, HELP_ON_RELEVANCE) {
                Ok(usual) => usual,
                Err(error @ DataError::NoRelevance { .. }) => {
                    let text = error.to_string();
                    let problem = text.lines().next().unwrap_or_default();
                    return Err(Diagnostic::at(&entry.value.at, problem).help(HELP_ON_RELEVANCE));
                }
                Err(error) if !error.is_missing() => return Err(unreadable(entry, &error)),
                // Data that cannot be found end the planning, which says so.
                Err(_) => (Relevance::Any, RelevanceFrom::NoRatings),
            },
        };
        Ok(Self { source, relevant, relevant_from, disliked })
    }
}

/// An error of the data files, at the position of `data:`.
fn unreadable(entry: &Entry, error: &DataError) -> Diagnostic {
    let text = error.to_string();
    let (problem, help) = text.split_once("\n  = help: ").unwrap_or((&text, ""));
    let diagnostic = Diagnostic::at(&entry.value.at, problem);
    if help.is_empty() { diagnostic } else { diagnostic.help(help) }
}

impl System {
    fn read(name: String, node: &Node, warnings: &mut Vec<String>) -> Result<Self, Diagnostic> {
        let mut rest = node.mapping(&format!("the system `{name}`"))?.clone();
        let describe = description(&mut rest)?;
        let mut search = rest.take("search");
        if let Some(Value::Mapping(search)) = search.as_mut().map(|entry| &mut entry.value.value) {
            warnings.extend(metrics::spell_out_one(search)?);
        }
        if let Some(validate) = rest.get_mut(&["training", "validate"]) {
            warnings.extend(metrics::spell_out_one(validate)?);
        }
        let train_on = TrainOn::read(&mut rest, search.as_ref())?;
        let Some(model) = rest.take("model") else {
            let names: Vec<&str> = SystemSpec::names().collect();
            return Err(Diagnostic::at(&node.at, format!("the system `{name}` has no `model`"))
                .expected(format!("`model:` with one of {}", names.join(", ")))
                .help("add `model: als`, or insert settings with `use: baselines/als.yaml`"));
        };
        let parameters = Node { at: node.at.clone(), value: Value::Mapping(rest) };
        let model = SystemSpec::read(&model.value, &parameters, search.as_ref())?;
        if let SystemSpec::Search(search) = &model {
            warnings.extend(search.note.clone());
        }
        if !model.learns() && !train_on.is_default() {
            return Err(Diagnostic::at(
                &node.at,
                format!(
                    "`positives` or `train_share` is given, but `{}` is not trained{}",
                    model.name(),
                    if matches!(model, SystemSpec::Command(_)) { " by assay" } else { "" }
                ),
            )
            .help("move them to the system that is fitted"));
        }
        if train_on.train_share.is_some() && model.text().is_some() {
            return Err(Diagnostic::at(
                &node.at,
                "`train_share` cannot be combined with `text`: user profiles are made from the whole training part",
            )
            .help("remove `train_share`, or use a model without texts"));
        }
        Ok(Self { name, describe, model, train_on, is_added: false })
    }
}

impl TrainOn {
    fn read(rest: &mut Mapping, search: Option<&Entry>) -> Result<Self, Diagnostic> {
        let (positives, train_share) = (rest.take("positives"), rest.take("train_share"));
        if let (Some(entry), Some(_)) = (positives.as_ref().or(train_share.as_ref()), search) {
            return Err(Diagnostic::at(
                &entry.value.at,
                "`positives` and `train_share` cannot be combined with `search`",
            )
            .help("a search evaluates its trials with the experiment's rule `relevant`"));
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
