//! Steps that rerank the lists of a base system.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    StepError,
    steps::{Shared, Voice},
    texts::{ANSWERS, FACTS},
};
use crate::{
    base::{
        files::{FileError, read_json, write_json},
        hash::Digest,
        interrupt::Interrupt,
        random::mix,
    },
    data::{TrainingData, TrainingPart, UserIx},
    ranking::{
        Protocol, Rankings, Source, TELLING_SHARE, Ties, open_for_oracle, score_finite, top_k_by,
    },
    tasks::top_n::{
        external,
        models::{ModelError, ModelSpec},
        plan::{Step, StepKind},
        rerank::{
            ChatJudge, Fuse, FuseBy, Judge, JudgeName, Knowledge, RerankParams, Scored, explain,
            rerank,
        },
    },
    text::{ItemFacts, Profiles},
};

/// How far a base's lists go on after the pool, unless all test items are to be ranked.
const DEPTH: usize = 1000;
/// Users scored at a time.
const BATCH: usize = 256;

impl Shared<'_> {
    /// Reranks the lists of the base's fit step.
    pub(super) fn rerank(
        &self,
        step: &Step,
        dir: &Path,
        voice: &Voice,
    ) -> Result<Value, StepError> {
        let ModelSpec::Rerank(params) = self.model(step) else {
            return Err(StepError::Panic("a rerank step of something else".into()));
        };
        let setting = &self.experiment.settings[step.setting];
        let (split, fit) = (&self.plan.steps[step.inputs[0]], &self.plan.steps[step.inputs[1]]);
        let training = self.training(step)?;
        let data = training.training_data(setting.data.relevant, setting.data.disliked);
        let fitted = self.fitted(fit, &training, voice)?;
        let known = self.known_users(step, fit, &fitted, &training, voice)?;
        let with_fallback = self.with_fallback(step, &fitted, known.as_deref(), &training);
        let base = with_fallback.as_ref().map_or(fitted.source(), |model| Source::Model(model));
        let whole = setting.evaluate.protocols.contains(&Protocol::Judged);
        let depth = if whole { usize::MAX } else { DEPTH };
        let ties = setting.evaluate.ties;
        let base = base_lists(&base, &training, (depth, ties), self.interrupt)?;
        let mut facts = json!({});
        let (seed, interrupt) = (step.seed, self.interrupt);
        // The upper bound is what the judge could reach alone.
        let mut alone = params.clone();
        if params.judge == JudgeName::Oracle {
            alone.fuse = Some(Fuse { judge: 1.0, by: FuseBy::Rank });
        }
        let params = &alone;
        let chosen = params.users.members(&training.counts());
        let ask = |judge: &dyn Judge| {
            rerank(params, &base, &chosen, judge, seed, interrupt, voice.progress)
        };
        let (rankings, asked) = match &params.judge {
            JudgeName::Encoder => {
                let features = self.features(step, &data.positives)?;
                let features =
                    features.ok_or_else(|| StepError::Panic("no vectors of texts".into()))?;
                let dim = features.dim;
                ask(&Scored(|user: UserIx, item: u32| {
                    let user = &features.users[user.at() * dim..][..dim];
                    let item = &features.items[item as usize * dim..][..dim];
                    let cosine: f32 = user.iter().zip(item).map(|(a, b)| a * b).sum();
                    50.0 * (1.0 + f64::from(cosine))
                }))?
            }
            JudgeName::Popularity => {
                let counts = data.positives.item_counts();
                let most = counts.iter().copied().max().unwrap_or(1).max(1);
                ask(&Scored(|_: UserIx, item: u32| {
                    100.0 * f64::from(counts[item as usize]) / f64::from(most)
                }))?
            }
            JudgeName::Shuffle => {
                // Every strategy and fold draws for itself: one lucky draw is not all random rerankers.
                let of = Digest::of(format!("{} {} {seed}", params.strategy.name(), step.fold));
                let seed = of.as_u64();
                ask(&Scored(|user: UserIx, item: u32| {
                    let draw = mix(mix(seed ^ mix(u64::from(user.0) + 1)) ^ u64::from(item));
                    (draw >> 11) as f64 / (1u64 << 53) as f64 * 100.0
                }))?
            }
            JudgeName::Oracle => {
                let at = self.workspace.step_dir(split.kind.name(), &split.key);
                let (judgement, opening) = open_for_oracle(&at, setting.data.relevant)?;
                facts["test_opened"] = json!(opening);
                ask(&Scored(|user: UserIx, item: u32| judgement.worth(user, item)))?
            }
            JudgeName::Chat(name) => {
                let texts = self.known(step)?;
                let asker = self.llm()?.asker(name, &setting.judge(name));
                let prompt = params.read_prompt(self.dirs)?;
                let judge = ChatJudge::new(asker, prompt, texts.knowledge(&training, &data, seed));
                let result = ask(&judge)?;
                facts["judge"] = judge.facts();
                write_json(&dir.join(ANSWERS), &judge.asker.tally().keys())?;
                result
            }
        };
        let on_edge = (0..base.lists.len())
            .filter(|user| chosen[*user])
            .filter(|user| base.tied[*user].binary_search(&(params.pool as u32 - 1)).is_ok())
            .count();
        external::save(&rankings, dir)?;
        facts["rerank"] = asked;
        facts["pools_decided_by_ties"] = json!(on_edge);
        let of_base = self.workspace.record(fit.kind.name(), &fit.key).ok();
        let of_base = of_base.and_then(|record| record.facts["warnings"].as_array().cloned());
        let mut warnings = of_base.unwrap_or_default();
        let asked_of = chosen.iter().filter(|chosen| **chosen).count();
        if on_edge as f64 > TELLING_SHARE * asked_of as f64 {
            warnings.push(json!(format!(
                "a tie decides which items are in the pool of {} for {on_edge} of {asked_of} users ({})",
                params.pool,
                ties.rule()
            )));
        }
        // A judge who reads no text cannot be told too much.
        if step.inputs.len() > 2 {
            warnings.extend(self.leak(step).map(Value::from));
        }
        warnings.dedup();
        if !warnings.is_empty() {
            facts["warnings"] = json!(warnings);
        }
        Ok(facts)
    }

    /// Explains the best of the lists of a rerank step.
    pub(super) fn explain(
        &self,
        step: &Step,
        dir: &Path,
        voice: &Voice,
    ) -> Result<Value, StepError> {
        let ModelSpec::Rerank(RerankParams { judge, pool, users, explain: Some(spec), .. }) =
            self.model(step)
        else {
            return Err(StepError::Panic("an explain step of something else".into()));
        };
        let setting = &self.experiment.settings[step.setting];
        let training = self.training(step)?;
        let data = training.training_data(setting.data.relevant, setting.data.disliked);
        let reranked = self.fitted(&self.plan.steps[step.inputs[1]], &training, voice)?;
        let Source::Lists(lists) = reranked.source() else {
            return Err(StepError::Panic("a reranker without lists".into()));
        };
        let counts = training.counts();
        let of_all = users.members(&counts);
        let chosen = spec.users.members(&counts).into_iter().zip(of_all);
        let chosen: Vec<bool> = chosen.map(|(to_her, hers)| to_her && hers).collect();
        let texts = self.known(step)?;
        let knows = texts.knowledge(&training, &data, step.seed);
        let mut facts = json!({"users": chosen.iter().filter(|chosen| **chosen).count()});
        let written = match judge {
            JudgeName::Chat(name) => {
                let asker = self.llm()?.asker(name, &setting.judge(name));
                let writer = ChatJudge::new(asker, spec.read_prompt(self.dirs)?, knows);
                let written = writer.asker.each(lists.lists.len(), voice.progress, &|at| {
                    self.interrupt.check()?;
                    let list = lists.lists[at].as_ref().filter(|_| chosen[at]);
                    let Some(list) = list else { return Ok(Vec::new()) };
                    let items: Vec<u32> = list.iter().take(*pool).map(|(_, item)| *item).collect();
                    writer.explain(UserIx(at as u32), &items, spec.top)
                })?;
                facts["judge"] = writer.facts();
                write_json(&dir.join(ANSWERS), &writer.asker.tally().keys())?;
                Some(written)
            }
            _ => None,
        };
        let explained =
            explain::explain(judge, lists, &chosen, spec.top, written.as_deref(), &knows);
        facts["checks"] = explain::summary(&explained);
        let failed = |source| FileError::Io { path: dir.to_owned(), source };
        explain::write(&explained, &knows, dir).map_err(failed)?;
        Ok(facts)
    }

    /// Texts of items and of users, from the steps that made them.
    fn known(&self, step: &Step) -> Result<Known, StepError> {
        let inputs = step.inputs.iter().map(|input| &self.plan.steps[*input]);
        let from: Vec<PathBuf> = inputs
            .filter(|input| input.kind == StepKind::Profiles)
            .map(|input| self.workspace.step_dir(input.kind.name(), &input.key))
            .collect();
        let [items, users] = &from[..] else {
            return Err(StepError::Panic("no texts for a judge who reads them".into()));
        };
        Ok(Known {
            facts: read_json(&items.join(FACTS))?,
            items: Profiles::read(items)?,
            users: Profiles::read(users)?,
        })
    }
}

