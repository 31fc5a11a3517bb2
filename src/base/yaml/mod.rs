//! YAML with positions: nodes, errors that point at a line, includes, sweeps.

pub mod de;
pub mod diagnostic;
pub mod include;
pub mod node;
pub mod overrides;
pub mod sweep;

pub use diagnostic::{Diagnostic, nearest};
pub use overrides::Override;
