//! Work on many values at a time.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Applies `work` to every value, on all cores.
///
/// The threads are its own. A thread of rayon's that waits for what another check reads takes up other work
/// meanwhile, which may be a check that needs the same: it would wait for itself.
pub fn each<'a, T: Sync, R: Send>(values: &'a [T], work: impl Fn(&'a T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(values.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(values.len())));
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(value) = values.get(at) else { return };
            let result = work(value);
            done.lock().unwrap_or_else(|broken| broken.into_inner()).push((at, result));
        }
    };
    match threads {
        0 | 1 => run(),
        _ => std::thread::scope(|scope| {
            (0..threads).for_each(|_| drop(scope.spawn(run)));
        }),
    }
    let mut done = done.into_inner().unwrap_or_else(|broken| broken.into_inner());
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_come_in_the_order_of_the_values() {
        let values: Vec<usize> = (0..1000).collect();
        assert_eq!(
            super::each(&values, |value| value * 2),
            values.iter().map(|v| v * 2).collect::<Vec<_>>()
        );
        assert!(super::each(&[] as &[u8], |value| *value).is_empty());
    }
}
