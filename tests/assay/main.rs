//! Drives the binary as a user does. One test program, so that it is linked once.

mod bad_input;
mod conventions;
mod endpoint;
mod formats;
mod keys;
mod llm;
mod networks;
mod quickstart;
mod real_data;
mod records;
mod rerank;
mod resume;
mod rules;
mod score;
mod support;
mod sweeps;
mod texts;
mod ties;
