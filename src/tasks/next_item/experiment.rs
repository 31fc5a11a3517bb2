//! Experiment files of this task: data, split, systems, evaluation.

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    Exclude,
    models::{MODELS, ModelDef, ModelSpec},
};
use crate::{
    base::yaml::{
        de::{NodeDeserializer, from_node},
        diagnostic::Diagnostic,
        node::{Entry, Node, Value},
    },
    data::{DataDirs, DataSource, SequenceSplit},
    ranking::{Metric, Protocol, ScoreSpec},
    tasks::{
        Task,
        experiment::required,
        shared::{
            EXTERNAL, EXTERNAL_REVISION, ExternalParams, Size, Tagged, check_system_names,
            description, metrics, needs_scores, seeds, systems, tagged,
        },
    },
};

/// Keys of the experiment file in addition to those of every task.
pub(super) const KEYS: &[&str] = &["data", "split", "seeds", "systems", "evaluate"];

/// An experiment of the task `next-item`.
#[derive(Debug)]
pub struct NextItemTask {
    pub variants: Vec<Variant>,
}

impl NextItemTask {
    /// Reads the variants of an experiment file, whose root is `root` before its sweeps.
    pub(super) fn read(
        root: &Node,
        variants: Vec<(String, Node)>,
        _: &DataDirs,
    ) -> Result<Arc<dyn Task>, Diagnostic> {
        let variants = variants
            .into_iter()
            .map(|(label, node)| Variant::read(label, &node))
            .collect::<Result<Vec<_>, _>>()?;
        let mapping = root.mapping("an experiment file")?;
        let names = variants.iter().flat_map(|variant| {
            variant.systems.iter().map(|system| (system.name.as_str(), variant.label.as_str()))
        });
        check_system_names(names, required(mapping, "systems", root)?)?;
        Ok(Arc::new(Self { variants }))
    }
}

/// One combination of the levels swept outside `systems`.
#[derive(Clone, Debug)]
pub struct Variant {
    /// `[seed=1]` if something outside `systems` is swept; otherwise empty.
    pub label: String,
    pub data: DataSource,
    pub split: SequenceSplit,
    pub seeds: Vec<u64>,
    pub systems: Vec<System>,
    pub exclude: Exclude,
    pub evaluate: ScoreSpec,
    /// How the file is read where it leaves something open.
    pub warnings: Vec<String>,
}

/// One row of a table.
#[derive(Clone, Debug)]
pub struct System {
    /// Its name with the levels of its sweeps: `rule[ids=random]`.
    pub name: String,
    pub describe: String,
    pub model: SystemSpec,
}

/// A kind of system.
#[derive(Clone, Debug)]
pub enum SystemSpec {
    /// A model and its settings.
    Model(ModelSpec),
    /// Rankings from files.
    External(Box<ExternalParams>),
}

impl SystemSpec {
    fn names() -> impl Iterator<Item = &'static str> {
        MODELS.iter().map(|model| model.name).chain([EXTERNAL])
    }

    fn read(model: &Node, parameters: &Node) -> Result<Self, Diagnostic> {
        let name = model.text("model")?;
        match ModelDef::find(name) {
            Some(def) => Ok(Self::Model(def.read(parameters)?)),
            None if name == EXTERNAL => {
                let mut params: ExternalParams = from_node(parameters)?;
                params.directory = model.at.file.path.parent().unwrap_or(Path::new("")).to_owned();
                Ok(Self::External(Box::new(params)))
            }
            None => Err(Diagnostic::at(
                &model.at,
                format!("unknown model `{name}` of the task `next-item`"),
            )
            .expected(format!("one of {}", Self::names().collect::<Vec<_>>().join(", ")))
            .suggest(name, Self::names())),
        }
    }

    /// The name in `model:`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Model(model) => model.name(),
            Self::External(_) => EXTERNAL,
        }
    }

    /// Whether results depend on the seed.
    pub fn is_seeded(&self) -> bool {
        match self {
            Self::Model(model) => model.is_seeded(),
            Self::External(_) => false,
        }
    }

    /// Raise it if the code changes its meaning.
    pub fn revision(&self) -> u32 {
        match self {
            Self::Model(model) => model.revision(),
            Self::External(_) => EXTERNAL_REVISION,
        }
    }

    /// Estimated memory of a fit in bytes.
    pub fn memory(&self, size: Size) -> u64 {
        match self {
            Self::Model(model) => model.memory(size) as u64,
            Self::External(_) => 0,
        }
    }
}

impl Serialize for SystemSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Model(model) => model.serialize(serializer),
            Self::External(params) => {
                Tagged { model: EXTERNAL, settings: &**params }.serialize(serializer)
            }
        }
    }
}

