//! Which interactions remain after each filter.

use super::{Filter, FilterEffect, Filters, PerSide, Period, Sizes};
use crate::data::{DataError, Dataset, Interaction};

impl Filters {
    /// Which of `rows` remain, and what each filter did. `order` says which of one user's rows of one
    /// moment is the earlier.
    pub(super) fn keep(
        &self,
        data: Scope,
        rows: &[Interaction],
        order: &[u32],
        place: &str,
    ) -> Result<(Vec<bool>, Vec<FilterEffect>), DataError> {
        let mut kept = vec![true; rows.len()];
        let sizes = |kept: &[bool]| {
            let counts = Counts::new(data, rows, kept);
            let with = |counts: &[u32]| counts.iter().filter(|count| **count > 0).count();
            Sizes {
                users: with(&counts.users),
                items: with(&counts.items),
                interactions: kept.iter().filter(|kept| **kept).count(),
            }
        };
        let (mut before, mut effects) = (sizes(&kept), Vec::new());
        for filter in &self.0 {
            match filter {
                Filter::KCore(least) => {
                    while Counts::new(data, rows, &kept).remove_rare(rows, &mut kept, *least) {}
                }
                Filter::MinInteractions(least) => {
                    Counts::new(data, rows, &kept).remove_rare(rows, &mut kept, *least);
                }
                Filter::Rating(rule) => only_if(rows, &mut kept, |row| rule.accepts(row.rating)),
                Filter::Time(Period { from, before }) => only_if(rows, &mut kept, |row| {
                    from.is_none_or(|from| row.timestamp >= from.time)
                        && before.is_none_or(|before| row.timestamp < before.time)
                }),
                Filter::First(n) => of_each_user(data, rows, order, &mut kept, |rank, _| rank < *n),
                Filter::Last(n) => {
                    of_each_user(data, rows, order, &mut kept, |rank, of| rank + n >= of);
                }
            }
            let after = sizes(&kept);
            if after.interactions == 0 {
                return Err(DataError::Split(format!(
                    "the filter `{filter}` leaves no interaction of the data set `{}`{place}; before it there \
                     were {} users, {} items and {} interactions\n  = help: make it less strict",
                    data.name, before.users, before.items, before.interactions
                )));
            }
            effects.push(FilterEffect { filter: filter.to_string(), before, after });
            before = after;
        }
        Ok((kept, effects))
    }
}

/// A data set's name, for messages, and how many users and items it has.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub name: &'a str,
    pub users: usize,
    pub items: usize,
}

impl<'a> Scope<'a> {
    pub fn of(data: &'a Dataset) -> Self {
        Self { name: &data.name, users: data.users.len(), items: data.items.len() }
    }
}

/// Interactions of each user and item.
struct Counts {
    users: Vec<u32>,
    items: Vec<u32>,
}

impl Counts {
    fn new(data: Scope, rows: &[Interaction], kept: &[bool]) -> Self {
        let mut counts = Self { users: vec![0; data.users], items: vec![0; data.items] };
        for (row, _) in rows.iter().zip(kept).filter(|(_, kept)| **kept) {
            counts.users[row.user.at()] += 1;
            counts.items[row.item.at()] += 1;
        }
        counts
    }

    /// Removes the rows of users and items with too few; whether there were any.
    fn remove_rare(&self, rows: &[Interaction], kept: &mut [bool], least: PerSide) -> bool {
        let (user, item) = (least.user.unwrap_or(0), least.item.unwrap_or(0));
        let mut removed = false;
        for (row, kept) in rows.iter().zip(kept) {
            let is_rare = self.users[row.user.at()] < user || self.items[row.item.at()] < item;
            removed |= *kept && is_rare;
            *kept &= !is_rare;
        }
        removed
    }
}

fn only_if(rows: &[Interaction], kept: &mut [bool], is_kept: impl Fn(&Interaction) -> bool) {
    rows.iter().zip(kept).for_each(|(row, kept)| *kept &= is_kept(row));
}

/// Keeps the rows that are accepted by their rank among their user's in time, and how many those are.
fn of_each_user(
    data: Scope,
    rows: &[Interaction],
    order: &[u32],
    kept: &mut [bool],
    is_kept: impl Fn(usize, usize) -> bool,
) {
    let mut of_users: Vec<Vec<usize>> = vec![Vec::new(); data.users];
    for (at, row) in rows.iter().enumerate().filter(|(at, _)| kept[*at]) {
        of_users[row.user.at()].push(at);
    }
    for mut of_user in of_users {
        of_user.sort_by_key(|at| (rows[*at].timestamp, order[*at]));
        for (rank, at) in of_user.iter().enumerate() {
            kept[*at] = is_kept(rank, of_user.len());
        }
    }
}
