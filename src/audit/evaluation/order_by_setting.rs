//! `order-by-setting`

use crate::{
    analysis::{
        Bootstrap, MEAN, PairedDraws, RankAgreement, ResultRow, main_cutoff, trials_by_system,
        units_of,
    },
    audit::{Check, Family, Finding, Outcome, Severity, Subject, threads},
    base::text::distinct,
    core::{Columns, MeasureKey},
    tasks::{TrialRecord, metric},
};

pub const CHECK: Check = Check {
    id: "order-by-setting",
    family: Family::Evaluation,
    severity: Severity::Warning,
    title: "Systems whose order depends on the protocol or convention",
    why: "Which system is better is then a choice of the evaluation, and a paper with one setting shows one of the \
          answers.",
    source: "Cañamares, Castells and Moffat 2020, Offline Evaluation Options for Recommender Systems",
    fix: "Report the settings side by side, and say which one the task asks for (`assay agreement`).",
    run,
};

const SHOWN: usize = 3;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut n_checked = 0;
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let trials: Vec<&TrialRecord> =
            subject.done.iter().copied().filter(|trial| trial.variant == at).collect();
        let names = distinct(trials.iter().map(|trial| &*trial.name));
        let rows: Vec<ResultRow> = subject
            .collected
            .rows
            .iter()
            .filter(|row| names.contains(&row.system))
            .cloned()
            .collect();
        let folds = distinct(trials.iter().map(|trial| &*trial.fold));
        let fold = if folds.len() > 1 { MEAN } else { folds.first().map_or(MEAN, |name| name) };
        let depth = main_cutoff(rows.iter().map(|row| row.k));
        let is_comparable = |name: &&String| {
            let info = metric(name);
            info.is_some_and(|info| info.best([1.0].into_iter()).is_some())
        };
        let named = variant.metrics.iter().find(|name| *name == "ndcg");
        let (Some(k), Some(metric)) =
            (depth, named.or_else(|| variant.metrics.iter().find(is_comparable)))
        else {
            continue;
        };
        let slice = variant.slices.iter().find(|slice| *slice == "all").or(variant.slices.first());
        let Some(slice) = slice else { continue };
        let place = (slice.as_str(), fold);
        let orders = |draws: &PairedDraws| RankAgreement::new(&rows, draws, metric, k, place);
        let Some(first) = orders(&PairedDraws::default()).filter(|orders| orders.systems.len() > 1)
        else {
            continue;
        };
        n_checked += 1;
        let swapping = first.inversions.iter().flat_map(|swap| [&swap.better, &swap.worse]);
        let swapping = distinct(swapping);
        if swapping.is_empty() {
            continue;
        }
        // Intervals are needed only of systems that swap ranks.
        let of_systems: Vec<_> = trials_by_system(&trials)
            .into_iter()
            .filter(|of| swapping.contains(&of[0].name))
            .collect();
        let wanted: Vec<MeasureKey> = variant
            .evaluations
            .iter()
            .filter(|of| of.k == k)
            .map(|of| MeasureKey {
                protocol: of.protocol.clone(),
                convention: of.convention.clone(),
                metric: metric.to_string(),
                k,
            })
            .collect();
        let read = |of: &Vec<&TrialRecord>| {
            units_of(of, subject.experiment, subject.workspace, Columns::Of(&wanted))
        };
        let mut draws = PairedDraws::default();
        for (of, units) in of_systems.iter().zip(threads::each(&of_systems, read)) {
            let units = units.map_err(|error| error.to_string())?;
            let is_wanted = |key: &MeasureKey| key.metric == *metric && key.k == k;
            draws.add(&of[0].name, &units, Bootstrap::default(), (fold, slice), &is_wanted);
        }
        let Some(orders) = orders(&draws) else { continue };
        let established: Vec<String> = orders
            .inversions
            .iter()
            .filter(|swap| swap.is_established())
            .map(|swap| orders.inversion_text(swap))
            .collect();
        if established.is_empty() {
            continue;
        }
        let pairs = orders.systems.len() * (orders.systems.len() - 1) / 2;
        let tau = orders.tau.iter().flatten().flatten().copied().reduce(f64::min);
        let message = format!(
            "{} of {pairs} pairs of systems swap ranks between settings, statistically significant ({}): {}{}",
            established.len(),
            orders.title(),
            established[..established.len().min(SHOWN)].join("; "),
            match established.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!("; and {more} more"),
            }
        );
        let finding = Finding::new(&variant.label, message).with("pairs", pairs);
        findings.push(finding.with("swaps", established.len()).with("least_tau", tau));
    }
    Ok(match n_checked {
        0 => Outcome::NotApplicable("there is one evaluation setting, or one system".into()),
        _ => Outcome::Checked(findings),
    })
}
