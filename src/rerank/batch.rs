//! Overlapping batches in the base's order, each put in order by the judge, merged by Borda counts: the
//! mean of the points an item has in its batches; of equals, the base's better first.

use super::{Asking, Judged};
use crate::llm::LlmError;

/// First and last place (exclusive) of each batch: every place is in one or more, and each batch shares
/// `overlap` or more places with the one before.
pub(super) fn windows(n: usize, size: usize, overlap: usize) -> Vec<(usize, usize)> {
    if n <= size {
        return vec![(0, n)];
    }
    let step = size - overlap;
    let mut windows = Vec::new();
    let mut start = 0;
    while start + size < n {
        windows.push((start, start + size));
        start += step;
    }
    // The last is as long as the others, and ends with the pool.
    windows.push((n - size, n));
    windows
}

pub(super) fn judge(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    let (size, overlap) = (asking.params.batch, asking.params.overlap);
    // Borda points within each batch, and how many batches an item was in.
    let mut points = vec![(0.0f64, 0usize); items.len()];
    let windows = windows(items.len(), size, overlap);
    let n = windows.len();
    for &(start, end) in &windows {
        let Some(order) = asking.judge.order(asking.user, &items[start..end])? else { continue };
        for (place, item) in order.iter().enumerate() {
            if let Some(index) = items[start..end].iter().position(|of| of == item) {
                let of = &mut points[start + index];
                of.0 += (end - start - place) as f64;
                of.1 += 1;
            }
        }
    }
    // An item that no answer says anything of is worth the middle of a batch.
    let middle = (size.min(items.len()) + 1) as f64 / 2.0;
    let mean = |index: usize| match points[index] {
        (_, 0) => middle,
        (sum, n) => sum / n as f64,
    };
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.sort_by(|a, b| mean(*b).total_cmp(&mean(*a)).then(a.cmp(b)));
    Ok(Judged {
        order: places.iter().map(|index| items[*index]).collect(),
        merit: places.iter().map(|index| mean(*index)).collect(),
        asked: n,
        ..Judged::default()
    })
}
