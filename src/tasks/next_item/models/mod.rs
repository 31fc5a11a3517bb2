//! The list of models, one file for each, and what a model is.

mod bert4rec;
mod bsarec;
mod gru4rec;
mod id_plus_one;
mod markov;
mod popularity;
mod sasrec;
mod vsknn;

use std::{
    fmt::Debug,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Serialize, Serializer,
    de::DeserializeOwned,
    ser::{Error, SerializeMap},
};

use super::{
    Exclude,
    networks::{EmbeddingOrder, TextStart},
};
use crate::{
    base::{
        arrays,
        interrupt::Interrupt,
        yaml::{Diagnostic, de::from_node, node::Node},
    },
    data::{SequencePart, SequenceSplit, Sequences, UserIx},
    tasks::shared::{ModelError, ModelStats, Settings, Size, Wrong, out_of_range, tagged},
    text::FileSpec,
};

/// All models: what `model:` may name beside `external`.
pub const MODELS: &[ModelDef] = &[
    ModelDef::of::<popularity::PopularityParams>(
        "popularity",
        "The most frequent items of the training part, the same for all users.",
    ),
    ModelDef::of::<id_plus_one::IdPlusOneParams>(
        "id-plus-one",
        "A control: the items whose numbers follow that of the last item.",
    ),
    ModelDef::of::<markov::MarkovParams>(
        "markov",
        "A Markov chain: the items that followed the last item most often.",
    ),
    ModelDef::of::<vsknn::VsknnParams>(
        "vsknn",
        "Items of sequences that share items with the user's, recent ones above all.",
    ),
    ModelDef::of::<gru4rec::Gru4RecParams>("gru4rec", "A gated recurrent unit."),
    ModelDef::of::<sasrec::SasRecParams>("sasrec", "Causal self-attention."),
    ModelDef::of::<bert4rec::Bert4RecParams>(
        "bert4rec",
        "Attention to both sides, trained on masked items.",
    ),
    ModelDef::of::<bsarec::BsaRecParams>(
        "bsarec",
        "Self-attention beside a filter of high frequencies.",
    ),
];

/// What accompanies a fit.
pub struct FitContext<'a> {
    pub seed: u64,
    /// Which items are ranked, and which of them are to be predicted: for models that validate.
    pub exclude: Exclude,
    pub split: &'a SequenceSplit,
    pub interrupt: &'a Interrupt,
    /// Called with (done, of) units of work; may be called from any thread.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// One line for the trial's log file.
    pub log: &'a (dyn Fn(&str) + Sync),
    /// A directory that outlives a killed fit, for checkpoints; it may not exist yet.
    pub scratch: Option<&'a Path>,
    /// Where the pretrained model was saved, if the model asks for one.
    pub pretrained: Option<&'a Path>,
    /// Where the vectors of items' texts were saved, if the model starts from some.
    pub texts: Option<&'a Path>,
}

/// The settings of a model. As with the task `top-n`, they are read from YAML, have a schema, and their JSON is a
/// part of the key of every step that fits them: a field that is added must not be serialised where it has the value
/// that older results had.
pub trait SequenceModel: Settings {
    /// The first setting that is out of range.
    fn validate(&self) -> Result<(), Wrong> {
        Ok(())
    }

    /// Raised when the code comes to mean something else: fitted models of before are then outdated.
    fn revision(&self) -> u32 {
        1
    }

    /// Whether the fitted model depends on the seed. If not, it is fitted once for all seeds.
    fn is_seeded(&self) -> bool {
        false
    }

    /// Whether its fit measures on the validation part.
    fn validates(&self) -> bool {
        false
    }

    /// Which items are ranked there, if the settings say so; otherwise as in the evaluation.
    fn validation_exclude(&self) -> Option<Exclude> {
        None
    }

    /// Whether fitting it computes with tensors. Loading and scoring never do.
    fn needs_tensors(&self) -> bool {
        false
    }

    /// A guess at the memory that fitting takes, in bytes.
    fn memory(&self, size: Size) -> usize;

    /// The settings of a training on synthetic sequences before the fit, for the key of that step; none if there is none.
    fn pretraining(&self) -> Option<serde_json::Result<serde_json::Value>> {
        None
    }

    /// Texts that the embeddings of items start from.
    fn text(&self) -> Option<&TextStart> {
        None
    }

    /// A guess at the memory that it takes, of so many items.
    fn pretraining_memory(&self, _items: usize) -> usize {
        0
    }

    /// Trains on synthetic sequences of so many items.
    fn pretrain(&self, _items: usize, _: &FitContext) -> Result<Box<dyn NextItem>, ModelError> {
        Err(ModelError::Unsuitable("internal error: this model has no pretraining".into()))
    }

