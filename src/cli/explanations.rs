//! `assay explanations`

use serde_json::json;

use super::{CliError, ExperimentArg, WorkspaceArg, print, print_json};
use crate::{
    base::terminal::tell,
    base::{exit::Exit, yaml::nearest},
    core::{Currencies, Currency, StepId},
    tasks::top_n::rerank::explain::{Row, read},
};

/// Print explanations of reranked lists with the results of their checks
///
/// An explanation is grounded if every name in it occurs in the item's metadata or profile, or in the user's profile
/// or latest ratings. Other names are listed as ungrounded (`unfounded` in JSON).
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay explanations experiments/ebrat2025-rerank.yaml
  assay explanations experiments/ebrat2025-rerank.yaml --user 42
  assay explanations experiments/ebrat2025-rerank.yaml --ungrounded --limit 0
  assay explanations experiments/ebrat2025-rerank.yaml --json > explanations.json")]
pub struct Explanations {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Only explanations of this system (its name in the tables)
    #[arg(long)]
    system: Option<String>,
    /// Only explanations of this fold
    #[arg(long)]
    fold: Option<String>,
    /// Only explanations for this user
    #[arg(long)]
    user: Option<String>,
    /// Only ungrounded explanations
    #[arg(long, alias = "unfounded")]
    ungrounded: bool,
    /// Maximum number per system and fold; 0 for all
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// Print all matching explanations as a JSON array
    #[arg(long)]
    json: bool,
}

impl Explanations {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let experiment = self.experiment.recorded(&workspace)?;
        let currencies = Currencies::new(&experiment, &workspace);
        let explained = || experiment.trials.iter().filter(|trial| trial.explain.is_some());
        if explained().next().is_none() {
            return Err(CliError::Usage(format!(
                "no system of {} has explanations\n  = help: give a reranker `explain: {{top: 5}}`",
                self.experiment
            )));
        }
        if let Some(system) = &self.system
            && !explained().any(|trial| trial.name == *system)
        {
            let near = nearest(system, explained().map(|trial| &trial.name[..]));
            let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            return Err(CliError::Usage(format!("no system `{system}` has explanations{near}")));
        }
        if let Some(fold) = &self.fold
            && !explained().any(|trial| trial.fold == *fold)
        {
            let mut folds: Vec<&str> = explained().map(|trial| &trial.fold[..]).collect();
            folds.dedup();
            return Err(CliError::Usage(format!(
                "no fold `{fold}`\n  = help: the folds are {}",
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
                fits(&self.user, &row.user)
                    && (!self.ungrounded || !row.check.ungrounded.is_empty())
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
                "there are no explanations for a user `{user}`\n  = help: `explain.users` and `users` select the users"
            )));
        }
        match self.json {
            true => print_json(&all)?,
            false => print(&texts)?,
        }
        if missing > 0 {
            tell!(
                "warning: trials without explanations: {missing}; run `assay run {}`",
                self.experiment
            );
            return Ok(Exit::Inconclusive);
        }
        Ok(Exit::Pass)
    }
}

fn line(row: &Row) -> String {
    let mut text = format!("  user {} #{} {}: {}\n", row.user, row.rank, row.title, row.text);
    let mut notes = Vec::new();
    if row.is_fallback {
        notes.push("rule-based, because the judge gave no usable explanation".to_owned());
    }
    if !row.check.ungrounded.is_empty() {
        notes.push(format!("ungrounded: {}", row.check.ungrounded.join("; ")));
    }
    if row.check.is_duplicate {
        notes.push("duplicate".into());
    }
    if !notes.is_empty() {
        text.push_str(&format!("      {}\n", notes.join("; ")));
    }
    text
}
