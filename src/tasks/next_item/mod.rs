//! The task `next-item`: what comes next in each user's sequence.

pub mod candidates;
mod experiment;
pub mod models;
pub mod networks;
pub mod numbering;
mod plan;
mod record;
pub mod steps;

use crate::{
    data::{DataDirs, DataError},
    llm::{EndpointSpec, KeyUse, ResponsesSpec},
    ranking::METRICS,
    tasks::{Plan, SplitOf, Task, TaskDef, TrialAt, VariantRecord, shared},
};

pub use candidates::Exclude;
pub use experiment::{NextItemTask, System, SystemSpec, Variant};
pub use numbering::Numbering;

/// The task.
pub const TASK: TaskDef = TaskDef {
    name: "next-item",
    keys: experiment::KEYS,
    renamed: &[],
    named: &["systems"],
    swept_by_system: &["systems"],
    not_swept: &[],
    read: NextItemTask::read,
    schema: experiment::schema,
    kinds: &steps::KINDS,
    metrics: &METRICS,
    check: record::check,
    means: shared::means,
    measurements: shared::measurements,
};

impl Task for NextItemTask {
    fn def(&self) -> &'static TaskDef {
        &TASK
    }

    fn plan(&self, dirs: &DataDirs, only: Option<&TrialAt>) -> Result<Plan, DataError> {
        plan::plan(&self.variants, dirs, only)
    }

    fn records(&self, plan: &Plan, _: &DataDirs) -> Result<Vec<VariantRecord>, DataError> {
        let variants = self.variants.iter().enumerate();
        Ok(variants.map(|(at, variant)| variant.record(at, plan)).collect())
    }

    fn responses(&self) -> ResponsesSpec {
        ResponsesSpec::default()
    }

    fn endpoints(&self, _: usize) -> &[(String, EndpointSpec)] {
        &[]
    }

    fn keys(&self) -> Vec<KeyUse> {
        Vec::new()
    }

    fn sizes(&self, variant: usize, dirs: &DataDirs) -> Result<(u64, u64), DataError> {
        let data = self.variants[variant].data.load_sequences(dirs)?;
        Ok((data.users.len() as u64, data.items.len() as u64))
    }

    fn warnings(&self) -> Vec<String> {
        self.variants.iter().flat_map(|variant| variant.warnings.iter().cloned()).collect()
    }

    /// Its splits are of sequences, which `assay split` does not write.
    fn splits(&self) -> Vec<SplitOf> {
        Vec::new()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for variant in &self.variants {
            let unseeded = variant.systems.iter().filter(|system| !system.model.is_seeded());
            let names: Vec<&str> = unseeded.map(|system| system.name.as_str()).collect();
            if variant.seeds.len() > 1 && !names.is_empty() {
                notes.push(format!("not seeded, run once for all seeds: {}", names.join(", ")));
            }
        }
        notes
    }
}
