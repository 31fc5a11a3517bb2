//! The task `top-n`: the best items for each user.

pub mod command;
mod experiment;
mod fallback;
pub mod models;
pub mod networks;
mod plan;
mod record;
pub mod rerank;
pub(crate) mod rerankers;
mod schema;
pub mod search;
pub mod steps;
mod system;
mod texts;
mod train_on;
mod validate;

pub use command::CommandParams;
pub use experiment::{DataSpec, System, TopN, Variant};
pub use fallback::{History, WithFallback};
pub use search::{Search, SearchSpec};
pub use system::SystemSpec;
pub use train_on::{Take, TrainOn, TrainShare};
pub use validate::validation;

use std::collections::BTreeSet;

use crate::{
    data::{DataDirs, DataError},
    llm::{EndpointSpec, KeyUse, ResponsesSpec},
    ranking::METRICS,
    tasks::{Plan, SplitOf, Task, TaskDef, TrialAt, VariantRecord, shared},
};

/// The task.
pub const TASK: TaskDef = TaskDef {
    name: "top-n",
    keys: experiment::KEYS,
    renamed: experiment::RENAMED,
    named: experiment::NAMED,
    swept_by_system: &["systems"],
    not_swept: &["responses"],
    read: TopN::read,
    schema: schema::schema,
    kinds: &steps::KINDS,
    metrics: &METRICS,
    check: record::check,
    means: shared::means,
    measurements: shared::measurements,
};

impl Task for TopN {
    fn def(&self) -> &'static TaskDef {
        &TASK
    }

    fn plan(&self, dirs: &DataDirs, only: Option<&TrialAt>) -> Result<Plan, DataError> {
        plan::plan(&self.variants, dirs, only)
    }

    fn records(&self, plan: &Plan, dirs: &DataDirs) -> Result<Vec<VariantRecord>, DataError> {
        let variants = self.variants.iter().enumerate();
        variants.map(|(at, variant)| variant.record(at, plan, dirs)).collect()
    }

    fn responses(&self) -> ResponsesSpec {
        // `responses` cannot be swept: all variants have the same.
        self.variants.first().map(|variant| variant.responses).unwrap_or_default()
    }

    fn endpoints(&self, variant: usize) -> &[(String, EndpointSpec)] {
        &self.variants[variant].endpoints
    }

    fn keys(&self) -> Vec<KeyUse> {
        let of = |variant: &Variant| {
            let endpoints = variant.endpoints.iter();
            let endpoints = endpoints.filter_map(|(_, endpoint)| KeyUse::of(endpoint));
            let tmdb = variant.metadata.tmdb.as_ref().and_then(|tmdb| KeyUse::of(&tmdb.endpoint()));
            endpoints.chain(tmdb).collect::<Vec<KeyUse>>()
        };
        let uses: BTreeSet<KeyUse> = self.variants.iter().flat_map(of).collect();
        uses.into_iter().collect()
    }

    fn sizes(&self, variant: usize, dirs: &DataDirs) -> Result<(u64, u64), DataError> {
        let data = self.variants[variant].data.source.load(dirs)?;
        Ok((data.users.len() as u64, data.items.len() as u64))
    }

    fn splits(&self) -> Vec<SplitOf> {
        let mut splits: Vec<SplitOf> = Vec::new();
        for Variant { label, data, split, .. } in &self.variants {
            let of =
                SplitOf { label: label.clone(), source: data.source.clone(), split: split.clone() };
            if !splits.iter().any(|known| (&known.source, &known.split) == (&of.source, &of.split))
            {
                splits.push(of);
            }
        }
        // One needs no label, whatever else the variants differ in.
        if let [only] = &mut splits[..] {
            only.label.clear();
        }
        splits
    }

    fn notes(&self) -> Vec<String> {
        self.variants.iter().flat_map(Variant::notes).collect()
    }

    fn warnings(&self) -> Vec<String> {
        self.variants.iter().flat_map(|variant| variant.warnings.iter().cloned()).collect()
    }
}

impl Variant {
    /// Notes on its plan.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let unseeded = self.systems.iter().filter(|system| !self.is_seeded(system));
        let names: Vec<&str> = unseeded.map(|system| system.name.as_str()).collect();
        if self.seeds.len() > 1 && !names.is_empty() {
            notes.push(format!("not seeded, run once for all seeds: {}", names.join(", ")));
        }
        for convention in &self.evaluate.conventions {
            let protocols = self.evaluate.protocols.iter();
            let skipped: Vec<&str> = protocols
                .filter(|protocol| !convention.applies_to(**protocol))
                .map(|protocol| protocol.name())
                .collect();
            if !skipped.is_empty() {
                notes.push(format!(
                    "the convention {convention} does not apply to the protocols {}",
                    skipped.join(", ")
                ));
            }
        }
        notes
    }
}
