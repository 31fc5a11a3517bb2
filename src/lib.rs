//! assay runs recommender-system experiments and makes their results checkable. The modules, bottom up; each imports
//! only from those above it in this list (checked by `tests/architecture.rs`):
//!
//! - [`base`]: digests, seeded draws, interrupts, exit codes, files, YAML with positions
//! - [`llm`]: endpoints, the journal of responses, cassettes, budgets
//! - [`core`]: records, the workspace, events of a run
//! - [`data`]: interactions, catalogue, readers, manifests, splits, the sealed test part
//! - [`nn`]: tensors, kernels, optimisers, the training loop, the text encoder; the only module that uses tch
//! - [`text`]: profiles of items and users, prompts, embeddings
//! - [`ranking`]: top-k, files of rankings, protocols, conventions, metrics, slices
//! - [`tasks`]: experiments, and one folder for each kind of prediction
//! - [`cluster`]: plans, jobs and scripts for queues that run steps on other machines
//! - [`analysis`]: means, intervals, differences, agreement
//! - [`audit`]: checks of a finished experiment, one file each
//! - [`report`]: tables, figures, HTML
//! - [`cli`]: one file per command

pub mod analysis;
pub mod audit;
pub mod base;
pub mod cli;
pub mod cluster;
pub mod core;
pub mod data;
pub mod llm;
pub mod nn;
pub mod ranking;
pub mod report;
pub mod tasks;
pub mod text;

/// Enables networks and the text encoder in this program, which then loads libtorch at start. Only `assay-tensors`, tests and benchmarks may call it.
pub fn use_tensors() {
    nn::fill_slots();
    tasks::top_n::networks::fill_slot();
    tasks::next_item::networks::fill_slot();
}
