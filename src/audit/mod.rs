//! Checks of a finished experiment, as a careful reviewer would make them. One file a check.
//!
//! A check reads the record of the experiment and its steps in the workspace, and says what it found in numbers. It
//! trains nothing. [`CHECKS`] is the only list.

mod ablation;
mod baselines;
mod check;
mod columns;
mod evaluation;
mod fields;
mod integrity;
mod language_models;
mod leakage;
pub mod runs;
mod statistics;
mod subject;
mod threads;
mod words;

pub use check::{Check, Family, Finding, Outcome, Severity};
pub use runs::Runs;
pub use subject::Subject;

use serde::Serialize;

use crate::tasks::AuditSpec;

/// All checks, by family, in the order of reports.
pub const CHECKS: &[&Check] = &[
    &integrity::missing_results::CHECK,
    &integrity::damaged_artifacts::CHECK,
    &integrity::recomputed_metrics::CHECK,
    &integrity::out_of_range::CHECK,
    &integrity::not_monotone::CHECK,
    &integrity::reranked_beyond_pool::CHECK,
    &integrity::identical_rankings::CHECK,
    &integrity::dirty_tree::CHECK,
    &leakage::train_test_overlap::CHECK,
    &leakage::test_in_two_folds::CHECK,
    &leakage::duplicate_interactions::CHECK,
    &leakage::future_training::CHECK,
    &leakage::profiles_name_test_items::CHECK,
    &leakage::copied_reviews::CHECK,
    &leakage::id_order_answers::CHECK,
    &leakage::id_popularity::CHECK,
    &ablation::impure_contrast::CHECK,
    &ablation::undeclared_ablation::CHECK,
    &baselines::untuned_baselines::CHECK,
    &baselines::missing_baselines::CHECK,
    &baselines::fixed_setting_beaten::CHECK,
    &baselines::unequal_training_data::CHECK,
    &baselines::stops_on_training_loss::CHECK,
    &baselines::ran_out_of_epochs::CHECK,
    &baselines::far_from_published::CHECK,
    &statistics::single_fold::CHECK,
    &statistics::single_seed::CHECK,
    &statistics::few_users::CHECK,
    &statistics::different_users::CHECK,
    &statistics::best_within_noise::CHECK,
    &statistics::uncorrected_comparisons::CHECK,
    &statistics::claims_underpowered::CHECK,
    &statistics::too_few_folds::CHECK,
    &evaluation::lists_of_another_fold::CHECK,
    &evaluation::relevant_items_in_every_list::CHECK,
    &evaluation::known_items::CHECK,
    &evaluation::short_lists::CHECK,
    &evaluation::order_by_setting::CHECK,
    &evaluation::sampled_metrics::CHECK,
    &evaluation::users_without_history::CHECK,
    &evaluation::ties_decide::CHECK,
    &language_models::ground_truth_in_prompt::CHECK,
    &language_models::temperature_without_repeats::CHECK,
    &language_models::floating_model_name::CHECK,
    &language_models::bad_responses::CHECK,
    &language_models::items_in_no_batch::CHECK,
    &language_models::scored_once::CHECK,
    &language_models::position_bias::CHECK,
    &language_models::gain_over_controls::CHECK,
    &language_models::cost_not_recorded::CHECK,
];

/// A check of folds and lists alone.
type OfRuns = fn(&Runs) -> Outcome;

/// The checks that need no experiment: they can be made of files, too.
const OF_FILES: &[(&Check, OfRuns)] = &[
    (&integrity::identical_rankings::CHECK, integrity::identical_rankings::of_runs),
    (&leakage::train_test_overlap::CHECK, leakage::train_test_overlap::of_runs),
    (&leakage::test_in_two_folds::CHECK, leakage::test_in_two_folds::of_runs),
    (&leakage::duplicate_interactions::CHECK, leakage::duplicate_interactions::of_runs),
    (&leakage::future_training::CHECK, leakage::future_training::of_runs),
    (&leakage::id_order_answers::CHECK, leakage::id_order_answers::of_runs),
    (&leakage::id_popularity::CHECK, leakage::id_popularity::of_runs),
    (&evaluation::lists_of_another_fold::CHECK, evaluation::lists_of_another_fold::of_runs),
    (
        &evaluation::relevant_items_in_every_list::CHECK,
        evaluation::relevant_items_in_every_list::of_runs,
    ),
    (&evaluation::known_items::CHECK, evaluation::known_items::of_runs),
    (&evaluation::short_lists::CHECK, evaluation::short_lists::of_runs),
    (&evaluation::ties_decide::CHECK, evaluation::ties_decide::of_runs),
];

