//! `ran-out-of-epochs`

use std::collections::BTreeSet;

use crate::{
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        columns::Arm,
        fields::{of_model, search},
    },
    core::Step,
    tasks::top_n::{
        search::read_trials,
        steps::{FitStats, SearchStep},
    },
};

pub const CHECK: Check = Check {
    id: "ran-out-of-epochs",
    family: Family::Baselines,
    severity: Severity::Warning,
    title: "Networks that were still getting better when their epochs were used up",
    why: "Such a network is not trained to its end. Its value is that of the epochs it was given.",
    source: "Goodfellow, Bengio and Courville 2016, Deep Learning, section 7.8: early stopping",
    fix: "Give it more `epochs:`, with early stopping on the validation part.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut measured = false;
    for arm in subject.arms() {
        let training = &of_model(arm.record)["training"];
        let (Some(limit), false) = (training["epochs"].as_u64(), training["validate"].is_null())
        else {
            continue;
        };
        measured = true;
        let every = training["validate"]["every"].as_u64().unwrap_or(1).max(1);
        // The last epoch that is measured.
        let last = (limit - limit % every) as usize;
        let best = best_epochs(subject, &arm)?;
        let at_end = best.iter().filter(|epoch| **epoch >= last).count();
        if at_end > 0 {
            let message = format!(
                "`{}` was best after the last measurement, in epoch {last} of {limit}, in {at_end} of {} fits",
                arm.name,
                best.len()
            );
            findings.push(
                Finding::new(arm.name, message)
                    .with("epochs", limit)
                    .with("fits", best.len())
                    .with("at_end", at_end),
            );
        }
    }
    Ok(match measured {
        false => Outcome::NotApplicable("no network is measured on a validation part".into()),
        true => Outcome::Checked(findings),
    })
}

/// The best epoch of every fit by the validation metric; of a search, that of the chosen trial of every fold.
fn best_epochs(subject: &Subject, arm: &Arm) -> Result<Vec<usize>, String> {
    let mut epochs = Vec::new();
    let fits: BTreeSet<usize> = arm.trials.iter().filter_map(|trial| trial.fit).collect();
    if search(arm.record).is_none() {
        for fit in fits {
            let stats: FitStats = subject.stats(fit)?;
            epochs.extend(stats.model.training.and_then(|of| of.best_epoch));
        }
        return Ok(epochs);
    }
    let steps = &subject.experiment.steps;
    let inputs = fits.iter().flat_map(|fit| &steps[*fit].inputs).copied();
    let searches: BTreeSet<usize> =
        inputs.filter(|step| steps[*step].kind == SearchStep::KIND).collect();
    for step in searches {
        let dir = subject.experiment.dir(subject.workspace, step);
        let trials = read_trials(&dir).map_err(|error| error.to_string())?;
        let chosen = trials.into_iter().find(|trial| trial.chosen);
        epochs.extend(chosen.and_then(|trial| trial.epochs));
    }
    Ok(epochs)
}
