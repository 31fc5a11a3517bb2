//! `assay plan`

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use super::{CliError, WorkspaceArg, planned, print};
use crate::{
    base::{exit::Exit, files::read_json},
    core::{StepState, Workspace},
    data::DataDirs,
    ranking::Slice,
    tasks::{
        Experiment, Setting,
        top_n::{
            models::ModelSpec,
            plan::{Plan, Step, StepKind, why_stale},
            rerank::JudgeName,
        },
    },
    text::{ItemProfiles, UserProfiles},
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
        let (experiment, plan, dirs) = planned(&self.file)?;
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
            print(&estimates(&experiment, &plan, &verdicts, &dirs)?)?;
        }
        Ok(Exit::Pass)
    }
}

fn verdict(workspace: &Workspace, step: &Step, before: &BTreeMap<String, Value>) -> Verdict {
    match step.state(workspace) {
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

/// What steps to do would ask of language models at most, where they ask any. Answers that are recorded
/// already cost nothing, and are not looked for here.
fn estimates(
    experiment: &Experiment,
    plan: &Plan,
    verdicts: &[Verdict],
    dirs: &DataDirs,
) -> Result<String, CliError> {
    let mut text = String::new();
    let mut total = (0u64, 0u64, 0u64, Some(0.0));
    let mut sizes: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for (step, verdict) in plan.steps.iter().zip(verdicts) {
        if matches!(verdict, Verdict::Done) {
            continue;
        }
        let setting = &experiment.settings[step.setting];
        let asks = |sizes: (u64, u64)| Asks::of(step, setting, sizes);
        if asks((0, 0)).is_none() {
            continue;
        }
        let of_set = match sizes.get(&step.setting) {
            Some(known) => *known,
            None => {
                let data = setting.data.source.load(dirs)?;
                let found = (data.users.len() as u64, data.items.len() as u64);
                sizes.insert(step.setting, found);
                found
            }
        };
        let Some(asks) = asks(of_set) else { continue };
        let judge = setting.judge(asks.judge);
        // What cannot be used is sent back as often as that, with the answer that was no good.
        let calls = asks.calls * (1 + u64::from(judge.repairs));
        let (input, output) = (calls * asks.tokens_a_call, calls.saturating_mul(judge.max_tokens));
        let money = judge.price.map(|price| {
            let full = (input as f64 * price.input + output as f64 * price.output) / 1e6;
            if judge.batch && asks.in_batches { full / 2.0 } else { full }
        });
        total = (
            total.0 + calls,
            total.1 + input,
            total.2.saturating_add(output),
            total.3.zip(money).map(|(total, money)| total + money),
        );
        text.push_str(&format!(
            "  {} {}: up to {} calls to `{}`\n",
            step.kind.name(),
            step.label,
            calls,
            asks.judge
        ));
    }
    if text.is_empty() {
        return Ok(text);
    }
    let money = match total.3 {
        Some(money) => format!("at most about {money:.2} in the judges' prices"),
        None => "cost unknown (a judge has no `price`)".into(),
    };
    Ok(format!(
        "language models, where nothing is recorded yet:\n{text}  in all up to {} calls, about {} tokens in, \
         at most {} out; {money}\n",
        total.0, total.1, total.2
    ))
}

/// What one step may ask.
struct Asks<'a> {
    judge: &'a str,
    calls: u64,
    /// A guess: what prompts of this kind take.
    tokens_a_call: u64,
    /// Whether a judge with `batch: true` is asked through the Batch API: where no question waits for
    /// the answer to another.
    in_batches: bool,
}

impl<'a> Asks<'a> {
    fn of(step: &Step, setting: &'a Setting, (users, items): (u64, u64)) -> Option<Self> {
        if let (StepKind::Profiles, Some(text)) = (step.kind, &step.text) {
            let (_, spec) = setting.profiles.iter().find(|(name, _)| *name == text.profiles)?;
            return match (&spec.items, &spec.users) {
                (ItemProfiles::Llm(write), _) if !text.users => Some(Self {
                    judge: &write.judge,
                    calls: items,
                    tokens_a_call: 350,
                    in_batches: true,
                }),
                (_, UserProfiles::Llm(write)) if text.users => Some(Self {
                    judge: &write.judge,
                    calls: users * (write.liked + write.disliked).div_ceil(write.batch) as u64,
                    tokens_a_call: 600 + 250 * write.batch as u64,
                    in_batches: true,
                }),
                _ => None,
            };
        }
        let ModelSpec::Rerank(params) = &setting.systems[step.system?].model else { return None };
        let JudgeName::Chat(judge) = &params.judge else { return None };
        let most = |slice: Slice| match slice {
            Slice::Sample { n, .. } => users.min(n as u64),
            _ => users,
        };
        let of_reranked = most(params.users);
        let (calls, items) = match (step.kind, &params.explain) {
            (StepKind::Rerank, _) => {
                (params.questions(of_reranked), params.items_a_question() as u64)
            }
            (StepKind::Explain, Some(explain)) => {
                (most(explain.users).min(of_reranked), params.pool as u64)
            }
            _ => return None,
        };
        Some(Self { judge, calls, tokens_a_call: 650 + 90 * items, in_batches: false })
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
            let mut state = if fit == score { fit } else { format!("fit {fit}; score {score}") };
            if let Some(explain) = trial.explain {
                let explain = in_words(&verdicts[explain]);
                if explain != state {
                    state.push_str(&format!("; explanations {explain}"));
                }
            }
            // A step that several systems share goes by the name of the first.
            let seed = match plan.steps[trial.fit].label.ends_with(&format!(" seed {}", trial.seed))
            {
                true => format!(" seed {}", trial.seed),
                false => String::new(),
            };
            let name = format!("{} {}{seed}", trial.name, trial.fold);
            text.push_str(&format!("{indent}{branch} {name} – {state}\n"));
        }
    }
    for setting in &experiment.settings {
        let idle = setting.systems.iter().filter(|system| !setting.is_seeded(system));
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