impl Variant {
    fn read(label: String, root: &Node) -> Result<Self, Diagnostic> {
        let mapping = root.mapping("an experiment file")?;
        let split_entry = required(mapping, "split", root)?;
        let split: SequenceSplit = from_node(&split_entry.value)?;
        split.validate().map_err(|message| Diagnostic::at(&split_entry.value.at, message))?;
        let data = required(mapping, "data", root)?;
        let directory = data.value.at.file.path.parent().unwrap_or(Path::new("")).to_owned();
        let data = DataSource::read(NodeDeserializer(&data.value), &directory)
            .map_err(|error: Diagnostic| error.or_at(&data.value.at))?;
        let mut warnings = Vec::new();
        let systems = systems(
            required(mapping, "systems", root)?,
            "markov: {model: markov}",
            |name, node| System::read(name, node, &mut warnings),
        )?;
        let (exclude, evaluate) = evaluation(mapping.get("evaluate"), &systems, &mut warnings)?;
        Ok(Self {
            label,
            data,
            split,
            seeds: seeds(mapping)?,
            systems,
            exclude,
            evaluate,
            warnings,
        })
    }
}

impl System {
    fn read(name: String, node: &Node, warnings: &mut Vec<String>) -> Result<Self, Diagnostic> {
        let mut rest = node.mapping(&format!("the system `{name}`"))?.clone();
        let describe = description(&mut rest)?;
        if let Some(validate) = rest.get_mut(&["training", "validate"]) {
            warnings.extend(metrics::spell_out_one(validate)?);
        }
        let Some(model) = rest.take("model") else {
            let names: Vec<&str> = SystemSpec::names().collect();
            return Err(Diagnostic::at(&node.at, format!("the system `{name}` has no `model`"))
                .expected(format!("`model:` with one of {}", names.join(", "))));
        };
        let parameters = Node { at: node.at.clone(), value: Value::Mapping(rest) };
        let model = SystemSpec::read(&model.value, &parameters)?;
        Ok(Self { name, describe, model })
    }
}

/// What is computed where the file does not say.
fn defaults() -> ScoreSpec {
    ScoreSpec {
        k: vec![5, 10, 20],
        metrics: vec![
            Metric::HitRate,
            Metric::Ndcg,
            Metric::Mrr,
            Metric::Recall,
            Metric::ItemCoverage,
        ],
        ..ScoreSpec::default()
    }
}

/// `evaluate:`, with its key `exclude` beside those of every ranking.
fn evaluation(
    entry: Option<&Entry>,
    systems: &[System],
    warnings: &mut Vec<String>,
) -> Result<(Exclude, ScoreSpec), Diagnostic> {
    let Some(entry) = entry else { return Ok((Exclude::default(), defaults())) };
    let mut rest = entry.value.mapping("evaluate")?.clone();
    let exclude = match rest.take("exclude") {
        Some(entry) => from_node(&entry.value)?,
        None => Exclude::default(),
    };
    let mut node = Node { at: entry.value.at.clone(), value: Value::Mapping(rest) };
    warnings.extend(metrics::spell_out(&mut node)?);
    let given = node.mapping("evaluate")?;
    let (has_k, has_metrics) = (given.get("k").is_some(), given.get("metrics").is_some());
    let mut spec: ScoreSpec = from_node(&node)?;
    if !has_k {
        spec.k = defaults().k;
    }
    if !has_metrics {
        spec.metrics = defaults().metrics;
    }
    let wrong = |message: String| Diagnostic::at(&entry.value.at, message);
    spec.validate().map_err(wrong)?;
    let is_known = |of: &Protocol| matches!(of, Protocol::Full | Protocol::Sampled);
    if let Some(protocol) = spec.protocols.iter().find(|of| !is_known(of)) {
        return Err(wrong(format!(
            "the protocol `{protocol}` ranks only what was judged, and of a sequence nothing but the next item is"
        ))
        .expected("the protocols full or sampled"));
    }
    let list = systems.iter().find(|system| matches!(system.model, SystemSpec::External(_)));
    let list = list.map(|system| system.name.as_str());
    needs_scores(&spec.protocols, list, &entry.value.at, "the protocol full")?;
    Ok((exclude, spec))
}

/// The keys of an experiment file. Only the schema is made from this type.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The name of the experiment and its results.
    experiment: String,
    task: String,
    /// What the experiment shows, in a sentence or two, for reports.
    #[serde(default)]
    describe: String,
    #[serde(default)]
    include: serde_json::Value,
    data: DataSource,
    split: SequenceSplit,
    #[serde(default)]
    seeds: Vec<u64>,
    systems: serde_json::Value,
    #[serde(default)]
    evaluate: ScoreSpec,
    #[serde(default)]
    published: serde_json::Value,
}

/// The JSON Schema of an experiment file of this task.
pub(super) fn schema() -> serde_json::Value {
    let mut generator = schemars::SchemaGenerator::default();
    let mut models: Vec<_> = MODELS.iter().map(|model| model.schema(&mut generator)).collect();
    let external = generator.subschema_for::<ExternalParams>();
    models.push(tagged(EXTERNAL, "Rankings from files.", external));
    let exclude = generator.subschema_for::<Exclude>();
    let mut root = generator.into_root_schema_for::<Keys>().to_value();
    root["title"] = "An assay experiment file of the task next-item".into();
    root["properties"]["systems"] = serde_json::json!({
        "description": "The systems to compare, one row of the tables each.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [
            {"oneOf": models},
            {"type": "object", "required": ["use"]},
        ]},
    });
    root["$defs"]["ScoreSpec"]["properties"]["exclude"] = exclude.to_value();
    root
}
