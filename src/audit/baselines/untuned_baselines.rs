//! `untuned-baselines`

use super::is_tunable;
use crate::audit::{
    Check, Family, Finding, Outcome, Severity, Subject, columns::Arm, fields::search,
};

pub const CHECK: Check = Check {
    id: "untuned-baselines",
    family: Family::Baselines,
    severity: Severity::Warning,
    title: "Systems that are tuned less than others beside them, or not at all",
    why: "A tuned system beside untuned ones measures the tuning. Carefully tuned baselines have undone many published \
          improvements.",
    source: "Ferrari Dacrema, Cremonesi and Jannach 2019, Are We Really Making Much Progress?; Rendle, Zhang and Koren \
             2019, On the Difficulty of Evaluating Baselines",
    fix: "Give every system a `search:` with the same number of trials, as baselines/*-search.yaml do.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut n = 0;
    for at in 0..subject.experiment.variants.len() {
        let arms: Vec<Arm> = subject.arms_of(at).into_iter().filter(is_tunable).collect();
        n += arms.len();
        findings.extend(of_variant(subject, &arms));
    }
    Ok(match n {
        0 => Outcome::NotApplicable("no system has settings to tune".into()),
        _ => Outcome::Checked(findings),
    })
}

fn trials(arm: &Arm) -> Option<usize> {
    search(arm.record).map(|(trials, _)| trials)
}

fn of_variant(subject: &Subject, arms: &[Arm]) -> Vec<Finding> {
    let budgets = || arms.iter().filter_map(|arm| Some((arm, trials(arm)?)));
    // The budget that others have to have: that of the proposed systems where they are named.
    let proposed = budgets().filter(|(arm, _)| subject.is_proposed(arm.name) == Some(true));
    let most = proposed.max_by_key(|(_, trials)| *trials);
    let most = most.or_else(|| budgets().max_by_key(|(_, trials)| *trials));
    let Some((tuned, most)) = most else {
        let names: Vec<&str> = arms.iter().map(|arm| arm.name).collect();
        if names.is_empty() {
            return Vec::new();
        }
        let message = format!(
            "no system is tuned, and where the settings come from is not recorded: {}",
            names.join(", ")
        );
        return vec![Finding::new("", message).with("systems", names).as_severe_as(Severity::Note)];
    };
    let others = arms.iter().filter(|arm| subject.is_proposed(arm.name) != Some(true));
    let mut findings = Vec::new();
    for arm in others {
        let message = match trials(arm) {
            None => format!(
                "`{}` has fixed settings, and `{}` is the best of {most} trials",
                arm.name, tuned.name
            ),
            Some(n) if 2 * n <= most => {
                format!("`{}` is the best of {n} trials, and `{}` of {most}", arm.name, tuned.name)
            }
            Some(_) => continue,
        };
        findings.push(
            Finding::new(arm.name, message)
                .with("trials", trials(arm).unwrap_or(0))
                .with("of", tuned.name)
                .with("most_trials", most),
        );
    }
    findings
}
