//! Used by all modules: digests, random streams, interrupts, exit codes, files, YAML.

pub mod arrays;
pub mod built_in;
pub mod exit;
pub mod file_names;
pub mod files;
pub mod hash;
pub mod interrupt;
pub mod limits;
pub mod lists;
pub mod names;
pub mod output;
pub mod panics;
pub mod parquet;
pub mod process;
pub mod programs;
pub mod random;
pub(crate) mod simd;
pub(crate) mod symmetric;
pub mod terminal;
pub mod text;
pub mod yaml;
