//! The experiment that a command is about: its file, and values that are set on the command line.

use std::{fmt, path::PathBuf};

use super::{CliError, slot_of};
use crate::{
    base::{
        files::FileError,
        terminal::tell,
        text::{distinct, shell_word},
        yaml::nearest,
    },
    core::{StepId, Workspace},
    data::DataDirs,
    tasks::{Experiment, ExperimentRecord, Plan, TrialRecord},
};

/// An experiment file, and values that replace some of its own.
#[derive(clap::Args, Clone)]
pub struct ExperimentArg {
    /// The experiment file
    pub file: PathBuf,
    /// Replace a value of the experiment file, e.g. systems.als.factors=128 or seeds=[1,2] (can be repeated). The
    /// results have a name of their own
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The same, for commands that can do without an experiment.
#[derive(clap::Args, Clone)]
pub struct OptionalExperimentArg {
    /// The experiment file
    file: Option<PathBuf>,
    /// Replace a value of the experiment file, e.g. systems.als.factors=128 or seeds=[1,2] (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", requires = "file")]
    set: Vec<String>,
}

impl OptionalExperimentArg {
    /// The experiment, which this use of the command needs.
    pub fn given(&self, example: &str) -> Result<ExperimentArg, CliError> {
        let file = self.file.clone().ok_or_else(|| {
            CliError::Usage(format!("no experiment file is given\n  = help: `{example}`"))
        })?;
        Ok(ExperimentArg { file, set: self.set.clone() })
    }
}

/// An experiment with its plan, and the record from which its results are read.
pub struct Planned {
    pub experiment: Experiment,
    pub plan: Plan,
    pub record: ExperimentRecord,
}

/// As it is written on the command line of a shell: scripts contain it.
impl fmt::Display for ExperimentArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.to_string_lossy();
        // Not an option.
        let here = if file.starts_with('-') { "./" } else { "" };
        f.write_str(&shell_word(&format!("{here}{file}")))?;
        self.set.iter().try_for_each(|set| write!(f, " --set {}", shell_word(set)))
    }
}

impl ExperimentArg {
    /// An experiment as its file has it.
    pub fn of_file(file: PathBuf) -> Self {
        Self { file, set: Vec::new() }
    }

    /// Reads and plans it.
    pub fn planned(&self) -> Result<Planned, CliError> {
        let dirs = DataDirs::from_env();
        let experiment = Experiment::read_with(&self.file, &self.set, &dirs)?;
        let plan = Plan::new(&experiment, &dirs)?;
        let record = ExperimentRecord::new(&experiment, &plan, &dirs)?;
        experiment.check_report(&record)?;
        Ok(Planned { experiment, plan, record })
    }

    /// The record from which its results are read. If its data is available, the experiment is planned, so that
    /// results of other settings, data or prompts are not shown as its own. Otherwise this is the record of the last
    /// run, provided that the experiment file has not changed.
    pub fn recorded(&self, workspace: &Workspace) -> Result<ExperimentRecord, CliError> {
        // A directory is no experiment file: a bundle has some.
        let by_name = self.file.to_str().filter(|_| !self.file.exists() || self.file.is_dir());
        let read = |name| match ExperimentRecord::read(workspace, name) {
            Ok(record) => Ok(Some((name, record))),
            // There is one, and it cannot be used: not a file that is missing.
            Err(error @ FileError::Damaged { .. }) => Err(error),
            Err(_) => Ok(None),
        };
        if let Some((name, record)) = by_name.map(read).transpose()?.flatten() {
            if !self.set.is_empty() {
                return Err(CliError::Usage(format!(
                    "--set needs the experiment file, and `{name}` is the name of recorded results\n  = help: results \
                     of --set have a name of their own: `assay ls` lists it"
                )));
            }
            tell!("note: these are the results of the last run; data and prompts were not checked");
            return Ok(record);
        }
        let dirs = DataDirs::from_env();
        let experiment = Experiment::read_with(&self.file, &self.set, &dirs)?;
        experiment.warnings.iter().for_each(|text| tell!("warning: {text}"));
        let slot = slot_of(&experiment, workspace);
        let error = match Plan::new(&experiment, &dirs) {
            Ok(plan) => {
                let record = ExperimentRecord::new(&experiment, &plan, &dirs)?;
                experiment.check_report(&record)?;
                return Ok(ExperimentRecord { slot: slot.name, ..record });
            }
            Err(error) => error,
        };
        // Of a workspace that was copied, the record may be that of this file before it was changed.
        let record = ExperimentRecord::read(workspace, &slot.name)
            .or_else(|_| ExperimentRecord::read(workspace, &experiment.name));
        let mut record = match record {
            Ok(record) if error.is_missing() => record,
            _ => return Err(error.into()),
        };
        // What a report shows of results does not change them.
        let texts = |sources: &[(String, String)]| -> Vec<String> {
            sources.iter().map(|(_, text)| without_report(text)).collect()
        };
        let is_same = texts(&record.sources) == texts(&experiment.source_texts());
        if is_same {
            experiment.check_report(&record)?;
            record.report = experiment.report.clone();
        } else {
            return Err(CliError::Usage(format!(
                "{error}\n  = note: the workspace has results of this experiment, but the experiment file has \
                 changed since; `{} {}` shows the recorded results",
                "assay results",
                record.slot()
            )));
        }
        let why = error.to_string();
        tell!(
            "note: these are the results of the last run, because the experiment cannot be planned: {}",
            why.lines().next().unwrap_or_default()
        );
        Ok(record)
    }
}

