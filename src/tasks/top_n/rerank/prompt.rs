//! One question for the order of the whole pool.

use super::{Asking, Judged};
use crate::llm::LlmError;

pub(super) fn judge(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    let order = asking.judge.order(asking.user, items)?.unwrap_or_else(|| items.to_vec());
    let n = order.len();
    let merit = (0..n).map(|at| (n - at) as f64).collect();
    Ok(Judged { order, merit, asked: 1, ..Judged::default() })
}