    /// Learns from the training part. The validation part is what precedes the test part: a part of the input, and
    /// nothing that is learnt from.
    fn fit(
        &self,
        data: &SequencePart,
        context: &FitContext,
    ) -> Result<Box<dyn NextItem>, ModelError>;

    /// Reads what [`NextItem::save`] wrote into `dir`.
    fn load(&self, dir: &Path, data: &SequencePart) -> Result<Box<dyn NextItem>, ModelError>;

    /// The files that a saved model consists of.
    fn files(&self) -> &'static [&'static str] {
        &[arrays::FILE]
    }
}

/// A fitted model: scores of all items, given what a user had so far.
pub trait NextItem: Send + Sync {
    /// Writes the score of every item, higher is better; −∞ leaves an item out, if [`Self::omits_items`]. The input
    /// is not empty.
    fn score_one(&self, user: UserIx, input: &[u32], scores: &mut [f32]);

    /// The same for several users, row-major `[users.len(), n_items]`. Must not depend on how users are batched or on
    /// the number of threads.
    fn score(&self, users: &[UserIx], input: &Sequences, scores: &mut [f32]) {
        let rows = scores.par_chunks_mut(input.n_items().max(1)).zip(users);
        rows.filter(|(_, user)| !input.of(**user).is_empty())
            .for_each(|(row, user)| self.score_one(*user, input.of(*user), row));
    }

    /// Whether −∞ leaves an item out.
    fn omits_items(&self) -> bool {
        false
    }

    /// The score of the padding row, where there is one.
    fn padding_score(&self, _: UserIx) -> f32 {
        0.0
    }

    /// Writes what [`SequenceModel::load`] needs into the directory `dir`.
    fn save(&self, dir: &Path) -> Result<(), ModelError>;

    /// What the fit says of itself, for the step's record.
    fn stats(&self) -> ModelStats {
        ModelStats::default()
    }

    /// How far item embeddings are in the order of the items' numbers, of networks.
    fn order(&self, _data: &SequencePart, _seed: u64) -> Vec<EmbeddingOrder> {
        Vec::new()
    }

    /// Number of trained parameters, of networks.
    fn parameters(&self) -> Option<usize> {
        None
    }
}

/// What items get that the model has no evidence for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backoff {
    /// They come after all others, the more frequent first; it also orders equal scores.
    #[default]
    Popularity,
    /// They are not recommended, and equal scores are ties.
    None,
}

/// Popularity as what is added to scores: a share under `step` for each item.
struct Tail {
    shares: Vec<f32>,
}

impl Tail {
    fn new(counts: &[u32]) -> Self {
        let most = counts.iter().max().copied().unwrap_or(0);
        let share = |count: &u32| f64::from(*count) / f64::from(most + 1);
        Self { shares: counts.iter().map(|count| share(count) as f32).collect() }
    }

    /// Turns evidence, 0 for none, into scores. Evidence differs by at least `step` or not at all.
    fn apply(&self, backoff: Backoff, step: f32, scores: &mut [f32]) {
        for (score, share) in scores.iter_mut().zip(&self.shares) {
            *score = match (backoff, *score > 0.0) {
                (Backoff::Popularity, true) => *score + step * share,
                (Backoff::Popularity, false) => share - 1.0,
                (Backoff::None, true) => *score,
                (Backoff::None, false) => f32::NEG_INFINITY,
            };
        }
    }
}

/// A model of the list: its name, how its settings are read, and their schema.
#[derive(Debug)]
pub struct ModelDef {
    /// What `model:` calls it.
    pub name: &'static str,
    about: &'static str,
    read: fn(&Node) -> Result<Arc<dyn SequenceModel>, Diagnostic>,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl ModelDef {
    const fn of<M: SequenceModel + DeserializeOwned + JsonSchema>(
        name: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            name,
            about,
            read: |node| Ok(Arc::new(from_node::<M>(node)?)),
            schema: M::json_schema,
        }
    }

    /// The model of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.name == name)
    }

    /// Reads and validates settings.
    pub fn read(&'static self, node: &Node) -> Result<ModelSpec, Diagnostic> {
        let model = (self.read)(node)?;
        model.validate().map_err(|wrong| out_of_range(node, wrong))?;
        let directory = node.at.file.path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(ModelSpec { def: self, model, directory })
    }

    /// The schema of a system with this model.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        tagged(self.name, self.about, (self.schema)(generator))
    }
}

