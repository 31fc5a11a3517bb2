//! `bad-responses`

use super::{Exchange, NO_MODEL, Reranker, asking, rerankers};
use crate::{
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
    tasks::top_n::{
        rerank::Strategy,
        steps::{ProfilesStats, RerankStats},
    },
};

pub const CHECK: Check = Check {
    id: "bad-responses",
    family: Family::LanguageModels,
    severity: Severity::Warning,
    title: "Responses that are unusable, invent items or omit candidates",
    why: "Where a response cannot be used, the list is the base's, and where it omits items they keep their places: the \
          more of it, the less the row is that of the language model.",
    source: "Hou et al. 2024, Large Language Models are Zero-Shot Rankers for Recommender Systems",
    fix: "Ask for JSON with a schema (`structured: schema`), raise `max_tokens`, ask about fewer items at a time; report \
          the shares.",
    run,
};

/// Shares above this are warnings.
const MOST: f64 = 0.01;
/// Above this the system is not what its name says.
const TOO_MANY: f64 = 0.2;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut asked = false;
    for reranker in rerankers(subject)?.iter().filter(|of| of.uses_chat_model()) {
        let mut sums = [(0, 0); 5];
        for step in reranker.steps() {
            let stats: RerankStats = subject.stats(step)?;
            let Some(judge) = stats.judge else { continue };
            asked = true;
            let users = stats.rerank.users;
            for (sum, (part, of)) in sums.iter_mut().zip([
                (judge.unusable_responses, judge.responses),
                (judge.unknown_ids, judge.ids_in_responses),
                (judge.repeated_ids, judge.ids_in_responses),
                (judge.omitted_ids, judge.ids_requested),
                (judge.fallback_users, users),
            ]) {
                *sum = (sum.0 + part, sum.1 + of);
            }
        }
        let name = reranker.arm.name;
        let what = [
            ("unusable", "responses are unusable"),
            ("unknown", "ids in responses were not asked about"),
            ("repeated", "ids in responses are named again"),
            ("omitted", "ids asked about are omitted"),
            ("without_response", "users have no usable response"),
        ];
        for ((kind, text), (part, of)) in what.into_iter().zip(sums) {
            let found = share(name, kind, &format!("{text} of `{name}`"), part, of);
            findings.extend(
                found.map(|finding| {
                    finding.with("in_kept_responses", kept(subject, reranker, kind))
                }),
            );
        }
    }
    for step in asking(subject)? {
        if subject.experiment.steps[step.step].kind != "profiles" {
            continue;
        }
        asked = true;
        let stats: ProfilesStats = subject.stats(step.step)?;
        let of = stats.text.items.or(stats.text.users).unwrap_or(0);
        let part = stats.text.writing.map_or(0, |of| of.fallbacks);
        let label = &subject.experiment.steps[step.step].label;
        let text = format!("profiles of {label} are rule-based, for want of a usable response");
        findings.extend(share(label, "fallbacks", &text, part, of));
    }
    Ok(match asked {
        false => Outcome::NotApplicable(NO_MODEL.into()),
        true => Outcome::Checked(findings),
    })
}

/// The same counted in the responses that the workspace keeps; null where it keeps none, or that says nothing.
fn kept(subject: &Subject, reranker: &Reranker, kind: &str) -> Option<usize> {
    let count: fn(&Exchange) -> usize = match kind {
        "unusable" => |of| usize::from(of.named.is_none()),
        "unknown" => Exchange::unknown,
        "repeated" => Exchange::repeated,
        // One of two is to be named.
        "omitted" if reranker.params.strategy != Strategy::Bst => Exchange::omitted,
        _ => return None,
    };
    let mut n = 0;
    for step in reranker.steps() {
        let recorded = subject.recorded(step).ok()?;
        n += recorded.records.iter().filter_map(Exchange::of).map(|of| count(&of)).sum::<usize>();
    }
    Some(n)
}

fn share(subject: &str, kind: &'static str, text: &str, part: usize, of: usize) -> Option<Finding> {
    let share = part as f64 / of.max(1) as f64;
    let message = format!("{part} of {of} {text} ({:.1} %)", 100.0 * share);
    let finding = Finding::new(subject, message);
    let finding =
        finding.with("kind", kind).with("count", part).with("of", of).with("share", share);
    match share {
        share if share > TOO_MANY => Some(finding.as_severe_as(Severity::Error)),
        share if share > MOST => Some(finding),
        _ => None,
    }
}
