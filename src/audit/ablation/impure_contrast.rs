//! `impure-contrast`

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        columns::Arm,
        fields::{Difference, differences, of_model, texts},
    },
    core::Record,
    tasks::{Contrast, names_system, top_n::steps::FitStats},
};

pub const CHECK: Check = Check {
    id: "impure-contrast",
    family: Family::Ablation,
    severity: Severity::Error,
    title: "Arms of an ablation that differ in more than the factor, or not in it",
    why: "If two things change at once, nobody can say which of them made the difference.",
    source: "Lipton and Steinhardt 2019, Troubling Trends in Machine Learning Scholarship, section 3.2: sources of \
             empirical gains",
    fix: "Add an arm that differs in the factor alone, or name everything that differs in `audit: contrasts: factor`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let contrasts = &subject.experiment.audit.contrasts;
    if contrasts.is_empty() {
        return Ok(Outcome::NotApplicable("the experiment declares no `audit: contrasts`".into()));
    }
    // Settings can be compared before anything is trained.
    let arms = subject.planned_arms();
    let mut findings = Vec::new();
    for contrast in contrasts {
        let of = contrast.arms.iter().map(|name| arm(&arms, name));
        let of = of.collect::<Result<Vec<&Arm>, String>>()?;
        for second in &of[1..] {
            findings.extend(compared(subject, contrast, [of[0], second])?);
        }
    }
    Ok(Outcome::Checked(findings))
}

/// The one system that an arm names.
fn arm<'a, 'b>(arms: &'b [Arm<'a>], name: &str) -> Result<&'b Arm<'a>, String> {
    if let Some(arm) = arms.iter().find(|arm| arm.name == name) {
        return Ok(arm);
    }
    let named: Vec<&Arm> = arms.iter().filter(|arm| names_system(name, arm.name)).collect();
    match named[..] {
        [one] => Ok(one),
        _ => Err(format!(
            "the arm `{name}` may be any of {}: name one of them in `audit: contrasts`",
            named.iter().map(|arm| arm.name).collect::<Vec<_>>().join(", ")
        )),
    }
}

fn compared(
    subject: &Subject,
    contrast: &Contrast,
    arms: [&Arm; 2],
) -> Result<Option<Finding>, String> {
    let mut all = differences(arms[0].record, arms[1].record);
    all.extend(beyond_settings(subject, arms)?);
    let factor = &contrast.factor;
    // Settings of another model are the model's.
    if factor.iter().any(|of| of == "model") {
        all.retain(|of| of.field == "model" || of.values.iter().all(Option::is_some));
    }
    let (inside, beyond): (Vec<Difference>, Vec<Difference>) =
        all.into_iter().partition(|of| of.is_of(factor));
    let [first, second] = arms.map(|arm| arm.name);
    let named = factor.join(", ");
    let message = match (inside.is_empty(), beyond.is_empty()) {
        (false, true) => return Ok(None),
        (true, true) => {
            format!("`{first}` and `{second}` do not differ in {named}: they are the same")
        }
        (false, false) => format!(
            "`{first}` and `{second}` are to differ in {named} alone, and differ in {} too",
            texts(&beyond)
        ),
        (true, false) => format!(
            "`{first}` and `{second}` are to differ in {named}, and differ in {} instead",
            texts(&beyond)
        ),
    };
    Ok(Some(
        Finding::new(second, message)
            .with("arms", vec![first, second])
            .with("factor", factor.clone())
            .with("differences", beyond.iter().map(Difference::to_json).collect::<Vec<_>>()),
    ))
}

