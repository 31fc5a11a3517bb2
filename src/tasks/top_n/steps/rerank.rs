//! Steps that rerank the lists of a fitted model.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    PromptedEndpoint, RESPONSES, Written,
    learning::{features, memory_of},
    output::{Predictions as PredictionsDir, Profiles as ProfilesDir, Vectors},
    predict::FittedModel,
};
use crate::{
    base::{files::write_json, hash::Digest, interrupt::Interrupt, random::mix},
    core::{
        FinishedSteps, Found, Handle, KeyBuilder, Requests, Resources, RunContext, Shared, Step,
        StepError, StepStats,
    },
    data::{TrainingData, TrainingPart, UserIx},
    ranking::{
        EvalError, Opening, Predictions, Rankings, Scorer, Slice, TELLING_SHARE, Ties,
        open_for_oracle, score_finite, top_k_by,
    },
    tasks::top_n::{
        SystemSpec,
        rerank::{
            ChatJudge, Fuse, FuseBy, Judge, JudgeContext, JudgeName, JudgeStats, RerankCounts,
            RerankParams, Scored, rerank, sample_values,
        },
    },
};

/// How far a base's lists go on after the pool, unless all test items are to be ranked.
const DEPTH: usize = 1000;
/// Users scored at a time.
const BLOCK: usize = 256;

/// Reranks the best candidates of a fitted model.
pub struct RerankStep {
    pub label: String,
    pub params: RerankParams,
    pub base: FittedModel,
    pub seed: u64,
    pub ties: Ties,
    /// Whether lists are not cut: the order of all test items counts.
    pub whole_lists: bool,
    pub judge: JudgeInputs,
    pub warnings: Vec<String>,
}

