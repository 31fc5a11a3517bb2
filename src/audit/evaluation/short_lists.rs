//! `short-lists`

use crate::audit::{
    Check, Family, Finding, Outcome, Runs, Severity, Subject,
    runs::{Origin, UserList},
    words::percent,
};

pub const CHECK: Check = Check {
    id: "short-lists",
    family: Family::Evaluation,
    severity: Severity::Warning,
    title: "Lists that are shorter than the cutoff, and tested users without a list",
    why: "Missing ranks count as misses: the row is lower than what the system can do, and a tool that divides by the \
          length of the list, or leaves such users out, has another number.",
    source: "docs/EVALUATION.md, section Conventions: precision ÷ k or ÷ length of the list, and users without a ranking",
    fix: "Make longer lists, or compare the systems at a cutoff that all lists reach.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let mut findings = Vec::new();
    for (system, of_system) in runs.by_system() {
        let counts = of_system.iter().map(|run| {
            let k = runs.folds[run.fold].depth();
            // Nobody can fill a list with more than there is.
            let is_short = |of: &&UserList| of.has_list && of.length < k.min(of.candidates);
            let short: Vec<usize> = run.users.iter().filter(is_short).map(|of| of.length).collect();
            let without = run.users.iter().filter(|of| !of.has_list).count();
            (*run, k, short, without)
        });
        let Some((run, k, mut short, without)) =
            counts.max_by_key(|(_, _, short, without)| short.len() + without)
        else {
            continue;
        };
        let n = run.users.len();
        if !short.is_empty() {
            short.sort_unstable();
            let (shortest, median) = (short[0], short[short.len() / 2]);
            let message = format!(
                "{}: {} of {n} tested users ({}) have a list of fewer than {k} items (shortest {shortest}, median of \
                 these {median})",
                run.of_fold(runs),
                short.len(),
                percent(short.len(), n),
            );
            let finding =
                Finding::new(system, message).with("users", n).with("short_lists", short.len());
            findings.push(finding.with("k", k).with("shortest", shortest).with("median", median));
        }
        if without > 0 {
            let message = format!(
                "{}: {without} of {n} tested users ({}) have no list",
                run.of_fold(runs),
                percent(without, n)
            );
            let finding =
                Finding::new(system, message).with("users", n).with("without_list", without);
            // A model without a list follows the rule `fallback: none`.
            let by_rule = run.origin == Origin::Model;
            findings.push(if by_rule { finding.as_severe_as(Severity::Note) } else { finding });
        }
    }
    Outcome::Checked(findings)
}
