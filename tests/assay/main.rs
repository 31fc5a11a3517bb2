//! Drives the binary as a user does. One test program, so that it is linked once.

mod audit;
mod audit_ablation;
mod audit_baselines;
mod audit_language_models;
mod audit_statistics;
mod audited;
mod bad_input;
mod bounds;
mod check;
mod command;
mod compare;
mod conventions;
mod currency;
mod endpoint;
mod files;
mod filters;
mod formats;
mod hostile;
mod installed;
mod keys;
mod llm;
mod messages;
mod networks;
mod next_item;
mod overrides;
mod papers;
mod preflight;
mod quickstart;
mod real_data;
mod records;
mod replaced;
mod rerank;
mod resume;
mod rules;
mod runs;
mod schema;
mod score;
// Where assay is linked without libtorch: see build.rs.
mod spellings;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod start;
mod support;
mod sweeps;
mod texts;
mod ties;
