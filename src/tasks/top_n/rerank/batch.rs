//! Overlapping batches in the base's order, each put in order by the judge. As the paper: merged by Borda
//! counts, the mean of the points an item has in its batches. As the code: merged by TrueSkill, every item of
//! a batch beating all below it. Of equals, the base's better first.

use super::{
    Asking, Judged, Variant,
    trueskill::{Rating, rate_1vs1},
};
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

/// The same as the released code has them: only whole batches, so that the last items may be in none.
pub(super) fn whole_windows(n: usize, size: usize, overlap: usize) -> Vec<(usize, usize)> {
    let starts = (0..(n + 1).saturating_sub(size)).step_by(size - overlap);
    starts.map(|start| (start, start + size)).collect()
}

/// Items that are in none of `windows`.
pub(super) fn in_no_batch(n: usize, windows: &[(usize, usize)]) -> usize {
    (0..n).filter(|at| !windows.iter().any(|(start, end)| (start..end).contains(&at))).count()
}

pub(super) fn judge(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    match asking.params.variant {
        Variant::Paper => by_borda(asking, items),
        Variant::Code => by_trueskill(asking, items),
    }
}

fn by_trueskill(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    let windows = asking.params.windows(items.len());
    let mut ratings = vec![Rating::default(); items.len()];
    for &(start, end) in &windows {
        let batch = &items[start..end];
        // A batch without a usable answer counts as one in the base's order.
        let order = asking.judge.order(asking.user, batch)?.unwrap_or_else(|| batch.to_vec());
        let places = order.iter().filter_map(|item| batch.iter().position(|of| of == item));
        let places: Vec<usize> = places.map(|at| start + at).collect();
        for (at, &winner) in places.iter().enumerate() {
            for &loser in &places[at + 1..] {
                (ratings[winner], ratings[loser]) = rate_1vs1(ratings[winner], ratings[loser]);
            }
        }
    }
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.sort_by(|a, b| ratings[*b].mu.total_cmp(&ratings[*a].mu).then(a.cmp(b)));
    Ok(Judged {
        order: places.iter().map(|index| items[*index]).collect(),
        merit: places.iter().map(|index| ratings[*index].mu).collect(),
        asked: windows.len(),
        in_no_batch: in_no_batch(items.len(), &windows),
        ..Judged::default()
    })
}

fn by_borda(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    let size = asking.params.batch;
    // Borda points within each batch, and how many batches an item was in.
    let mut points = vec![(0.0f64, 0usize); items.len()];
    let windows = asking.params.windows(items.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_leaves_the_last_item_of_thirty_out_and_the_paper_none() {
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
