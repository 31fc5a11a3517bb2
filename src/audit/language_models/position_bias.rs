//! `position-bias`

use std::collections::BTreeMap;

use super::{Exchange, Reranker, rerankers};
use crate::{
    analysis::{Estimate, binomial_p},
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
    tasks::top_n::{
        rerank::{Strategy, Variant},
        steps::RerankStats,
    },
};

pub const CHECK: Check = Check {
    id: "position-bias",
    family: Family::LanguageModels,
    severity: Severity::Warning,
    title: "Judges whose choice follows the order in which items are shown",
    why: "A judge that prefers what is shown first hands the base's order back. If items are shown in the base's order, \
          taste and position cannot be told apart.",
    source: "Hou et al. 2024, Large Language Models are Zero-Shot Rankers for Recommender Systems; Wang et \
             al. 2024, Large Language Models are not Fair Evaluators",
    fix: "Compare with `judge: shuffle` and with `strategy: relevancy`, which shows items in random order; ask `bst` to \
          repeat comparisons in swapped order (`recheck`).",
    run,
};

const ALPHA: f64 = 0.01;
/// Of items shown in random order: correlations below are of no consequence.
const LEAST_TAU: f64 = 0.1;
/// Of items in the base's order: the judge hands the list back.
const SAME: f64 = 0.9;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let all = rerankers(subject)?;
    let chats: Vec<&Reranker> = all.iter().filter(|of| of.uses_chat_model()).collect();
    if chats.is_empty() {
        return Ok(Outcome::NotApplicable("no reranker asks a chat model".into()));
    }
    let mut findings = Vec::new();
    for reranker in chats {
        findings.extend(match reranker.params.strategy {
            Strategy::Bst => of_swapped(subject, reranker)?,
            _ => of_ranks(subject, reranker)?,
        });
    }
    Ok(Outcome::Checked(findings))
}

/// Comparisons asked in both orders: those in which the order decided, and which item it favoured.
fn of_swapped(subject: &Subject, reranker: &Reranker) -> Result<Option<Finding>, String> {
    let (mut first, mut second, mut swapped) = (0, 0, 0);
    for step in reranker.steps() {
        let counts = subject.stats::<RerankStats>(step)?.rerank;
        first += counts.first_named_wins_twice;
        second += counts.second_named_wins_twice;
        swapped += counts.asked_again_swapped;
    }
    let (n, most) = (first + second, first.max(second));
    let Some(p) = binomial_p(most, n, 0.5).map(|p| (2.0 * p).min(1.0)) else { return Ok(None) };
    if n == 0 || p >= ALPHA {
        return Ok(None);
    }
    let name = reranker.arm.name;
    let favoured = if first > second { "first" } else { "second" };
    let message = format!(
        "`{name}` favours the item named {favoured}: of {swapped} comparisons asked in both orders, {first} were won by \
         the first both times and {second} by the second ({})",
        crate::audit::statistics::p_text(p)
    );
    Ok(Some(
        Finding::new(name, message)
            .with("swapped", swapped)
            .with("first_twice", first)
            .with("second_twice", second)
            .with("p", p),
    ))
}

/// Correlation of the rank shown and the rank answered, a mean for each user.
fn of_ranks(subject: &Subject, reranker: &Reranker) -> Result<Option<Finding>, String> {
    let name = reranker.arm.name;
    let mut by_user: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for step in reranker.steps() {
        for record in &subject.recorded(step)?.records {
            let Some(exchange) = Exchange::of(record) else { continue };
            if let Some(tau) = exchange.position_tau() {
                by_user.entry(exchange.user).or_default().push(tau);
            }
        }
    }
    let means: Vec<f64> =
        by_user.values().map(|of| of.iter().sum::<f64>() / of.len() as f64).collect();
    let Some(estimate) = Estimate::of(&means) else { return Ok(None) };
    let Some(p) = estimate.p() else { return Ok(None) };
    let Estimate { mean, n, .. } = estimate;
    let is_random = (reranker.params.strategy, reranker.params.variant)
        == (Strategy::Relevancy, Variant::Paper);
    if p >= ALPHA || mean.abs() < LEAST_TAU {
        return Ok(None);
    }
    let direction = if mean > 0.0 { "ahead" } else { "behind" };
    let (of, severity) = match is_random {
        true => ("in random order", Severity::Warning),
        false if mean >= SAME => ("in the base's order, which it hands back", Severity::Warning),
        false if mean < 0.0 => ("in the base's order", Severity::Warning),
        false => {
            ("in the base's order, so that taste and position cannot be told apart", Severity::Note)
        }
    };
    let p_text = crate::audit::statistics::p_text(p);
    let message = format!(
        "`{name}` puts what is shown first {direction}: τ = {mean:.3} of rank shown and rank answered over {n} users \
         ({p_text}); items are shown {of}"
    );
    Ok(Some(
        Finding::new(name, message)
            .with("tau", mean)
            .with("users", n)
            .with("p", p)
            .with("random_order", is_random)
            .as_severe_as(severity),
    ))
}
