//! `assay plan`

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    CliError, ExperimentArg, WorkspaceArg,
    commands::Commands,
    experiment::{Part, Planned},
    keys::Keys,
    preflight::{Checked, MissingKeys},
    print, print_json, slot_of,
};
use crate::{
    base::{exit::Exit, files::read_json, terminal::tell, text::counted},
    core::{
        Currencies, Currency, Found, Node, OTHER_INPUT, Shared, StepId, Workspace, preflight,
        why_stale,
    },
    data::DataDirs,
    tasks::{
        Experiment, Plan, Trial,
        shared::steps::{SplitStats, filter_notes},
    },
};

/// Show which steps are done, which would run, and why, without running anything
#[derive(clap::Args)]
#[command(
    name = "plan",
    after_help = "Examples:
  assay plan experiments/quickstart.yaml
  assay plan experiments/quickstart.yaml --json"
)]
pub struct PlanArgs {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    keys: Keys,
    /// Print the steps as JSON
    #[arg(long)]
    json: bool,
}

/// What the plan shows: some of the trials, and the steps that they need.
struct Shown {
    trials: Vec<bool>,
    steps: Vec<bool>,
}

impl Shown {
    fn of(plan: &Plan, trials: Vec<bool>) -> Self {
        let is_needed = |node: &Node| node.trials.iter().any(|trial| trials[*trial]);
        let steps = plan.graph.nodes().iter().map(is_needed).collect();
        Self { trials, steps }
    }

    fn has(&self, step: StepId) -> bool {
        self.steps[step.at()]
    }

    fn trials<'a>(&self, plan: &'a Plan) -> impl Iterator<Item = &'a Trial> {
        plan.trials.iter().zip(&self.trials).filter(|(_, is_in)| **is_in).map(|(trial, _)| trial)
    }
}

/// The state of a step.
enum Verdict {
    Done,
    Damaged(String),
    New,
    Stale(Vec<String>),
}

impl PlanArgs {
    pub fn run(self) -> Result<Exit, CliError> {
        let Planned { experiment, plan, record } = self.experiment.planned()?;
        experiment.warnings.iter().for_each(|text| tell!("warning: {text}"));
        let selected = self.part.select(&record)?;
        let shown = Shown::of(&plan, selected);
        let workspace = self.workspace.open();
        let slot = slot_of(&experiment, &workspace);
        let before: BTreeMap<String, Value> =
            read_json(&workspace.path(&["experiments", &slot.name, "plan.json"]))
                .unwrap_or_default();
        let currencies = Currencies::new(&plan.graph, &workspace);
        let all: Vec<StepId> = plan.graph.nodes().iter().map(|node| node.id).collect();
        currencies.verify(&all);
        let would_run = |id: &StepId| shown.has(*id) && currencies.of(*id) != Currency::Current;
        let to_run: Vec<StepId> = all.into_iter().filter(would_run).collect();
        let checked = preflight(&plan.graph, &to_run, &Shared::default());
        let checked = Checked::new(&plan, checked)?;
        checked.tell(&plan);
        let mode = experiment.task.responses().mode;
        MissingKeys::of(&experiment, &plan, &to_run, mode).tell();
        let nodes = plan.graph.nodes().iter();
        let verdicts: Vec<Verdict> =
            nodes.map(|node| verdict(&currencies, node, &before)).collect();
        if self.json {
            let steps: Vec<Value> = plan
                .graph
                .nodes()
                .iter()
                .zip(&verdicts)
                .filter(|(node, _)| shown.has(node.id))
                .map(|(node, verdict)| step_json(node, verdict))
                .collect();
            print_json(&json!({"experiment": experiment.name, "steps": steps}))?;
        } else {
            print(&tree(&experiment, &plan, &verdicts, &shown))?;
            print(&filters(&plan, &workspace, &checked.found))?;
            print(&estimates(&experiment, &plan, &verdicts, &shown)?)?;
            print(&self.keys.of_plan(&experiment.task.keys())?)?;
            let commands = plan.graph.nodes().iter().filter_map(Node::command).collect();
            print(&Commands::of_plan(&commands))?;
        }
        Ok(Exit::Pass)
    }
}

fn verdict(currencies: &Currencies, node: &Node, before: &BTreeMap<String, Value>) -> Verdict {
    match currencies.of(node.id) {
        Currency::Current => Verdict::Done,
        Currency::Damaged(problem) => Verdict::Damaged(problem),
        Currency::Outdated(why) => Verdict::Stale(vec![why]),
        Currency::Absent => match before.get(&node.name()) {
            Some(inputs) if *inputs != node.key_inputs => {
                Verdict::Stale(why_stale(inputs, &node.key_inputs))
            }
            _ => Verdict::New,
        },
    }
}

