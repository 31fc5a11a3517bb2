//! The list of models, one file for each, and the [`Recommender`] that fitting gives.

pub mod als;
mod bprmf;
mod content;
mod ease;
mod edlae;
mod factors;
pub(crate) mod gat;
mod item_knn;
pub(crate) mod lightgcn;
mod model;
mod mult_vae;
mod neighbours;
pub(crate) mod ngcf;
mod p3alpha;
pub(crate) mod p4r;
mod popularity;
mod pure_svd;
mod random;
pub(crate) mod review_gnn;
mod rp3beta;
mod sgl;
mod simgcl;
mod slim;
mod user_knn;
mod xsimgcl;

use std::path::Path;

use crate::{
    base::interrupt::Interrupt,
    data::UserIx,
    ranking::Scorer,
    tasks::top_n::History,
    text::{Features, ReviewVectors},
};

pub(crate) use crate::tasks::shared::Factors;
pub use crate::tasks::shared::{ModelError, ModelStats};
pub use als::AlsParams;
pub use bprmf::BprMfParams;
pub use content::ContentParams;
pub use gat::{Edges, GatParams};
pub use lightgcn::LightGcnParams;
pub use model::{Model, ModelDef, ModelSpec, Size, Wrong};
pub(crate) use mult_vae::BATCH;
pub use mult_vae::{Annealing, MultVaeParams};
pub use ngcf::{Loss, NgcfParams};
pub use p4r::P4rParams;
pub use review_gnn::ReviewGnnParams;
pub use sgl::{Augmentation, SglParams};
pub use simgcl::SimGclParams;
pub use xsimgcl::XSimGclParams;

/// The length of the vectors has one name in files. In keys of steps it has the one it had.
const FACTORS: &[(&str, &str)] = &[("factors", "dim")];

