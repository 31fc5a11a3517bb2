//! `assay plan`

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use super::{CliError, WorkspaceArg, planned, print};
use crate::{
    exit::Exit,
    plan::{Plan, Step, why_stale},
    spec::Experiment,
    store::{StepState, Workspace, read_json},
};

/// Print what is done, what would run and why, without running anything
#[derive(clap::Args)]
#[command(
    name = "plan",
    after_help = "Examples:
  assay plan experiments/quickstart.yaml
  assay plan experiments/quickstart.yaml --json"
)]
pub struct PlanArgs {
    /// The experiment file
    file: PathBuf,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Print the steps as JSON
    #[arg(long)]
    json: bool,
}

/// What `plan` says of a step.
enum Verdict {
    Done,
    Damaged(String),
    New,
    Stale(Vec<String>),
}

impl PlanArgs {
    pub fn run(self) -> Result<Exit, CliError> {
        let (experiment, plan, _) = planned(&self.file)?;
        let workspace = self.workspace.open();
        let before: BTreeMap<String, Value> =
            read_json(&workspace.path(&["experiments", &experiment.name, "plan.json"]))
                .unwrap_or_default();
        let verdicts: Vec<Verdict> =
            plan.steps.iter().map(|step| verdict(&workspace, step, &before)).collect();
        if self.json {
            let steps: Vec<Value> =
                plan.steps.iter().zip(&verdicts).map(|(step, v)| step_json(step, v)).collect();
            print(
                &(serde_json::to_string_pretty(
                    &json!({"experiment": experiment.name, "steps": steps}),
                )? + "\n"),
            )?;
        } else {
            print(&tree(&experiment, &plan, &verdicts))?;
        }
        Ok(Exit::Pass)
    }
}

fn verdict(workspace: &Workspace, step: &Step, before: &BTreeMap<String, Value>) -> Verdict {
    match workspace.verify(step.kind.name(), &step.key) {
        StepState::Done => Verdict::Done,
        StepState::Damaged(problem) => Verdict::Damaged(problem),
        StepState::Absent => match before.get(&format!("{} {}", step.kind.name(), step.label)) {
            Some(material) if *material != step.material => {
                Verdict::Stale(why_stale(material, &step.material))
            }
            _ => Verdict::New,
        },
    }
}

fn in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Done => "done".into(),
        Verdict::Damaged(problem) => format!("to run again, damaged: {problem}"),
        Verdict::New => "to run".into(),
        Verdict::Stale(changes) => format!("to run again: {}", changes.join("; ")),
    }
}

fn step_json(step: &Step, verdict: &Verdict) -> Value {
    json!({
        "kind": step.kind.name(),
        "step": step.label,
        "key": step.key,
        "done": matches!(verdict, Verdict::Done),
        "state": in_words(verdict),
        "material": step.material,
    })
}

/// Folds, below them systems, below them steps.
fn tree(experiment: &Experiment, plan: &Plan, verdicts: &[Verdict]) -> String {
    let to_run = verdicts.iter().filter(|verdict| !matches!(verdict, Verdict::Done)).count();
    let mut text = format!(
        "{}: {} trials in {} steps, {} done, {} to run\n",
        experiment.name,
        plan.trials.len(),
        plan.steps.len(),
        plan.steps.len() - to_run,
        to_run
    );
    let mut splits: Vec<usize> = plan.trials.iter().map(|trial| trial.split).collect();
    splits.sort_unstable();
    splits.dedup();
    for (at, split) in splits.iter().enumerate() {
        let last = at + 1 == splits.len();
        let step = &plan.steps[*split];
        text.push_str(&format!(
            "{} split {} – {}\n",
            if last { "└─" } else { "├─" },
            step.label,
            in_words(&verdicts[*split])
        ));
        let indent = if last { "   " } else { "│  " };
        let trials: Vec<_> = plan.trials.iter().filter(|trial| trial.split == *split).collect();
        for (at, trial) in trials.iter().enumerate() {
            let branch = if at + 1 == trials.len() { "└─" } else { "├─" };
            let (fit, score) = (&verdicts[trial.fit], &verdicts[trial.score]);
            let (fit, score) = (in_words(fit), in_words(score));
            let state = if fit == score { fit } else { format!("fit {fit}; score {score}") };
            text.push_str(&format!("{indent}{branch} {} – {state}\n", plan.steps[trial.fit].label));
        }
    }
    for setting in &experiment.settings {
        let idle = setting.systems.iter().filter(|system| !system.model.is_seeded());
        let names: Vec<&str> = idle.map(|system| system.name.as_str()).collect();
        if setting.seeds.len() > 1 && !names.is_empty() {
            text.push_str(&format!(
                "not seeded, so run once for all seeds: {}\n",
                names.join(", ")
            ));
        }
        for convention in &setting.evaluate.conventions {
            let skipped: Vec<&str> = setting
                .evaluate
                .protocols
                .iter()
                .filter(|protocol| !convention.applies_to(**protocol))
                .map(|protocol| protocol.name())
                .collect();
            if !skipped.is_empty() {
                text.push_str(&format!(
                    "the convention {convention} says nothing about the protocols {}\n",
                    skipped.join(", ")
                ));
            }
        }
    }
    text
}