/// What the filters of the data remove, or removed.
fn filters(plan: &Plan, workspace: &Workspace, found: &[(StepId, Found)]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut known: Vec<StepId> = Vec::new();
    for trial in &plan.trials {
        if known.contains(&trial.split) {
            continue;
        }
        known.push(trial.split);
        let node = &plan.graph[trial.split];
        let notes = match found.iter().find(|(step, _)| *step == trial.split) {
            Some((_, found)) => found.notes.clone(),
            None => {
                let record = workspace.record(node.kind, &node.key).ok();
                let stats = record.and_then(|of| of.stats::<SplitStats>().ok());
                stats.map(|of| filter_notes(&of.filters)).unwrap_or_default()
            }
        };
        for note in notes {
            if !lines.contains(&note) {
                lines.push(note);
            }
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Upper bounds of requests, tokens and cost of the steps to run. Recorded responses cost nothing; they are not
/// looked up here.
fn estimates(
    experiment: &Experiment,
    plan: &Plan,
    verdicts: &[Verdict],
    shown: &Shown,
) -> Result<String, CliError> {
    let mut text = String::new();
    let mut total = (0u64, 0u64, 0u64, Some(0.0));
    let mut sizes: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for (node, verdict) in plan.graph.nodes().iter().zip(verdicts) {
        if matches!(verdict, Verdict::Done) || !shown.has(node.id) || node.requests(0, 0).is_none()
        {
            continue;
        }
        let at = plan.variant_of(node.id);
        let (users, items) = match sizes.get(&at) {
            Some(known) => *known,
            None => {
                let found = experiment.task.sizes(at, &DataDirs::from_env())?;
                sizes.insert(at, found);
                found
            }
        };
        let Some(asks) = node.requests(users, items) else { continue };
        let found = experiment.task.endpoints(at).iter().find(|(name, _)| *name == asks.endpoint);
        let Some((_, judge)) = found else { continue };
        // An unusable response is sent back up to `repairs` times.
        let calls = asks.calls * (1 + u64::from(judge.repairs));
        let (input, output) =
            (calls * asks.tokens_per_call, calls.saturating_mul(judge.max_tokens));
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
            "  {}: up to {} calls to `{}`\n",
            node.name(),
            calls,
            asks.endpoint
        ));
    }
    if text.is_empty() {
        return Ok(text);
    }
    let money = match total.3 {
        Some(money) => format!("at most about {money:.2} at the endpoints' prices"),
        None => "cost unknown (an endpoint has no `price`)".into(),
    };
    Ok(format!(
        "language models, if no response is recorded yet:\n{text}  in total up to {} calls, about {} tokens in, \
         at most {} out; {money}\n",
        total.0, total.1, total.2
    ))
}

fn in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Done => "done".into(),
        Verdict::Damaged(problem) => format!("to rerun, damaged: {problem}"),
        Verdict::New => "to run".into(),
        Verdict::Stale(changes) => format!("to rerun: {}", changes.join("; ")),
    }
}

/// The states of a trial's steps: `done`, or what is to run and why. What runs again only since an input is
/// another one follows from that.
fn in_short(plan: &Plan, verdicts: &[Verdict], steps: &[StepId]) -> String {
    let states: Vec<String> = steps.iter().map(|step| in_words(&verdicts[step.at()])).collect();
    if states.iter().all(|state| *state == states[0]) {
        return states[0].clone();
    }
    let (mut texts, mut following) = (Vec::new(), Vec::new());
    for (step, state) in steps.iter().zip(states) {
        let kind = plan.graph[*step].kind;
        match &verdicts[step.at()] {
            Verdict::Done => {}
            Verdict::Stale(changes)
                if !texts.is_empty() && changes.iter().all(|of| of.ends_with(OTHER_INPUT)) =>
            {
                following.push(kind);
            }
            _ => texts.push(format!("{kind} {state}")),
        }
    }
    if !following.is_empty() {
        texts.push(format!("then {}", following.join(", ")));
    }
    texts.join("; ")
}

fn step_json(node: &Node, verdict: &Verdict) -> Value {
    json!({
        "kind": node.kind,
        "step": node.label,
        "key": node.key,
        "done": matches!(verdict, Verdict::Done),
        "state": in_words(verdict),
        "key_inputs": node.key_inputs,
    })
}

/// Folds, below them systems, below them steps.
fn tree(experiment: &Experiment, plan: &Plan, verdicts: &[Verdict], shown: &Shown) -> String {
    let steps = plan.graph.nodes().iter().filter(|node| shown.has(node.id));
    let steps: Vec<&Verdict> = steps.map(|node| &verdicts[node.id.at()]).collect();
    let to_run = steps.iter().filter(|verdict| !matches!(verdict, Verdict::Done)).count();
    let all_trials: Vec<&Trial> = shown.trials(plan).collect();
    let mut text = format!(
        "{}: {} in {}, {} done, {} to run\n",
        experiment.name,
        counted(all_trials.len(), "trial"),
        counted(steps.len(), "step"),
        steps.len() - to_run,
        to_run
    );
    for set in &experiment.overrides {
        text.push_str(&format!("with {set}\n"));
    }
    let mut splits: Vec<StepId> = all_trials.iter().map(|trial| trial.split).collect();
    splits.sort_unstable();
    splits.dedup();
    for (at, split) in splits.iter().enumerate() {
        let last = at + 1 == splits.len();
        text.push_str(&format!(
            "{} split {} – {}\n",
            if last { "└─" } else { "├─" },
            plan.graph[*split].label,
            in_words(&verdicts[split.at()])
        ));
        let indent = if last { "   " } else { "│  " };
        let trials: Vec<_> = all_trials.iter().filter(|trial| trial.split == *split).collect();
        for (at, trial) in trials.iter().enumerate() {
            let branch = if at + 1 == trials.len() { "└─" } else { "├─" };
            let of_trial =
                [trial.fit, Some(trial.predictions), trial.explain, Some(trial.evaluate)];
            let of_trial: Vec<StepId> = of_trial.into_iter().flatten().collect();
            let state = in_short(plan, verdicts, &of_trial);
            // A step that several systems share goes by the name of the first.
            let label = &plan.graph[trial.predictions].label;
            let seed = match label.ends_with(&format!(" seed {}", trial.seed)) {
                true => format!(" seed {}", trial.seed),
                false => String::new(),
            };
            let name = format!("{} {}{seed}", trial.name, trial.fold);
            text.push_str(&format!("{indent}{branch} {name} – {state}\n"));
        }
    }
    for note in experiment.task.notes() {
        text.push_str(&format!("{note}\n"));
    }
    text
}