/// All models: what `model:` may name beside `rerank` and `external`. The names in messages and the
/// schema come from here.
pub const MODELS: &[ModelDef] = &[
    ModelDef::of::<random::RandomParams>("random", "Any order: the floor."),
    ModelDef::of::<popularity::PopularityParams>(
        "popularity",
        "The most popular items, the same for all users.",
    ),
    ModelDef::of::<item_knn::ItemKnnParams>("item-knn", "Items similar to those the user liked.")
    .defaults("common values; 0.181, and 0.190 with `neighbours: 500`, the best of twelve settings."),
    ModelDef::of::<user_knn::UserKnnParams>("user-knn", "Items that similar users liked.")
    .defaults("common values; 0.212, and 0.213 with `neighbours: 50`, the best of nine settings."),
    ModelDef::of::<p3alpha::P3AlphaParams>("p3alpha", "A random walk of three steps.")
    .defaults("as in the code of Dacrema et al. 2019; 0.194, and 0.195 with `neighbours: 500`, the best of nine settings."),
    ModelDef::of::<rp3beta::Rp3BetaParams>("rp3beta", "P3α with a penalty on popular items.")
    .defaults("`beta` is the best of nine settings, 0.209; with 0.6, as in the code of Dacrema et al. 2019, it is 0.184."),
    ModelDef::of::<pure_svd::PureSvdParams>(
        "pure-svd",
        "A truncated singular value decomposition.",
    )
    .defaults("0.202; 10 factors have 0.217, 100 have 0.120. Larger data want more factors."),
    ModelDef::of::<ease::EaseParams>("ease", "A linear item-item model in closed form.")
    .defaults("a common value for small data sets; 0.2275, and 0.2276 with 500, the best of five."),
    ModelDef::of::<edlae::EdlaeParams>(
        "edlae",
        "A linear autoencoder in closed form that learns to predict what was dropped from its input.",
    )
    .defaults("0.2299, and 0.2302 with `regularization: 300`, the best of twelve."),
    ModelDef::of::<slim::SlimParams>(
        "slim",
        "A sparse linear item-item model: an elastic net for each item.",
    )
    .defaults("the best of three settings, 0.2304. Large and sparse data want smaller penalties."),
    ModelDef::of::<AlsParams>(
        "als",
        "Matrix factorisation of implicit feedback by alternating least squares.",
    )
    .stored(&[("training.epochs", "iterations")])
    .defaults("0.217 (0.219 with `baselines/als.yaml`, 0.233 with the best of 24 settings). λ = 0.01 and α = 40, the defaults of before, have 0.144."),
    ModelDef::of::<ContentParams>("content", "Items whose texts are similar to the user's."),
    ModelDef::of::<BprMfParams>("bprmf", "Matrix factorisation by pairwise ranking.")
        .stored(FACTORS)
        .defaults("not tuned; 0.194, and 0.215 with `baselines/bprmf.yaml`."),
    ModelDef::of::<LightGcnParams>(
        "lightgcn",
        "Linear propagation of embeddings on the user-item graph.",
    )
    .stored(FACTORS)
    .defaults("as in the paper, but for 100 epochs; 0.184, and 0.229 with `baselines/lightgcn.yaml`."),
    ModelDef::of::<NgcfParams>("ngcf", "Propagation with transformations and activations.")
        .stored(FACTORS)
        .defaults("as in the paper, but for 100 epochs; 0.220, and 0.216 with `baselines/ngcf.yaml`."),
    ModelDef::of::<SglParams>("sgl", "LightGCN, and two thinned graphs in which a node should look alike.")
    .defaults("as in the paper for Yelp2018, but for 100 epochs."),
    ModelDef::of::<SimGclParams>("simgcl", "LightGCN, and noise under which a node should look alike.")
    .defaults("as in the paper for Yelp2018, but for 100 epochs."),
    ModelDef::of::<XSimGclParams>("xsimgcl", "LightGCN with noise, whose embeddings should look like one of its layers.")
    .defaults("as in the paper for Yelp2018, but for 100 epochs."),
    ModelDef::of::<MultVaeParams>(
        "mult-vae",
        "A variational autoencoder of users with a multinomial likelihood.",
    ),
    ModelDef::of::<GatParams>("gat", "Attention on the user-item graph, ratings as edge features.")
    .defaults("layers and edges of the paper of Ebrat et al. 2025, otherwise not tuned; 0.133, and 0.189 with `baselines/gat.yaml`: search them, or use that file."),
    ModelDef::of::<P4rParams>("p4r", "LightGCN whose items also send the texts of their profiles.")
    .defaults("the paper's where it prints them, RecBole's elsewhere; not tuned."),
    ModelDef::of::<ReviewGnnParams>("review-gnn", "A graph of purchases whose second layer receives the reviews.")
    .defaults("none is published: common values, not tuned."),
];

/// What accompanies a fit: the seed, how to say how far it is, and when to stop.
pub struct FitContext<'a> {
    pub seed: u64,
    /// What of a user's training part the model goes by.
    pub history: History,
    /// Vectors of texts about users and items, where the model asks for them.
    pub features: Option<&'a Features>,
    /// Vectors of the reviews of training interactions, where the model asks for them.
    pub reviews: Option<&'a ReviewVectors>,
    pub interrupt: &'a Interrupt,
    /// Called with (done, of) units of work, e.g. iterations; may be called from any thread.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// One line for the trial's log file.
    pub log: &'a (dyn Fn(&str) + Sync),
    /// A directory that outlives a killed fit, for checkpoints; it may not exist yet.
    pub scratch: Option<&'a Path>,
}

impl<'a> FitContext<'a> {
    /// For benchmarks and tests: nobody listens, users and items have no names.
    pub fn silent(seed: u64, interrupt: &'a Interrupt) -> Self {
        Self {
            seed,
            history: History::Rated,
            features: None,
            reviews: None,
            interrupt,
            progress: &|_, _| {},
            log: &|_| {},
            scratch: None,
        }
    }
}

/// A fitted model.
pub trait Recommender: Scorer {
    /// Whether there is anything in the user's vector; of models that are vectors of texts.
    fn has_vector(&self, _user: UserIx) -> bool {
        true
    }

    /// Writes what [`Model::load`] needs into the directory `dir`.
    fn save(&self, dir: &Path) -> Result<(), ModelError>;

