//! `assay export`

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::json;

use super::{
    CliError, ExperimentArg, OptionalExperimentArg, WorkspaceArg, experiment::unknown, print,
};
use crate::{
    base::terminal::tell,
    base::{
        exit::Exit,
        file_names::{file_name, file_names},
        hash::Digest,
        output::OutputDir,
        text::distinct,
    },
    core::{Currencies, Currency, StepId, Workspace},
    data::SequencePart,
    ranking::{
        OpenFold, Predictions, UNKNOWN,
        files::export::{Place, Target, interactions, qrels, run},
    },
    tasks::{TrialRecord, shared::RecordSettings},
};

/// The file that lists what was written, and that the test part was opened.
const LIST: &str = "export.json";

/// Write rankings, splits, metrics and training histories for other tools
///
/// `assay export EXPERIMENT --format FORMAT --out DIR` writes one ranking per trial, the parts of each fold (TREC: qrels of
/// the test part), and `export.json`, which lists the files with their hashes and records that the test part was opened.
/// `assay export mlflow` sends metrics to an MLflow server, `assay export tensorboard` writes event files, `assay export slurm`
/// writes scripts that run an experiment on a cluster.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  assay export experiments/quickstart.yaml --format trec --out runs
  ir_measures runs/f1.qrels runs/als--f1--seed1.run 'nDCG@10 AP@10'
  assay export experiments/ml-100k-baselines.yaml --format recbole --fold u1 --system als --out rb
  assay export mlflow experiments/quickstart.yaml --url http://127.0.0.1:5000
  assay export tensorboard experiments/ml-100k-networks.yaml --out tb
  assay export slurm experiments/ml-100k-networks.yaml --out slurm")]
pub struct Export {
    #[command(flatten)]
    workspace: WorkspaceArg,
    #[command(subcommand)]
    to: Option<To>,
    #[command(flatten)]
    experiment: OptionalExperimentArg,
    /// Format of the files
    #[arg(long, value_enum, required = true)]
    format: Option<Target>,
    /// Directory of the files
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// Only this system (can be repeated)
    #[arg(long, value_name = "NAME")]
    system: Vec<String>,
    /// Only this fold (can be repeated)
    #[arg(long, value_name = "NAME")]
    fold: Vec<String>,
    /// Overwrite files in it that assay did not write
    #[arg(long)]
    overwrite: bool,
}

/// A tool with a form of its own.
#[derive(clap::Subcommand)]
enum To {
    Mlflow(super::export_runs::Mlflow),
    Tensorboard(super::export_runs::Tensorboard),
    Slurm(Box<super::export_slurm::ExportSlurm>),
}

impl Export {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        match self.to {
            Some(To::Mlflow(to)) => return to.run(&workspace),
            Some(To::Tensorboard(to)) => return to.run(&workspace),
            Some(To::Slurm(to)) => return to.run(&workspace),
            None => {}
        }
        let example = "assay export EXPERIMENT --format trec --out DIR";
        // invariant: both are required where there is no subcommand
        let (Some(format), Some(out)) = (self.format, self.out) else {
            return Err(CliError::Usage(format!("what is exported?\n  = help: `{example}`")));
        };
        let experiment = self.experiment.given(example)?;
        let (system, fold, overwrite) = (self.system, self.fold, self.overwrite);
        RankingFiles { experiment, format, out, system, fold, overwrite }.run(&workspace)
    }
}

/// Rankings and splits as files.
struct RankingFiles {
    experiment: ExperimentArg,
    format: Target,
    out: PathBuf,
    system: Vec<String>,
    fold: Vec<String>,
    overwrite: bool,
}