/// The text of an experiment file without the key `report`; comments and the form of values do not count where
/// there is one.
fn without_report(text: &str) -> String {
    let Ok(serde_yaml::Value::Mapping(mut mapping)) = serde_yaml::from_str(text) else {
        return text.to_owned();
    };
    mapping.remove("report");
    serde_yaml::to_string(&mapping).unwrap_or_else(|_| text.to_owned())
}

/// A part of an experiment.
#[derive(clap::Args, Clone, Default)]
pub struct Part {
    /// Only this system, all levels of its sweeps, and the base of a reranker (can be repeated). The other systems keep
    /// their results
    #[arg(long, value_name = "SYSTEM")]
    only: Vec<String>,
    /// Only these folds, separated by commas. The other folds keep their results
    #[arg(long, value_name = "FOLDS", value_delimiter = ',')]
    folds: Vec<String>,
}

impl Part {
    /// By trial, whether it is in this part.
    pub fn select(&self, record: &ExperimentRecord) -> Result<Vec<bool>, CliError> {
        let names = distinct(record.trials.iter().map(|trial| trial.name.as_str()));
        let folds = distinct(record.trials.iter().map(|trial| trial.fold.as_str()));
        for fold in &self.folds {
            if !folds.contains(fold) {
                return Err(unknown("--folds", "fold", fold, &folds));
            }
        }
        let mut chosen: Vec<String> = Vec::new();
        for asked in &self.only {
            let before = chosen.len();
            let of_sweep = format!("{asked}[");
            let is_it = |name: &&String| **name == *asked || name.starts_with(&of_sweep);
            chosen.extend(names.iter().filter(is_it).cloned());
            if chosen.len() == before {
                return Err(unknown("--only", "system", asked, &names));
            }
        }
        // A reranker's numbers are read beside its base's.
        let bases = record.trials.iter().filter(|trial| chosen.contains(&trial.name));
        let bases: Vec<String> = bases.filter_map(|trial| base_of(record, trial)).collect();
        chosen.extend(bases);
        let is_in = |trial: &TrialRecord| {
            (self.only.is_empty() || chosen.contains(&trial.name))
                && (self.folds.is_empty() || self.folds.contains(&trial.fold))
        };
        let selected: Vec<bool> = record.trials.iter().map(is_in).collect();
        match selected.contains(&true) {
            true => Ok(selected),
            false => Err(CliError::Usage(format!(
                "--only {} --folds {}: these systems have no such fold",
                self.only.join(" --only "),
                self.folds.join(",")
            ))),
        }
    }

    /// The last steps of the selected trials.
    pub fn ends(selected: &[bool], plan: &Plan) -> Vec<StepId> {
        let trials = plan.trials.iter().zip(selected).filter(|(_, is_in)| **is_in);
        trials.flat_map(|(trial, _)| trial.ends()).collect()
    }
}

/// The name of a reranker's base in tables.
fn base_of(record: &ExperimentRecord, trial: &TrialRecord) -> Option<String> {
    let (base, _) = record.system(trial).reranks.as_ref()?;
    Some(format!("{base}{}", record.variants[trial.variant].label))
}

/// An error for the value of an option that is none of those known.
pub fn unknown(option: &str, what: &str, value: &str, known: &[String]) -> CliError {
    let near = nearest(value, known.iter().map(String::as_str));
    let help = near.map_or(String::new(), |near| format!("\n  = help: did you mean `{near}`?"));
    CliError::Usage(format!(
        "{option} {value}: there is no such {what}\n  = expected one of {}{help}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_experiment_is_written_so_that_a_shell_reads_the_same_words() {
        let of = |file: &str, set: &[&str]| {
            let set = set.iter().map(|of| String::from(*of)).collect();
            ExperimentArg { file: file.into(), set }.to_string()
        };
        assert_eq!(
            of("a/b-1.yaml", &["seeds=1", "a.b=x,y"]),
            "a/b-1.yaml --set seeds=1 --set a.b=x,y"
        );
        assert_eq!(of("-x.yaml", &[]), "./-x.yaml");
        for file in
            ["my $(touch PWNED) ex.yaml", "a'b\"c`d`\\.yaml", "~/x;y&z|*?.yaml", "a\nb.yaml"]
        {
            let words = shlex::split(&of(file, &["seeds=[1, 2]", ""])).unwrap();
            assert_eq!(words, [file, "--set", "seeds=[1, 2]", "--set", ""]);
        }
    }
}
