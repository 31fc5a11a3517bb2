//! Files of rankings and of judgements, in and out.

mod columns;
pub mod export;
mod findings;
mod fits;
mod judgements;
mod lists;
mod open;

pub use columns::{ColumnRef, Columns};
pub use findings::Findings;
pub use fits::OtherFold;
pub use judgements::{JudgementFiles, Judgements};
pub use lists::{Order, ReadOptions, Seen};
pub use open::{InputFormat, Opened, TextOptions, Use, open};
