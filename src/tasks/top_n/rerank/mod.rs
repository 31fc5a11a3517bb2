//! Rerankers: a judge ranks the best candidates of a base system with one of four strategies, and its order is fused with
//! that of the base (after Ebrat et al. 2025; their paper and their code differ, and the variant selects one of them).
//!
//! A strategy decides which questions a judge gets; each is a file. A judge is a chat model or one of the controls with
//! which every claim about a chat model must be compared.

mod batch;
mod bst;
mod chat;
mod context;
pub mod explain;
mod fuse;
mod judge;
mod prompt;
mod relevancy;
mod spec;
mod trueskill;

use serde::{Deserialize, Serialize};

pub use chat::{ChatJudge, JudgeStats, ParsedResponse, read_response};
pub use context::{JudgeContext, sample_values};
pub use explain::ExplainSpec;
pub use judge::{Judge, Scored};
pub use spec::{Fuse, FuseBy, JudgeName, RerankParams, Strategy, Variant};

use crate::{
    base::interrupt::Interrupt,
    data::UserIx,
    llm::LlmError,
    ranking::{List, Rankings},
};

/// The result of a strategy for one user: the items of the pool, best first, and a merit for each (higher is better).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    pub order: Vec<u32>,
    pub merit: Vec<f64>,
    /// Number of questions to the judge.
    pub questions: usize,
    /// Comparisons that the judge decided, and how many of them the first-named item won.
    pub decided: usize,
    pub first_wins: usize,
    /// Comparisons that were also decided in swapped order, and those in which both times the first-named item won, or
    /// both times the second-named: a position bias, or chance.
    pub swapped: usize,
    pub first_twice: usize,
    pub second_twice: usize,
    /// Items in no batch.
    pub in_no_batch: usize,
}

/// Counts over all users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RerankCounts {
    /// Users whose lists were reranked.
    pub users: usize,
    pub questions: usize,
    /// Comparisons that the judge decided, and how many of them the first-named item won.
    pub decided: usize,
    pub first_named_wins: usize,
    /// Comparisons that were also decided in swapped order, and those with a different winner: both times the first-named
    /// item, or both times the second-named.
    pub asked_again_swapped: usize,
    pub inconsistent: usize,
    pub first_named_wins_twice: usize,
    pub second_named_wins_twice: usize,
    pub items_in_no_batch: usize,
}

/// A user's reranked list, and the result of the strategy.
pub type RerankedList = (List, Judged);

/// The part of a user's reranking that does not depend on the items.
pub struct RerankRequest<'a> {
    pub user: UserIx,
    pub judge: &'a dyn Judge,
    pub params: &'a RerankParams,
    pub seed: u64,
}

/// Reranks the lists of a base system for the `chosen` users. Items after the pool keep their order.
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
        rerank_user(&RerankRequest { user: UserIx(user as u32), judge, params, seed }, list)
            .map(Some)
    })?;
    let mut total = Judged::default();
    for (_, judged) in judged.iter().flatten() {
        total.questions += judged.questions;
        total.decided += judged.decided;
        total.first_wins += judged.first_wins;
        total.swapped += judged.swapped;
        total.first_twice += judged.first_twice;
        total.second_twice += judged.second_twice;
        total.in_no_batch += judged.in_no_batch;
    }
    let counts = RerankCounts {
        users: chosen.iter().filter(|chosen| **chosen).count(),
        questions: total.questions,
        decided: total.decided,
        first_named_wins: total.first_wins,
        asked_again_swapped: total.swapped,
        inconsistent: total.first_twice + total.second_twice,
        first_named_wins_twice: total.first_twice,
        second_named_wins_twice: total.second_twice,
        items_in_no_batch: total.in_no_batch,
    };
    let lists = judged.into_iter().map(|of| of.map(|(list, _)| list)).collect();
    // The base's ties remain after the pool, and in lists that were not reranked.
    let of_user = |user: usize| {
        let from = if chosen[user] { params.pool as u32 } else { 0 };
        base.tied_of(UserIx(user as u32)).iter().copied().filter(|rank| *rank >= from).collect()
    };
    let tied = (0..base.lists.len()).map(of_user).collect();
    Ok((Rankings { lists, tied }, counts))
}

fn rerank_user(request: &RerankRequest, list: &List) -> Result<RerankedList, LlmError> {
    let size = request.params.pool.min(list.len());
    if size < 2 {
        return Ok((list.clone(), Judged::default()));
    }
    let (pool, rest) = list.split_at(size);
    let items: Vec<u32> = pool.iter().map(|(_, item)| *item).collect();
    let judged = judged(request, &items)?;
    let order = fuse::fuse(request.params, pool, &judged);
    let all = order.into_iter().chain(rest.iter().map(|(_, item)| *item));
    // Scores that follow the order: higher is better, no ties.
    let length = list.len();
    let list = all.enumerate().map(|(at, item)| ((length - at) as f32, item)).collect();
    Ok((list, judged))
}

/// The result of the strategy for these items.
fn judged(request: &RerankRequest, items: &[u32]) -> Result<Judged, LlmError> {
    match request.params.strategy {
        Strategy::Prompt => prompt::judge(request, items),
        Strategy::Bst => bst::judge(request, items),
        Strategy::Batch => batch::judge(request, items),
        Strategy::Relevancy => relevancy::judge(request, items),
    }
}
