//! What `plan` and `run` check before anything is run or paid for.

use std::{collections::BTreeSet, fs, path::Path};

use super::CliError;
use crate::{
    base::terminal::tell,
    core::{Found, StepError, StepId, Workspace},
    llm::{DIRECTORY, KeyUse, Mode},
    tasks::{Experiment, Plan},
};

/// What the steps that are to run have found.
pub struct Checked {
    pub found: Vec<(StepId, Found)>,
    /// Trials of controls that assay added, and that cannot run: by index, with the reason.
    pub skipped: BTreeSet<usize>,
    /// Why, a sentence each.
    pub why: Vec<String>,
}

impl Checked {
    /// The error of the first step that cannot run. A step that only added controls need is skipped instead: no such
    /// control may end an experiment.
    pub fn new(
        plan: &Plan,
        checked: Vec<(StepId, Result<Found, StepError>)>,
    ) -> Result<Self, CliError> {
        let mut of = Self { found: Vec::new(), skipped: BTreeSet::new(), why: Vec::new() };
        for (step, result) in checked {
            let trials = &plan.graph[step].trials;
            match result {
                Ok(found) => of.found.push((step, found)),
                Err(error) if trials.iter().all(|trial| plan.trials[*trial].is_added) => {
                    of.skipped.extend(trials);
                    let why = error.to_string();
                    if !of.why.contains(&why) {
                        of.why.push(why);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(of)
    }

    /// Warns of what the steps found, and of controls that are skipped.
    pub fn tell(&self, plan: &Plan) {
        for (step, found) in &self.found {
            let node = &plan.graph[*step];
            found.warnings.iter().for_each(|text| tell!("warning: {}: {text}", node.name()));
        }
        if self.skipped.is_empty() {
            return;
        }
        let names: BTreeSet<&str> =
            self.skipped.iter().map(|trial| plan.trials[*trial].name.as_str()).collect();
        tell!(
            "warning: controls that assay added are skipped: {}\n  {}",
            names.into_iter().collect::<Vec<_>>().join(", "),
            self.why.join("\n  ").replace('\n', "\n  ")
        );
    }
}

/// Variables of keys that are needed and not set, if requests may be sent in this mode.
pub struct MissingKeys(BTreeSet<KeyUse>);

impl MissingKeys {
    /// Those of the endpoints that these steps send requests to.
    pub fn of(experiment: &Experiment, plan: &Plan, steps: &[StepId], mode: Mode) -> Self {
        let mut missing = BTreeSet::new();
        if mode != Mode::Replay {
            for step in steps {
                let Some(asks) = plan.graph[*step].requests(1, 1) else { continue };
                let endpoints = experiment.task.endpoints(plan.variant_of(*step));
                let endpoint = endpoints.iter().find(|(name, _)| *name == asks.endpoint);
                let key = endpoint.and_then(|(_, endpoint)| KeyUse::of(endpoint));
                missing.extend(key.filter(|key| matches!(key.read(), Ok(None))));
            }
        }
        Self(missing)
    }

    fn text(&self) -> String {
        let names: BTreeSet<&str> = self.0.iter().map(|key| key.name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let (is, key) = if names.len() == 1 { ("is", "key") } else { ("are", "keys") };
        format!("{} {is} not set, and the {key} for endpoints of the experiment", names.join(", "))
    }

    /// Warns of them.
    pub fn tell(&self) {
        if !self.0.is_empty() {
            tell!("warning: {} would be taken from there", self.text());
        }
    }

    /// An error if they are certainly needed; otherwise a warning, since recorded responses need no key.
    pub fn check(&self, workspace: &Workspace, mode: Mode) -> Result<(), CliError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let may_be_recorded = matches!(mode, Mode::Record | Mode::Once)
            && has_records(&workspace.path(&[DIRECTORY, "journal"]));
        if may_be_recorded {
            self.tell();
            return Ok(());
        }
        Err(CliError::Usage(format!(
            "{} is taken from there\n  = help: export it, or replay recorded responses with `--responses replay`",
            self.text()
        )))
    }
}

fn has_records(journal: &Path) -> bool {
    let files = fs::read_dir(journal).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).any(|of| of.len() > 0)
}