impl RankingFiles {
    fn run(self, workspace: &Workspace) -> Result<Exit, CliError> {
        let experiment = self.experiment.recorded(workspace)?;
        let currencies = Currencies::new(&experiment, workspace);
        let wanted = |list: &[String], name: &String| list.is_empty() || list.contains(name);
        let trials: Vec<_> = experiment
            .trials
            .iter()
            .filter(|trial| wanted(&self.system, &trial.name) && wanted(&self.fold, &trial.fold))
            .collect();
        let systems = distinct(experiment.trials.iter().map(|trial| trial.name.as_str()));
        let folds = distinct(experiment.trials.iter().map(|trial| trial.fold.as_str()));
        for (option, what, asked, known) in
            [("--system", "system", &self.system, &systems), ("--fold", "fold", &self.fold, &folds)]
        {
            if let Some(value) = asked.iter().find(|of| !known.contains(of)) {
                return Err(unknown(option, what, value, known));
            }
        }
        if trials.is_empty() {
            return Err(CliError::Usage(format!(
                "--system {} --fold {}: no trial has both",
                self.system.join(" --system "),
                self.fold.join(" --fold ")
            )));
        }
        let extension = match self.format {
            Target::Trec => "run",
            _ => "tsv",
        };
        let mut files = Vec::new();
        let mut out = OutputDir::open(&self.out, LIST, self.overwrite)?;
        let mut write = |name: String, text: String| -> Result<(), CliError> {
            out.write(&name, text.as_bytes())?;
            files.push(json!({"file": name, "blake3": Digest::of(&text)}));
            Ok(())
        };
        // A fold of two settings has two rules of what is relevant.
        let mut folds: Vec<(usize, usize)> = Vec::new();
        let name_of = |trial: &TrialRecord| {
            format!("{}{}", trial.fold, experiment.variants[trial.variant].label)
        };
        let names: Vec<String> = experiment.trials.iter().map(name_of).collect();
        let files_of: BTreeMap<&String, String> = names.iter().zip(file_names(&names)).collect();
        let mut openings = Vec::new();
        let mut missing = Vec::new();
        for trial in &trials {
            if let Currency::Damaged(problem) | Currency::Outdated(problem) =
                currencies.of(StepId::new(trial.split))
            {
                return Err(CliError::NoResults(format!(
                    "the fold {} is damaged: {problem}\n  = help: run `assay run {}` after removing {}",
                    trial.fold,
                    self.experiment,
                    experiment.dir(workspace, trial.split).display()
                )));
            }
            let predictions = StepId::new(trial.predictions);
            if currencies.of(predictions) != Currency::Current {
                missing.push(trial.label());
                continue;
            }
            let split = &experiment.steps[trial.split];
            if workspace.is_omitted(&split.kind, &split.key) {
                return Err(CliError::NoResults(format!(
                    "the bundle has no folds, which this format needs: {}\n  = help: make it with `assay bundle \
                     --with-data`",
                    trial.fold
                )));
            }
            let variant = &experiment.variants[trial.variant];
            let settings = RecordSettings::of(variant).map_err(CliError::NoResults)?;
            let open = OpenFold::read(&experiment.dir(workspace, trial.split))?;
            let (users, items) = (&open.training.users, &open.training.items);
            let from = experiment.dir(workspace, trial.predictions);
            let predicted = Predictions::read(&from, trial.from_scores, items.len())?;
            let tested = open.tested();
            let ties = settings.evaluate.ties;
            let lists = predicted.evaluated_lists(ties, items.len());
            let lists = lists.zip(0u32..).filter(|(_, user)| tested[*user as usize]);
            let places: Vec<Place> = lists
                .flat_map(|(list, user)| {
                    let list = list.unwrap_or_default().into_owned();
                    let list = list.into_iter().take(settings.evaluate.depth);
                    // Places of items outside the catalogue stay open.
                    let known = list.zip(1u32..).filter(|((_, item), _)| *item != UNKNOWN);
                    known.map(move |((score, item), rank)| Place {
                        user: users.name(user),
                        item: items.name(item),
                        rank,
                        score,
                    })
                })
                .collect();
            let tag: String =
                trial.name.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
            let text = run(self.format, &places, &tag).map_err(CliError::Usage)?;
            write(format!("{}.{extension}", trial.file_name), text)?;
            if folds.contains(&(trial.split, trial.variant)) {
                continue;
            }
            folds.push((trial.split, trial.variant));
            let name = &files_of[&name_of(trial)];
            let data = file_name(&variant.data);
            let file = |part: &str| match self.format {
                Target::Recbole => format!("{name}/{data}.{part}.inter"),
                _ => format!("{name}/{}.tsv", if part == "valid" { "val" } else { part }),
            };
            let (test, opening) = open.hand_out("export", |test| match self.format {
                Target::Trec => qrels(test, settings.relevant, users, items),
                _ => Ok(interactions(self.format, test.iter(), users, items)),
            });
            let test = test.map_err(CliError::Usage)?;
            openings.push(json!({"fold": name, "test_opened": opening, "split": experiment.steps[trial.split].key}));
            if self.format == Target::Trec {
                write(format!("{name}.qrels"), test)?;
                continue;
            }
            // With the order and the repeats of sequences.
            let parts = SequencePart::read(&experiment.dir(workspace, trial.split))?;
            write(file("train"), interactions(self.format, parts.train.iter(), users, items))?;
            if !parts.validation.is_empty() {
                let text = interactions(self.format, parts.validation.iter(), users, items);
                write(file("valid"), text)?;
            }
            write(file("test"), test)?;
        }
        if files.is_empty() {
            return Err(CliError::NoResults(format!(
                "the workspace has none of these rankings\n  = help: run `assay run {}` first",
                self.experiment
            )));
        }
        let n_files = files.len();
        let settings = experiment.variants.iter().map(RecordSettings::of);
        let relevant: Vec<_> = settings
            .map(|of| of.map(|of| of.relevant))
            .collect::<Result<_, _>>()
            .map_err(CliError::NoResults)?;
        let manifest = json!({
            "experiment": experiment.name,
            "relevant": relevant,
            "folds": openings,
            "files": files,
        });
        let text = serde_json::to_string_pretty(&manifest)? + "\n";
        let path = out.write(LIST, text.as_bytes())?;
        print(&format!(
            "{n_files} files in {}, listed in {}\n",
            self.out.display(),
            path.display()
        ))?;
        if !missing.is_empty() {
            tell!("warning: omitted, because they have no result: {}", missing.join(", "));
            return Ok(Exit::Inconclusive);
        }
        Ok(Exit::Pass)
    }
}