/// The check with this id.
pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.iter().copied().find(|check| check.id == id)
}

/// What a check gave, and which of its findings are accepted.
pub struct Checked {
    pub check: &'static Check,
    pub outcome: Outcome,
    /// By finding, the reason to accept it.
    pub accepted: Vec<Option<String>>,
}

impl Checked {
    /// Findings that nobody accepted.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings().filter(|(_, reason)| reason.is_none()).map(|(finding, _)| finding)
    }

    /// All findings, with the reason to accept them.
    pub fn findings(&self) -> impl Iterator<Item = (&Finding, Option<&str>)> {
        let reasons = self.accepted.iter().map(Option::as_deref);
        self.outcome.findings().iter().zip(reasons)
    }
}

/// Numbers of an audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub checks: usize,
    /// Checks without a finding.
    pub passed: usize,
    pub not_applicable: usize,
    pub not_checked: usize,
    /// Open findings by severity.
    pub errors: usize,
    pub warnings: usize,
    pub notes: usize,
    pub accepted: usize,
}

impl Tally {
    pub fn of(checked: &[Checked]) -> Self {
        let mut tally = Self { checks: checked.len(), ..Self::default() };
        for of in checked {
            match &of.outcome {
                Outcome::NotApplicable(_) => tally.not_applicable += 1,
                Outcome::NotChecked(_) => tally.not_checked += 1,
                Outcome::Checked(findings) => tally.passed += usize::from(findings.is_empty()),
            }
            for (finding, reason) in of.findings() {
                match (reason, finding.severity.unwrap_or(of.check.severity)) {
                    (Some(_), _) => tally.accepted += 1,
                    (None, Severity::Error) => tally.errors += 1,
                    (None, Severity::Warning) => tally.warnings += 1,
                    (None, Severity::Note) => tally.notes += 1,
                }
            }
        }
        tally
    }
}

/// Runs checks on an experiment.
pub fn audit(subject: &Subject, checks: &[&'static Check]) -> Vec<Checked> {
    let spec = &subject.experiment.audit;
    let run = |check: &&'static Check| {
        let outcome = (check.run)(subject).unwrap_or_else(Outcome::NotChecked);
        let accept = |finding: &Finding| {
            let allowed = spec.allow.get(check.id)?;
            allowed.reason(&finding.subject).map(str::to_owned)
        };
        let accepted = outcome.findings().iter().map(accept).collect();
        Checked { check, outcome, accepted }
    };
    threads::each(checks, run)
}

/// Whether a check can be made of files.
pub fn is_of_files(check: &Check) -> bool {
    OF_FILES.iter().any(|(of, _)| of.id == check.id)
}

/// Runs those of the checks that need no experiment.
pub fn audit_files(runs: &Runs, checks: &[&'static Check]) -> Vec<Checked> {
    let of_files: Vec<_> =
        OF_FILES.iter().filter(|(of, _)| checks.iter().any(|check| check.id == of.id)).collect();
    threads::each(&of_files, |(check, of_runs)| {
        let outcome = of_runs(runs);
        let accepted = outcome.findings().iter().map(|_| None).collect();
        Checked { check, outcome, accepted }
    })
}

/// What is wrong with the key `audit:` of an experiment with these systems.
pub fn problems(spec: &AuditSpec, systems: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for id in spec.allow.keys().filter(|id| find(id).is_none()) {
        problems.push(format!(
            "`audit: allow: {id}`: there is no such check; `assay audit --list` lists them"
        ));
    }
    let is_system = |name: &str| systems.iter().any(|full| crate::tasks::names_system(name, full));
    let named = spec.proposed.iter().map(|name| ("proposed", name));
    let arms = spec.contrasts.iter().flat_map(|contrast| &contrast.arms);
    for (key, name) in named.chain(arms.map(|name| ("contrasts", name))) {
        if !is_system(name) {
            problems.push(format!(
                "`audit: {key}`: there is no system `{name}`; the systems are {}",
                systems.join(", ")
            ));
        }
    }
    for contrast in spec.contrasts.iter().filter(|of| of.arms.len() < 2 || of.factor.is_empty()) {
        problems.push(format!(
            "`audit: contrasts`: [{}] needs at least two arms and a factor",
            contrast.arms.join(", ")
        ));
    }
    problems
}