    /// How it was trained up to the parameters that it has, where it was trained in epochs.
    fn training_path(&self) -> Option<TrainingPath> {
        None
    }

    /// What the fit says of itself, for the step's record; a loaded model has nothing to say.
    fn stats(&self) -> ModelStats {
        ModelStats::default()
    }
}

/// Epochs of a training, and the learning rate of each.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingPath {
    pub epochs: usize,
    pub rates: Vec<f64>,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{collections::BTreeSet, fs, sync::Arc};

    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::tasks::top_n::networks::TrainingStats;
    use crate::{
        base::yaml::{diagnostic::SourceFile, node::Node},
        data::{Interaction, Interactions, ItemIx, Relevance, TrainingData},
        text::Embeddings,
    };

    /// Data in which each user likes some items and has rated nothing else.
    pub(crate) fn liked(n_items: usize, by_user: &[&[u32]]) -> TrainingData {
        let rows: Vec<Interaction> = (0u32..)
            .zip(by_user)
            .flat_map(|(user, items)| items.iter().map(move |item| (user, *item)))
            .map(|(user, item)| Interaction {
                user: UserIx(user),
                item: ItemIx(item),
                rating: 1.0,
                timestamp: Default::default(),
            })
            .collect();
        let ratings = Interactions::new(by_user.len(), n_items, &rows);
        TrainingData {
            positives: ratings.clone(),
            disliked: None,
            validation: Interactions::new(by_user.len(), n_items, &[]),
            relevant: Relevance::Any,
            ratings,
        }
    }

    /// Values of tools/pin_linear.py, and the data that they are of: one more user likes each item and nothing else, so
    /// that the weights can be read off the scores.
    pub(super) fn linear() -> (Value, TrainingData) {
        let path = format!("{}/tests/golden/linear.json", env!("CARGO_MANIFEST_DIR"));
        let golden: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let lists: Vec<Vec<u32>> = from_value(golden["liked"].clone()).unwrap();
        let lists: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
        let data = liked(golden["items"].as_u64().unwrap() as usize, &lists);
        (golden, data)
    }

    /// What each item adds to every score: the scores of the last users of [`linear`].
    pub(super) fn weights(model: &dyn Recommender, data: &TrainingData) -> Vec<Vec<f32>> {
        let (n_users, n_items) = (data.positives.n_users(), data.positives.n_items());
        let users: Vec<UserIx> =
            (0..n_items).map(|item| UserIx((n_users - n_items + item) as u32)).collect();
        for (item, user) in (0u32..).zip(&users) {
            assert_eq!(data.positives.items_of(*user), [item]);
        }
        let mut scores = vec![f32::NAN; n_items * n_items];
        model.score(&users, &mut scores);
        scores.chunks(n_items).map(<[f32]>::to_vec).collect()
    }

    const USERS: usize = 30;
    const ITEMS: usize = 20;

    fn data() -> TrainingData {
        let rows: Vec<Interaction> = (0..USERS as u32)
            .flat_map(|user| {
                (0..3 + user % 7).map(move |at| Interaction {
                    user: UserIx(user),
                    item: ItemIx((user * 3 + at * at + at) % ITEMS as u32),
                    rating: (1 + (user + at) % 5) as f32,
                    timestamp: Default::default(),
                })
            })
            .collect();
        let rows: Vec<Interaction> = rows
            .iter()
            .enumerate()
            .filter(|(at, row)| {
                !rows[..*at].iter().any(|o| (o.user, o.item) == (row.user, row.item))
            })
            .map(|(_, row)| *row)
            .collect();
        let ratings = Interactions::new(USERS, ITEMS, &rows);
        TrainingData {
            positives: ratings.filter(|row| row.rating >= 3.0),
            disliked: Some(ratings.filter(|row| row.rating <= 2.0)),
            validation: Interactions::new(USERS, ITEMS, &[]),
            relevant: Relevance::AtLeast(3.0),
            ratings,
        }
    }

    /// The least settings that each model takes.
    fn settings(model: &ModelDef) -> Node {
        let schema = model.schema(&mut schemars::SchemaGenerator::default()).to_value();
        let text = match (schema["properties"]["training"].is_object(), model.name) {
            (true, "als") => "training: {epochs: 1}",
            (true, "p4r") => "{text: {profiles: a}, training: {epochs: 1, device: cpu}}",
            (true, "mult-vae") => "{hidden: [16], latent: 4, training: {epochs: 1, device: cpu}}",
            (true, _) => "training: {epochs: 1, device: cpu}",
            (_, "content") => "text: {profiles: a}",
            _ => "{}",
        };
        let file = SourceFile { path: "x.yaml".into(), text: text.into() };
        Node::parse(&Arc::new(file)).unwrap()
    }

    #[test]
    fn every_model_leaves_its_files_and_scores_the_same_when_loaded_and_with_any_threads() {
        let data = data();
        let values = |n: usize| (0..4 * n).map(|at| (at * 7 % 11) as f32 / 11.0).collect();
        let features = Features {
            dim: 4,
            users: values(USERS),
            items: values(ITEMS),
            users_without_text: 0,
            items_without_text: 0,
        };
        let n = data.ratings.len();
        let vectors = (0..3 * n).map(|at| (at as f32 * 0.3).sin()).collect();
        let reviews = Embeddings { dim: 3, vectors, present: vec![true; n] };
        let reviews = ReviewVectors::new(&data.ratings, reviews);
        let interrupt = Interrupt::default();
        let context = FitContext {
            features: Some(&features),
            reviews: Some(&reviews),
            ..FitContext::silent(1, &interrupt)
        };
        let users: Vec<UserIx> = (0..USERS as u32).map(UserIx).collect();
        let scores = |model: &dyn Recommender| {
            let mut scores = vec![f32::NAN; USERS * ITEMS];
            model.score(&users, &mut scores);
            scores
        };
        for def in MODELS {
            let spec = def.read(&settings(def)).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let fitted = spec.fit(&data, &context).unwrap();
            fitted.save(dir.path()).unwrap();
            for file in spec.files() {
                assert!(dir.path().join(file).is_file(), "{}: {file}", def.name);
            }
            let is_empty = fs::read_dir(dir.path()).unwrap().next().is_none();
            assert_eq!(spec.files().is_empty(), is_empty, "{}", def.name);
            let (before, after) =
                (scores(&*fitted), scores(&*spec.load(dir.path(), &data, &context).unwrap()));
            assert_eq!(before, after, "{}", def.name);
            assert!(before.iter().all(|score| score.is_finite()), "{}", def.name);
            let size = Size { users: USERS, items: ITEMS, ratings: data.ratings.len() };
            assert!(spec.memory(size) > 0, "{}", def.name);
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let same = pool.install(|| scores(&*spec.fit(&data, &context).unwrap()));
                assert_eq!(before, same, "{} with {threads} threads", def.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_come_first_in_the_json() {
        let names: BTreeSet<&str> = MODELS.iter().map(|model| model.name).collect();
        assert_eq!(names.len(), MODELS.len());
        for def in MODELS {
            let spec = def.read(&settings(def)).unwrap();
            let json = serde_json::to_value(&spec).unwrap();
            let first = json.as_object().unwrap().iter().next().unwrap();
            assert_eq!((first.0.as_str(), first.1.as_str()), ("model", Some(def.name)));
        }
    }

    #[test]
    fn training_statistics_are_fields_of_the_record_and_unreadable_ones_are_an_error() {
        let training = TrainingStats { epochs: 3, kept_epoch: 2, ..TrainingStats::default() };
        let stats = ModelStats { training: Some(training) };
        let json = json!(stats);
        assert_eq!((&json["epochs"], &json["kept_by"]), (&json!(3), &json!("last")));
        assert_eq!(from_value::<ModelStats>(json).unwrap(), stats);
        assert_eq!(json!(ModelStats::default()), json!({}));
        assert_eq!(from_value::<ModelStats>(json!({"positives": 7})).unwrap().training, None);
        assert!(from_value::<ModelStats>(json!({"epochs": "three"})).is_err());
    }
}
