//! The task `top-n`: the best items for each user.

pub mod external;
mod fallback;
pub mod models;
pub mod networks;
pub mod plan;
pub mod rerank;
pub(crate) mod rerankers;
pub mod search;
pub mod steps;
mod system;
mod train_on;
mod validate;

pub use external::ExternalParams;
pub use fallback::{History, WithFallback};
pub use search::{Search, SearchSpec};
pub use system::SystemSpec;
pub use train_on::{Take, TrainOn, TrainShare};
pub use validate::validation;