/// What a judge may be told of items and users.
struct Known {
    facts: Vec<ItemFacts>,
    items: Profiles,
    users: Profiles,
}

impl Known {
    fn knowledge<'a>(
        &'a self,
        training: &'a TrainingPart,
        data: &'a TrainingData,
        seed: u64,
    ) -> Knowledge<'a> {
        Knowledge {
            users: &training.users,
            items: &training.items,
            user_profiles: &self.users,
            item_profiles: &self.items,
            facts: &self.facts,
            data,
            seed,
            scale: data.scale(),
        }
    }
}

/// The best items of every user, those of training and validation left out.
fn base_lists(
    source: &Source,
    training: &TrainingPart,
    (depth, ties): (usize, Ties),
    interrupt: &Interrupt,
) -> Result<Rankings, StepError> {
    let Source::Model(model) = source else {
        return Err(ModelError::Unsuitable("the base gives lists, not scores".into()).into());
    };
    let (seen, n_items) = (training.seen(), training.items.len());
    let users: Vec<UserIx> = (0..training.users.len() as u32).map(UserIx).collect();
    let mut rankings = Rankings::default();
    let mut scores = vec![0.0; BATCH.min(users.len()) * n_items];
    for batch in users.chunks(BATCH) {
        interrupt.check()?;
        let scores = &mut scores[..batch.len() * n_items];
        let scored = score_finite(*model, batch, scores);
        scored.map_err(|error| error.with_names(&training.users, &training.items))?;
        for (user, scores) in batch.iter().zip(scores.chunks_mut(n_items.max(1))) {
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
