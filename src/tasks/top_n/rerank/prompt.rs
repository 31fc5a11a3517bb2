//! One question about the order of the whole pool.

use super::{Judged, RerankRequest};
use crate::llm::LlmError;

pub(super) fn judge(request: &RerankRequest, items: &[u32]) -> Result<Judged, LlmError> {
    let order = request.judge.order(request.user, items)?.unwrap_or_else(|| items.to_vec());
    let n = order.len();
    let merit = (0..n).map(|at| (n - at) as f64).collect();
    Ok(Judged { order, merit, questions: 1, ..Judged::default() })
}
