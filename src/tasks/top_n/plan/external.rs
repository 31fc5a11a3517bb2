//! Steps of systems that assay does not train: rankings from files, and programs.

use super::{FoldAt, Planner, SystemPlan, pinned, warnings::of_validation};
use crate::{
    base::hash::Digest,
    core::Handle,
    data::DataError,
    tasks::{
        shared::ExternalParams,
        top_n::{
            CommandParams,
            steps::{
                CommandRun, CommandSearchStep, CommandStep, ExternalStep, FoldsOf,
                output::Predictions,
            },
        },
    },
};

impl Planner<'_> {
    pub(super) fn external(
        &mut self,
        of: &SystemPlan,
        external: &ExternalParams,
        at: FoldAt,
    ) -> Result<Handle<Predictions>, DataError> {
        let rankings = pinned(external.locate(at.fold, &self.dirs)?)?;
        let dirs = self.dirs.clone();
        Ok(self.add(ExternalStep {
            label: of.label(at.fold, at.seed),
            params: external.clone(),
            fold: at.fold.to_owned(),
            split: at.split,
            rankings,
            folds: Some(Box::new(FoldsOf {
                source: self.variant.data.source.clone(),
                data: self.data.clone(),
                scheme: self.variant.split.clone(),
                dirs: dirs.clone(),
            })),
            dirs,
        }))
    }

    pub(super) fn command(
        &mut self,
        of: &SystemPlan,
        command: &CommandParams,
        depth: usize,
        at: FoldAt,
    ) -> Result<Handle<Predictions>, DataError> {
        let key = Digest::of_json(&(command, &command.directory));
        let (program, inputs) = match self.commands.get(&key) {
            Some(known) => known.clone(),
            None => {
                let read = (command.program()?, command.pin()?);
                self.commands.insert(key, read.clone());
                read
            }
        };
        let run = CommandRun {
            system: of.spec.clone(),
            program,
            inputs,
            split: at.split,
            depth,
            source: of.variant.data.source.clone(),
            data: self.data.clone(),
            dirs: self.dirs.clone(),
        };
        let search = command.search.as_ref().map(|_| {
            self.add(CommandSearchStep {
                label: format!("{} {}", of.name, at.fold),
                run: run.clone(),
                relevant: of.variant.data.relevant,
            })
        });
        let label = of.label(at.fold, at.seed);
        let warnings = of_validation(of.variant, &of.system.model);
        Ok(self.add(CommandStep { label, run, search, seed: at.seed, warnings }))
    }
}