/// A model of the list with its settings, which were validated.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    def: &'static ModelDef,
    model: Arc<dyn SequenceModel>,
    /// Of the file that it was read from.
    directory: PathBuf,
}

impl Deref for ModelSpec {
    type Target = dyn SequenceModel;

    fn deref(&self) -> &dyn SequenceModel {
        &*self.model
    }
}

impl ModelSpec {
    /// The model's name.
    pub fn name(&self) -> &'static str {
        self.def.name
    }

    /// The file of the texts that it starts from, if it does.
    pub fn texts(&self) -> Option<FileSpec> {
        self.text().map(|text| text.items.beside(&self.directory))
    }
}

/// `{"model": "markov", …}`
impl Serialize for ModelSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = (*self.model).json().map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(Some(settings.len() + 1))?;
        map.serialize_entry("model", self.name())?;
        for (field, value) in &settings {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        base::yaml::diagnostic::SourceFile,
        data::{Ids, Interaction, ItemIx, SequenceScheme},
    };

    /// A training and a validation part of so many items.
    pub fn part(n_items: usize, train: &[&[u32]], validation: &[&[u32]]) -> SequencePart {
        let sequences = |of_users: &[&[u32]]| {
            let rows: Vec<Interaction> = (0u32..)
                .zip(of_users)
                .flat_map(|(user, items)| {
                    items.iter().map(move |item| Interaction {
                        user: UserIx(user),
                        item: ItemIx(*item),
                        rating: 1.0,
                        timestamp: Default::default(),
                    })
                })
                .collect();
            Sequences::new(train.len(), n_items, &rows)
        };
        SequencePart {
            users: Ids::new((0..train.len()).map(|id| id.to_string())),
            items: Ids::new((0..n_items).map(|id| id.to_string())),
            train: sequences(train),
            validation: sequences(validation),
        }
    }

    pub const LAST: SequenceSplit = SequenceSplit {
        scheme: SequenceScheme::LeaveOneOut,
        n: None,
        test: None,
        from: None,
        validation: None,
        targets: None,
    };

    /// A model of the list, read from YAML.
    pub fn model(yaml: &str) -> ModelSpec {
        let file = Arc::new(SourceFile { path: "e.yaml".into(), text: yaml.to_owned() });
        let node = Node::parse(&file).unwrap();
        let mut rest = node.mapping("a system").unwrap().clone();
        let name = rest.take("model").unwrap().value.text("model").unwrap().to_owned();
        let value = crate::base::yaml::node::Value::Mapping(rest);
        ModelDef::find(&name).unwrap().read(&Node { at: node.at.clone(), value }).unwrap()
    }

    pub fn context(interrupt: &Interrupt) -> FitContext<'_> {
        FitContext {
            seed: 1,
            exclude: Exclude::Seen,
            split: &LAST,
            interrupt,
            progress: &|_, _| {},
            log: &|_| {},
            scratch: None,
            pretrained: None,
            texts: None,
        }
    }

    pub fn scores(yaml: &str, data: &SequencePart, input: &[u32]) -> Vec<f32> {
        let interrupt = Interrupt::default();
        let fitted = model(yaml).fit(data, &context(&interrupt)).unwrap();
        let mut scores = vec![f32::NAN; data.items.len()];
        fitted.score_one(UserIx(0), input, &mut scores);
        scores
    }

    #[test]
    fn models_that_are_saved_and_loaded_score_alike() {
        let data = part(6, &[&[0, 1, 2, 1], &[3, 1, 2], &[4, 0, 1]], &[&[5], &[], &[2]]);
        let interrupt = Interrupt::default();
        for def in
            MODELS.iter().filter(|def| !model(&format!("model: {}", def.name)).needs_tensors())
        {
            let spec = model(&format!("model: {}", def.name));
            let fitted = spec.fit(&data, &context(&interrupt)).unwrap();
            let dir = tempfile::tempdir().unwrap();
            fitted.save(dir.path()).unwrap();
            assert!(spec.files().iter().all(|file| dir.path().join(file).exists()), "{}", def.name);
            let loaded = spec.load(dir.path(), &data).unwrap();
            let input = data.input();
            let users: Vec<UserIx> = (0..3).map(UserIx).collect();
            let scores = |model: &dyn NextItem| {
                let mut scores = vec![f32::NAN; 18];
                model.score(&users, &input, &mut scores);
                scores
            };
            let of_fitted = scores(&*fitted);
            assert!(of_fitted.iter().all(|score| !score.is_nan()), "{}: {of_fitted:?}", def.name);
            assert_eq!(of_fitted, scores(&*loaded), "{}", def.name);
        }
    }
}
