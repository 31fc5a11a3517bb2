//! Overlapping batches in the base's order, each ranked by the judge. As in the paper: merged by Borda counts, the mean of
//! the points of an item in its batches. As in the code: merged by TrueSkill, where every item of a batch wins against all
//! items below it. Ties are broken by the base's order.

use super::{
    Judged, RerankRequest, Variant,
    trueskill::{Rating, rate_1vs1},
};
use crate::llm::LlmError;

/// First and last rank (exclusive, from 0) of each batch: every rank is in at least one batch, and consecutive batches
/// share at least `overlap` ranks.
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
    // The last batch has full size, and ends with the pool.
    windows.push((n - size, n));
    windows
}

/// The batches of the released code: only whole batches, so the last items may be in none.
pub(super) fn whole_windows(n: usize, size: usize, overlap: usize) -> Vec<(usize, usize)> {
    let starts = (0..(n + 1).saturating_sub(size)).step_by(size - overlap);
    starts.map(|start| (start, start + size)).collect()
}

/// Items that are in none of `windows`.
pub(super) fn in_no_batch(n: usize, windows: &[(usize, usize)]) -> usize {
    (0..n).filter(|at| !windows.iter().any(|(start, end)| (start..end).contains(&at))).count()
}

pub(super) fn judge(request: &RerankRequest, items: &[u32]) -> Result<Judged, LlmError> {
    match request.params.variant {
        Variant::Paper => by_borda(request, items),
        Variant::Code => by_trueskill(request, items),
    }
}

fn by_trueskill(request: &RerankRequest, items: &[u32]) -> Result<Judged, LlmError> {
    let windows = request.params.windows(items.len());
    let mut ratings = vec![Rating::default(); items.len()];
    for &(start, end) in &windows {
        let batch = &items[start..end];
        // A batch without a usable response counts as one in the base's order.
        let order = request.judge.order(request.user, batch)?.unwrap_or_else(|| batch.to_vec());
        let ranks = order.iter().filter_map(|item| batch.iter().position(|of| of == item));
        let ranks: Vec<usize> = ranks.map(|at| start + at).collect();
        for (at, &winner) in ranks.iter().enumerate() {
            for &loser in &ranks[at + 1..] {
                (ratings[winner], ratings[loser]) = rate_1vs1(ratings[winner], ratings[loser]);
            }
        }
    }
    let mut by_merit: Vec<usize> = (0..items.len()).collect();
    by_merit.sort_by(|a, b| ratings[*b].mu.total_cmp(&ratings[*a].mu).then(a.cmp(b)));
    Ok(Judged {
        order: by_merit.iter().map(|index| items[*index]).collect(),
        merit: by_merit.iter().map(|index| ratings[*index].mu).collect(),
        questions: windows.len(),
        in_no_batch: in_no_batch(items.len(), &windows),
        ..Judged::default()
    })
}

fn by_borda(request: &RerankRequest, items: &[u32]) -> Result<Judged, LlmError> {
    let size = request.params.batch;
    // Borda points within each batch, and how many batches an item was in.
    let mut points = vec![(0.0f64, 0usize); items.len()];
    let windows = request.params.windows(items.len());
    let n = windows.len();
    for &(start, end) in &windows {
        let Some(order) = request.judge.order(request.user, &items[start..end])? else { continue };
        for (rank, item) in order.iter().enumerate() {
            if let Some(index) = items[start..end].iter().position(|of| of == item) {
                let of = &mut points[start + index];
                of.0 += (end - start - rank) as f64;
                of.1 += 1;
            }
        }
    }
    // An item in no response gets the middle rank of a batch.
    let middle = (size.min(items.len()) + 1) as f64 / 2.0;
    let mean = |index: usize| match points[index] {
        (_, 0) => middle,
        (sum, n) => sum / n as f64,
    };
    let mut by_merit: Vec<usize> = (0..items.len()).collect();
    by_merit.sort_by(|a, b| mean(*b).total_cmp(&mean(*a)).then(a.cmp(b)));
    Ok(Judged {
        order: by_merit.iter().map(|index| items[*index]).collect(),
        merit: by_merit.iter().map(|index| mean(*index)).collect(),
        questions: n,
        ..Judged::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variant_code_omits_the_last_item_of_thirty() {
        let code = whole_windows(30, 5, 2);
        assert_eq!((code.len(), code[0], code[8]), (9, (0, 5), (24, 29)));
        assert_eq!(in_no_batch(30, &code), 1);
        assert_eq!(in_no_batch(30, &windows(30, 5, 2)), 0);
        // range(0, 20 - 5 + 1, 3) = 0, 3, 6, 9, 12, 15.
        assert_eq!(in_no_batch(20, &whole_windows(20, 5, 2)), 0);
        assert_eq!(in_no_batch(30, &whole_windows(30, 5, 0)), 0);
        assert_eq!((whole_windows(4, 5, 2), in_no_batch(4, &[])), (vec![], 4));
    }
}
