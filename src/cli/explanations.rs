//! `assay explanations`

use std::path::PathBuf;

use serde_json::json;

use super::{CliError, WorkspaceArg, print, print_json, recorded};
use crate::{
    base::terminal::tell,
    base::{exit::Exit, yaml::nearest},
    core::{Currencies, Currency, StepId},
    tasks::top_n::rerank::explain::{Row, read},
};

/// Print explanations of reranked lists, with what the checks found
///
/// An explanation may name only what is known of the item (metadata and profile) and of the user
/// (profile and latest ratings); what else it names stands under `unfounded`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay explanations experiments/ebrat2025-rerank.yaml
  assay explanations experiments/ebrat2025-rerank.yaml --user 42
  assay explanations experiments/ebrat2025-rerank.yaml --unfounded --limit 0
  assay explanations experiments/ebrat2025-rerank.yaml --json > explanations.json")]
pub struct Explanations {
    /// The experiment file
    file: PathBuf,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Of this system alone, by its name in the tables
    #[arg(long)]
    system: Option<String>,
    /// Of this fold alone
    #[arg(long)]
    fold: Option<String>,
    /// To this user alone
    #[arg(long)]
    user: Option<String>,
    /// Only those that name something unfounded
    #[arg(long)]
    unfounded: bool,
    /// How many of each system and fold; 0 for all
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// Print all that fit as a JSON array
    #[arg(long)]
    json: bool,
}

impl Explanations {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let experiment = recorded(&self.file, &workspace)?;
        let currencies = Currencies::new(&experiment, &workspace);
        let explained = || experiment.trials.iter().filter(|trial| trial.explain.is_some());
        if explained().next().is_none() {
            return Err(CliError::Usage(format!(
                "no system of {} explains its lists\n  = help: give a reranker `explain: {{top: 5}}`",
                self.file.display()
            )));
        }
        if let Some(system) = &self.system
            && !explained().any(|trial| trial.name == *system)
        {
            let near = nearest(system, explained().map(|trial| &trial.name[..]));
            let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            return Err(CliError::Usage(format!("no system `{system}` explains its lists{near}")));
        }
        if let Some(fold) = &self.fold
            && !explained().any(|trial| trial.fold == *fold)
        {
            let mut folds: Vec<&str> = explained().map(|trial| &trial.fold[..]).collect();
            folds.dedup();
            return Err(CliError::Usage(format!(
                "no fold `{fold}`\n  = help: there are {}",
                folds.join(", ")
            )));
        }
        let fits = |asked: &Option<String>, is: &str| asked.as_deref().is_none_or(|of| of == is);
        let (mut texts, mut all, mut missing, mut is_known) = (String::new(), Vec::new(), 0, false);
        for trial in explained() {
            if !fits(&self.system, &trial.name) || !fits(&self.fold, &trial.fold) {
                continue;
            }
            let Some(step) = trial.explain else { continue };
            match currencies.of(StepId::new(step)) {
                Currency::Current => {}
                Currency::Absent => {
                    missing += 1;
                    continue;
                }
                Currency::Damaged(problem) | Currency::Outdated(problem) => {
                    return Err(CliError::Usage(format!(
                        "{problem}\n  = help: run the experiment again: the step is rebuilt"
                    )));
                }
            }
            let dir = experiment.dir(&workspace, step);
            let mut rows = read(&dir).map_err(|error| {
                CliError::Usage(format!(
                    "{error}
  = help: the file is damaged; run the experiment again"
                ))
            })?;
            is_known |= rows.iter().any(|row| fits(&self.user, &row.user));
            rows.retain(|row| {
                fits(&self.user, &row.user) && (!self.unfounded || !row.check.unfounded.is_empty())
            });
            let found = rows.len();
            if self.json {
                all.extend(rows.iter().map(|row| {
                    json!({"system": trial.name, "fold": trial.fold, "seed": trial.seed, "explanation": row})
                }));
                continue;
            }
            if self.limit > 0 {
                rows.truncate(self.limit);
            }
            texts.push_str(&format!("{} {} seed {}\n", trial.name, trial.fold, trial.seed));
            rows.iter().for_each(|row| texts.push_str(&line(row)));
            if found > rows.len() {
                let more = found - rows.len();
                texts.push_str(&format!("  … and {more} more (--limit 0 shows all)\n"));
            } else if found == 0 {
                texts.push_str("  none\n");
            }
        }
        if let Some(user) = self.user.as_ref().filter(|_| !is_known && missing == 0) {
            return Err(CliError::Usage(format!(
                "nothing is explained to a user `{user}`\n  = help: `explain.users` and `users` say to whom"
            )));
        }
        match self.json {
            true => print_json(&all)?,
            false => print(&texts)?,
        }
        if missing > 0 {
            tell!(
                "warning: {missing} trials are not explained yet; `assay run {}` does it",
                self.file.display()
            );
            return Ok(Exit::Inconclusive);
        }
        Ok(Exit::Pass)
    }
}

fn line(row: &Row) -> String {
    let mut text = format!("  user {} #{} {}: {}\n", row.user, row.place, row.title, row.text);
    let mut notes = Vec::new();
    if row.stands_in {
        notes.push("made by rule: the judge gave none".to_owned());
    }
    if !row.check.unfounded.is_empty() {
        notes.push(format!("unfounded: {}", row.check.unfounded.join("; ")));
    }
    if row.check.said_before {
        notes.push("said before".into());
    }
    if !notes.is_empty() {
        text.push_str(&format!("      {}\n", notes.join("; ")));
    }
    text
}