/// What a judge goes by.
pub enum JudgeInputs {
    /// A chat model, with the texts of items and users.
    Chat { asked: Box<PromptedEndpoint>, items: Handle<ProfilesDir>, users: Handle<ProfilesDir> },
    /// The text encoder, with the vectors of these.
    Encoder([Handle<Vectors>; 2]),
    /// Popularity, chance or the oracle, which read no text.
    None,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerankStats {
    /// Of the oracle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_opened: Option<Opening>,
    /// Of chat models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeStats>,
    pub rerank: RerankCounts,
    /// Users for whom a tie decides which items are in the pool.
    pub pools_decided_by_ties: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl StepStats for RerankStats {
    const VERSION: u32 = 1;

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

impl Step for RerankStep {
    type Output = PredictionsDir;
    type Stats = RerankStats;

    const KIND: &'static str = "rerank";
    const REVISION: u32 = 5;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        // What is explained changes no list.
        let params = RerankParams { explain: None, ..self.params.clone() };
        let base = &self.base;
        key.value("model", SystemSpec::Rerank(Box::new(params)))
            .value("relevant", base.relevant)
            .value("disliked", base.disliked)
            .value("ties", self.ties)
            .value("seed", self.seed)
            .step("split", base.learning.split)
            .step("fit", base.model)
            .value("fallback", base.fallback);
        match &self.judge {
            JudgeInputs::Chat { asked, items, users } => {
                key.steps("text", &[*items, *users]);
                asked.key_inputs(key);
            }
            JudgeInputs::Encoder(vectors) => drop(key.steps("text", vectors)),
            JudgeInputs::None => {}
        }
        key.value_if(self.whole_lists, "whole_lists", true);
    }

    fn files(&self) -> Vec<&'static str> {
        Predictions::files(None)
    }

    fn resources(&self, finished: &dyn FinishedSteps) -> Resources {
        // The base's lists, their copies, and what the base holds beside them.
        let lists = |users: usize, items: usize| 24 * users * items.min(DEPTH);
        let of = &self.base.learning;
        let guess = |size: crate::tasks::top_n::models::Size| {
            of.system.memory(size) + (1 << 27) + lists(size.users, size.items) as u64
        };
        Resources { memory: memory_of(finished, of.split.id(), guess) }
    }

    fn preflight(&self, _: &Shared) -> Result<Found, StepError> {
        if let JudgeName::Chat(_) = &self.params.judge {
            let prompt = self.params.read_prompt(&self.base.learning.dirs)?;
            prompt.check(&sample_values(self.params.items_a_question(), None))?;
        }
        Ok(Found::default())
    }

    fn requests(&self, users: u64, _: u64) -> Option<Requests> {
        let JudgeName::Chat(endpoint) = &self.params.judge else { return None };
        let calls = self.params.questions(most(self.params.users, users));
        let items = self.params.items_a_question() as u64;
        Some(Requests {
            endpoint: endpoint.clone(),
            calls,
            tokens_per_call: 650 + 90 * items,
            in_batches: false,
        })
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<RerankStats, StepError> {
        let split = cx.dir(self.base.learning.split);
        let training = TrainingPart::read(&split)?;
        let data = training.training_data(self.base.relevant, self.base.disliked);
        let loaded = self.base.load(cx, &training)?;
        let depth = if self.whole_lists { usize::MAX } else { DEPTH };
        let base = self.base.with_fallback(&loaded, &training, |model| {
            base_lists(model, &training, (depth, self.ties), cx.interrupt())
        })?;
        let mut test_opened = None;
        let mut judge_stats = None;
        // The upper bound is what the judge could reach alone.
        let mut alone = self.params.clone();
        if alone.judge == JudgeName::Oracle {
            alone.fuse = Some(Fuse { judge: 1.0, by: FuseBy::Rank });
        }
        let params = &alone;
        let chosen = params.users.members(&training.counts());
        let ask = |judge: &dyn Judge| {
            rerank(params, &base, &chosen, judge, self.seed, cx.interrupt(), cx.progress)
        };
        let (rankings, counts) = match (&params.judge, &self.judge) {
            (JudgeName::Encoder, JudgeInputs::Encoder(vectors)) => {
                let features = features(cx, *vectors, &data.positives)?;
                let dim = features.dim;
                ask(&Scored(|user: UserIx, item: u32| {
                    let user = &features.users[user.at() * dim..][..dim];
                    let item = &features.items[item as usize * dim..][..dim];
                    let cosine: f32 = user.iter().zip(item).map(|(a, b)| a * b).sum();
                    50.0 * (1.0 + f64::from(cosine))
                }))?
            }
            (JudgeName::Popularity, _) => {
                let counts = data.positives.item_counts();
                let most = counts.iter().copied().max().unwrap_or(1).max(1);
                ask(&Scored(|_: UserIx, item: u32| {
                    100.0 * f64::from(counts[item as usize]) / f64::from(most)
                }))?
            }
            (JudgeName::Shuffle, _) => {
                // Every strategy and fold draws for itself: one lucky draw is not all random rerankers.
                let (strategy, fold) = (params.strategy.name(), &self.base.learning.fold);
                let seed = Digest::of(format!("{strategy} {fold} {}", self.seed)).as_u64();
                ask(&Scored(|user: UserIx, item: u32| {
                    let draw = mix(mix(seed ^ mix(u64::from(user.0) + 1)) ^ u64::from(item));
                    (draw >> 11) as f64 / (1u64 << 53) as f64 * 100.0
                }))?
            }
            (JudgeName::Oracle, _) => {
                let (judgement, opening) = open_for_oracle(&split, self.base.relevant)?;
                test_opened = Some(opening);
                ask(&Scored(|user: UserIx, item: u32| judgement.worth(user, item)))?
            }
            (JudgeName::Chat(_), JudgeInputs::Chat { asked, items, users }) => {
                let texts = Written::read(cx, *items, *users)?;
                let session = cx.llm()?.session(&asked.name, &asked.endpoint);
                let prompt = params.read_prompt(&self.base.learning.dirs)?;
                let knows = knowledge(&texts, &training, &data, self.seed);
                let judge = ChatJudge::new(session, prompt, knows);
                let result = ask(&judge)?;
                judge_stats = Some(judge.stats());
                write_json(&dir.join(RESPONSES), &judge.session.tally().keys())?;
                result
            }
            _ => return Err(StepError::Internal("a judge without its input".into())),
        };
        let on_edge = (0..base.lists.len())
            .filter(|user| chosen[*user])
            .filter(|user| base.tied[*user].binary_search(&(params.pool as u32 - 1)).is_ok())
            .count();
        Predictions::of_lists(rankings, loaded.known).write(dir)?;
        let mut warnings = cx.record(self.base.model)?.warnings;
        let asked_of = chosen.iter().filter(|chosen| **chosen).count();
        if on_edge as f64 > TELLING_SHARE * asked_of as f64 {
            warnings.push(format!(
                "ties decide which items are in the pool of {} for {on_edge} of {asked_of} users ({})",
                params.pool,
                self.ties.rule()
            ));
        }
        if let (Some(stats), JudgeName::Chat(endpoint)) = (&judge_stats, &params.judge) {
            warnings.extend(stats.warning(endpoint));
        }
        warnings.extend(self.warnings.iter().cloned());
        warnings.dedup();
        Ok(RerankStats {
            test_opened,
            judge: judge_stats,
            rerank: counts,
            pools_decided_by_ties: on_edge,
            warnings,
        })
    }
}

/// How many of so many users a slice has at most.
pub(super) fn most(slice: Slice, users: u64) -> u64 {
    match slice {
        Slice::Sample { n, .. } => users.min(n as u64),
        _ => users,
    }
}

/// What a judge may be told of items and users.
pub(super) fn knowledge<'a>(
    texts: &'a Written,
    training: &'a TrainingPart,
    data: &'a TrainingData,
    seed: u64,
) -> JudgeContext<'a> {
    JudgeContext {
        users: &training.users,
        items: &training.items,
        user_profiles: &texts.users,
        item_profiles: &texts.items,
        facts: &texts.facts,
        data,
        seed,
        scale: data.scale(),
    }
}

/// The best items of every user, those of training and validation left out.
fn base_lists(
    model: &dyn Scorer,
    training: &TrainingPart,
    (depth, ties): (usize, Ties),
    interrupt: &Interrupt,
) -> Result<Rankings, EvalError> {
    let (seen, n_items) = (training.seen(), training.items.len());
    let users: Vec<UserIx> = (0..training.users.len() as u32).map(UserIx).collect();
    let mut rankings = Rankings::default();
    let mut scores = vec![0.0; BLOCK.min(users.len()) * n_items];
    for block in users.chunks(BLOCK) {
        interrupt.check()?;
        let scores = &mut scores[..block.len() * n_items];
        let scored = score_finite(model, block, scores);
        scored.map_err(|error| error.with_names(&training.users, &training.items))?;
        for (user, scores) in block.iter().zip(scores.chunks_mut(n_items.max(1))) {
            for item in seen.items_of(*user) {
                scores[*item as usize] = f32::NEG_INFINITY;
            }
            let mut top = Vec::new();
            top_k_by(ties, *user, scores, depth.saturating_add(1), &mut top);
            let tied = top.windows(2).enumerate().filter(|(_, pair)| pair[0].0 == pair[1].0);
            rankings.tied.push(tied.map(|(rank, _)| rank as u32).collect());
            top.truncate(depth);
            // A user without a single candidate has no list.
            rankings.lists.push(Some(top).filter(|top| !top.is_empty()));
        }
    }
    Ok(rankings)
}
