//! Steps that rerank the lists of a base system.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    StepError,
    steps::{Shared, Voice},
    texts::{ANSWERS, FACTS},
};
use crate::{
    data::{TrainingPart, UserIx},
    eval::{Source, open_for_oracle, top_k},
    interrupt::Interrupt,
    model::{ModelError, ModelSpec, neural::mix, save_lists},
    plan::Step,
    rankings::Rankings,
    rerank::{ChatJudge, Judge, JudgeName, Knowledge, Prompts, Scored, rerank},
    store::{read_json, write_json},
    text::{ItemFacts, Profiles},
};

/// How far a base's lists go on after the pool.
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
        let base = self.fitted(fit, &training, voice)?;
        let base = base_lists(&base.source(), &training, self.interrupt)?;
        let mut facts = json!({});
        let (seed, interrupt) = (step.seed, self.interrupt);
        // The ceiling is what the judge could reach alone.
        let mut alone = params.clone();
        if params.judge == JudgeName::Oracle {
            alone.fuse.judge = 1.0;
        }
        let params = &alone;
        let n_users = training.users.len() as u32;
        let counts: Vec<usize> =
            (0..n_users).map(|user| training.train.items_of(UserIx(user)).len()).collect();
        let chosen = params.users.of(&counts);
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
            JudgeName::Shuffle => ask(&Scored(|user: UserIx, item: u32| {
                let draw = mix(mix(seed ^ mix(u64::from(user.0) + 1)) ^ u64::from(item));
                (draw >> 11) as f64 / (1u64 << 53) as f64 * 100.0
            }))?,
            JudgeName::Oracle => {
                let at = self.workspace.step_dir(split.kind.name(), &split.key);
                let (liked, opening) = open_for_oracle(&at, setting.data.relevant)?;
                facts["test_opened"] = json!(opening);
                ask(&Scored(|user: UserIx, item: u32| {
                    100.0 * f64::from(u8::from(liked.items_of(user).binary_search(&item).is_ok()))
                }))?
            }
            JudgeName::Chat(name) => {
                let at = |input: usize| {
                    let from = &self.plan.steps[step.inputs[input]];
                    self.workspace.step_dir(from.kind.name(), &from.key)
                };
                let items: Vec<ItemFacts> = read_json(&at(4).join(FACTS))?;
                let profiles = Profiles::read(&at(5))?;
                let knows = Knowledge {
                    users: &training.users,
                    items: &training.items,
                    user_profiles: &profiles,
                    facts: &items,
                    data: &data,
                    seed,
                };
                let asker = self.llm()?.asker(name, &setting.judge(name));
                let judge = ChatJudge::new(asker, Prompts::built_in(self.dirs)?, knows);
                let result = ask(&judge)?;
                facts["judge"] = judge.facts();
                write_json(&dir.join(ANSWERS), &judge.asker.tally().keys())?;
                result
            }
        };
        save_lists(&rankings, dir)?;
        facts["rerank"] = asked;
        Ok(facts)
    }
}

/// The best items of every user, those of training and validation left out.
fn base_lists(
    source: &Source,
    training: &TrainingPart,
    interrupt: &Interrupt,
) -> Result<Rankings, StepError> {
    let Source::Model(model) = source else {
        return Err(ModelError::Unsuitable("the base gives lists, not scores".into()).into());
    };
    let (seen, n_items) = (training.seen(), training.items.len());
    let users: Vec<UserIx> = (0..training.users.len() as u32).map(UserIx).collect();
    let mut rankings = Rankings { lists: Vec::with_capacity(users.len()) };
    let mut scores = vec![0.0; BATCH.min(users.len()) * n_items];
    for batch in users.chunks(BATCH) {
        interrupt.check()?;
        let scores = &mut scores[..batch.len() * n_items];
        model.score(batch, scores);
        for (user, scores) in batch.iter().zip(scores.chunks_mut(n_items.max(1))) {
            for item in seen.items_of(*user) {
                scores[*item as usize] = f32::NEG_INFINITY;
            }
            let mut top = Vec::new();
            top_k(scores, DEPTH, &mut top);
            rankings.lists.push(Some(top));
        }
    }
    Ok(rankings)
}
