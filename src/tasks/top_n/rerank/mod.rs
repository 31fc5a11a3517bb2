//! Rerankers: a judge is asked about the best candidates of a base system, in one of four ways, and its
//! order is fused with the base's (after Ebrat et al. 2025; where their paper and their code differ, the
//! variant says which of the two is meant).
//!
//! A strategy is how a judge is asked; each is a file. A judge is who is asked: a chat model, or one of the
//! controls that every claim about a chat model needs beside it.

mod batch;
mod bst;
mod chat;
pub mod explain;
mod fuse;
mod judge;
mod knowledge;
mod prompt;
mod relevancy;
mod spec;
mod trueskill;

use serde::{Deserialize, Serialize};

pub use chat::{ChatJudge, JudgeStats, Response, read_response};
pub use explain::ExplainSpec;
pub use judge::{Judge, Scored};
pub use knowledge::{Knowledge, sample_values};
pub use spec::{Fuse, FuseBy, JudgeName, RerankParams, Strategy, Variant};

use crate::{
    base::interrupt::Interrupt,
    data::UserIx,
    llm::LlmError,
    ranking::{List, Rankings},
};

/// What a strategy found for one user: the pool's items, best first, with what decided it (more is
/// better, one for each item).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    pub order: Vec<u32>,
    pub merit: Vec<f64>,
    /// Questions put to the judge.
    pub asked: usize,
    /// Comparisons that the judge decided, and those of them that the item named first won.
    pub decided: usize,
    pub first_wins: usize,
    /// Comparisons that were decided in swapped order too, and those that were won both times by the item
    /// named first, or both times by the one named second: the order decided, or chance.
    pub swapped: usize,
    pub first_twice: usize,
    pub second_twice: usize,
    /// Items that were in no batch.
    pub in_no_batch: usize,
}

/// What was asked about all users together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RerankCounts {
    /// Users whose lists were reranked.
    pub users: usize,
    pub questions: usize,
    /// Comparisons that the judge decided, and those of them that the item named first won.
    pub decided: usize,
    pub first_named_wins: usize,
    /// Comparisons that were decided in swapped order too, and those of them that came out otherwise: won
    /// both times by the item named first, or both times by the one named second.
    pub asked_again_swapped: usize,
    pub inconsistent: usize,
    pub first_named_wins_twice: usize,
    pub second_named_wins_twice: usize,
    pub items_in_no_batch: usize,
}

/// A user's list, and how it came about.
pub type One = (List, Judged);

/// What belongs to a user beside the items.
pub struct Asking<'a> {
    pub user: UserIx,
    pub judge: &'a dyn Judge,
    pub params: &'a RerankParams,
    pub seed: u64,
}

/// Reranks the lists of a base system, user by user, for those `chosen`; the lists go on after the pool as they were.
pub fn rerank(
    params: &RerankParams,
    base: &Rankings,
    chosen: &[bool],
    judge: &dyn Judge,
    seed: u64,
    interrupt: &Interrupt,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Rankings, RerankCounts), LlmError> {
    let judged = judge.each(base.lists.len(), progress, &|user| {
        interrupt.check()?;
        let Some(list) = &base.lists[user] else { return Ok(None) };
        if !chosen[user] {
            return Ok(Some((list.clone(), Judged::default())));
        }
        one(&Asking { user: UserIx(user as u32), judge, params, seed }, list).map(Some)
    })?;
    let mut total = Judged::default();
    for (_, judged) in judged.iter().flatten() {
        total.asked += judged.asked;
        total.decided += judged.decided;
        total.first_wins += judged.first_wins;
        total.swapped += judged.swapped;
        total.first_twice += judged.first_twice;
        total.second_twice += judged.second_twice;
        total.in_no_batch += judged.in_no_batch;
    }
    let counts = RerankCounts {
        users: chosen.iter().filter(|chosen| **chosen).count(),
        questions: total.asked,
        decided: total.decided,
        first_named_wins: total.first_wins,
        asked_again_swapped: total.swapped,
        inconsistent: total.first_twice + total.second_twice,
        first_named_wins_twice: total.first_twice,
        second_named_wins_twice: total.second_twice,
        items_in_no_batch: total.in_no_batch,
    };
    let lists = judged.into_iter().map(|of| of.map(|(list, _)| list)).collect();
    // Behind the pool the base's ties remain, and in the lists that were left as they were.
    let of_user = |user: usize| {
        let from = if chosen[user] { params.pool as u32 } else { 0 };
        base.tied_of(UserIx(user as u32)).iter().copied().filter(|rank| *rank >= from).collect()
    };
    let tied = (0..base.lists.len()).map(of_user).collect();
    Ok((Rankings { lists, tied }, counts))
}

fn one(asking: &Asking, list: &List) -> Result<One, LlmError> {
    let size = asking.params.pool.min(list.len());
    if size < 2 {
        return Ok((list.clone(), Judged::default()));
    }
    let (pool, rest) = list.split_at(size);
    let items: Vec<u32> = pool.iter().map(|(_, item)| *item).collect();
    let judged = judged(asking, &items)?;
    let order = fuse::fuse(asking.params, pool, &judged);
    let all = order.into_iter().chain(rest.iter().map(|(_, item)| *item));
    // What follows the order is a score again: higher is better, no ties.
    let length = list.len();
    let list = all.enumerate().map(|(at, item)| ((length - at) as f32, item)).collect();
    Ok((list, judged))
}

/// The strategy's order of these items.
fn judged(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    match asking.params.strategy {
        Strategy::Prompt => prompt::judge(asking, items),
        Strategy::Bst => bst::judge(asking, items),
        Strategy::Batch => batch::judge(asking, items),
        Strategy::Relevancy => relevancy::judge(asking, items),
    }
}