/// What differs between two arms beside their settings.
fn beyond_settings(subject: &Subject, arms: [&Arm; 2]) -> Result<Vec<Difference>, String> {
    let mut found = Vec::new();
    let mut add = |field: &str, values: [String; 2]| {
        if values[0] != values[1] {
            let [first, second] = values;
            found.push(Difference::new(field, first, second));
        }
    };
    let variants = arms.map(|arm| &subject.experiment.variants[arm.trials[0].variant]);
    add("data", variants.map(|of| format!("{} {}", of.data, of.data_digest.short())));
    add("relevant", variants.map(|of| of.rules.relevant.clone()));
    add("evaluation", variants.map(|of| of.settings.to_string()));
    let listed = |arm: &Arm, of: &dyn Fn(&crate::tasks::TrialRecord) -> String| -> String {
        let all: BTreeSet<String> = arm.trials.iter().map(|trial| of(trial)).collect();
        all.into_iter().collect::<Vec<_>>().join(" ")
    };
    add("folds", arms.map(|arm| listed(arm, &|trial| trial.fold.clone())));
    if arms.iter().all(|arm| arm.record.is_seeded) {
        add("seeds", arms.map(|arm| listed(arm, &|trial| trial.seed.to_string())));
    }
    let said = |arm: &Arm| {
        arm.record.learns_from.clone().unwrap_or_else(|| "the whole training part".into())
    };
    add("train_on", arms.map(said));
    let same_data = said(arms[0]) == said(arms[1]);
    let fits = [Fits::read(subject, arms[0])?, Fits::read(subject, arms[1])?];
    let shared = |of: &dyn Fn(&OfFit) -> Option<String>| -> Option<[String; 2]> {
        let folds = fits[0].0.iter().filter_map(|(place, fit)| {
            let values = [of(fit)?, of(fits[1].0.get(place)?)?];
            (values[0] != values[1]).then_some(values)
        });
        folds.into_iter().next()
    };
    for (field, of) in [
        ("split", &(|fit: &OfFit| Some(fit.split.clone())) as &dyn Fn(&OfFit) -> Option<String>),
        ("build of assay", &|fit: &OfFit| Some(fit.program.clone())),
        ("device", &|fit: &OfFit| fit.device.clone()),
        ("texts", &|fit: &OfFit| fit.texts.clone()),
    ] {
        // Other profiles are other texts: the settings say so.
        let text = |arm: &Arm| of_model(arm.record)["text"].clone();
        if field == "texts" && (text(arms[0]) != text(arms[1]) || text(arms[0]).is_null()) {
            continue;
        }
        found.extend(shared(of).map(|[first, second]| Difference::new(field, first, second)));
    }
    if same_data {
        let positives = shared(&|fit: &OfFit| Some(fit.positives.to_string()));
        found.extend(
            positives.map(|[first, second]| Difference::new("training positives", first, second)),
        );
    }
    found.extend(epochs(&fits));
    Ok(found)
}

/// Mean epochs of networks whose number of epochs the validation metric did not choose.
fn epochs(fits: &[Fits; 2]) -> Option<Difference> {
    let mean = |fits: &Fits| -> Option<f64> {
        let epochs: Vec<f64> =
            fits.0.values().map(|fit| fit.epochs).collect::<Option<Vec<f64>>>()?;
        (!epochs.is_empty()).then(|| epochs.iter().sum::<f64>() / epochs.len() as f64)
    };
    let (first, second) = (mean(&fits[0])?, mean(&fits[1])?);
    let differs = (first - second).abs() > 0.1 * first.max(second);
    differs.then(|| Difference::new("epochs", round(first), round(second)))
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Finished fits of an arm by fold and seed.
struct Fits(BTreeMap<(String, u64), OfFit>);

struct OfFit {
    split: String,
    program: String,
    device: Option<String>,
    /// Keys of the steps that made its texts.
    texts: Option<String>,
    positives: usize,
    /// None where the validation metric chose them, or there are none.
    epochs: Option<f64>,
}

impl Fits {
    fn read(subject: &Subject, arm: &Arm) -> Result<Self, String> {
        let mut fits = BTreeMap::new();
        let validates = !of_model(arm.record)["training"]["validate"].is_null();
        for trial in &arm.trials {
            let is_done = subject.done.iter().any(|done| std::ptr::eq(*done, *trial));
            let Some(step) = trial.fit.filter(|_| is_done) else { continue };
            let record = subject.record(step)?;
            let stats: FitStats = subject.stats(step)?;
            let training = stats.model.training.as_ref();
            let of = OfFit {
                split: subject.experiment.steps[trial.split].key.short(),
                program: record.machine.program.clone(),
                device: training.map(|of| of.device.clone()),
                texts: texts_of(&record),
                positives: stats.positives,
                epochs: training.filter(|_| !validates).map(|of| of.kept_epoch as f64),
            };
            fits.insert((trial.fold.clone(), trial.seed), of);
        }
        Ok(Self(fits))
    }
}

/// Keys of the steps of its texts, short.
fn texts_of(record: &Record) -> Option<String> {
    let key = |name: &str| {
        let key = record.key_inputs.get(name).and_then(Value::as_str)?;
        Some(key.get(..10).unwrap_or(key).to_owned())
    };
    Some(format!("{} {}", key("text.items")?, key("text.users")?))
}
