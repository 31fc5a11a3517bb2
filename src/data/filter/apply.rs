//! Filters on a data set or on sequences: what the data lack, and the users and items that remain.

use super::{Filter, Filters, rows::Scope};
use crate::data::{
    DataError, Dataset, Ids, Interaction, Interactions, ItemIx, OfficialFold, SequenceData,
    Sequences, Time, UserIx, dataset::Catalogue,
};

impl Filters {
    /// The data set of the interactions that remain. Users and items without any are no longer part of it.
    ///
    /// A publisher's fold is filtered as a whole, its parts together; each part keeps what remains of it.
    pub(in crate::data) fn apply(&self, data: Dataset) -> Result<Dataset, DataError> {
        if self.is_empty() {
            return Ok(data);
        }
        self.check(&data)?;
        let rows: Vec<Interaction> = data.interactions.iter().collect();
        let (kept, filtered) = self.keep(Scope::of(&data), &rows, &data.file_rows, "")?;
        let mut folds = Vec::with_capacity(data.folds.len());
        for fold in &data.folds {
            folds.push(self.of_fold(&data, fold)?);
        }
        let only = |rows: &[Interaction], kept: &[bool]| -> Vec<Interaction> {
            rows.iter().zip(kept).filter(|(_, kept)| **kept).map(|(row, _)| *row).collect()
        };
        let file_rows = data.file_rows.iter().zip(&kept).filter(|(_, kept)| **kept);
        let file_rows: Vec<u32> = file_rows.map(|(at, _)| *at).collect();
        let rows = only(&rows, &kept);
        let parts = folds.iter().flat_map(|fold| [&fold.train, &fold.validation, &fold.test]);
        let all = || std::iter::once(&rows).chain(parts.clone()).flatten();
        let users = Renumbered::new(&data.users, all().map(|row| row.user.0));
        let items = Renumbered::new(&data.items, all().map(|row| row.item.0));
        let renumber = |rows: &[Interaction]| -> Vec<Interaction> {
            let row = |row: &Interaction| Interaction {
                user: UserIx(users.new[row.user.at()]),
                item: ItemIx(items.new[row.item.at()]),
                ..*row
            };
            rows.iter().map(row).collect()
        };
        let folds = folds.iter().map(|fold| OfficialFold {
            name: fold.name.clone(),
            train: renumber(&fold.train),
            validation: renumber(&fold.validation),
            test: renumber(&fold.test),
            filtered: fold.filtered.clone(),
        });
        let folds = folds.collect();
        let column = |values: &[Option<String>]| items.of_column(values);
        let catalogue = Catalogue {
            titles: column(&data.catalogue.titles),
            genres: column(&data.catalogue.genres),
            overviews: column(&data.catalogue.overviews),
        };
        Ok(Dataset {
            interactions: Interactions::new(users.ids.len(), items.ids.len(), &renumber(&rows)),
            users: users.ids,
            items: items.ids,
            catalogue,
            file_rows,
            folds,
            filtered,
            ..data
        })
    }

    /// Refuses filters by what the data do not have.
    fn check(&self, data: &Dataset) -> Result<(), DataError> {
        let lacks = |filter: &Filter, what: &str, help: &str| {
            Err(DataError::Split(format!(
                "the filter `{filter}` needs {what}, but the data set `{}` has none\n  = help: {help}",
                data.name
            )))
        };
        for filter in &self.0 {
            if matches!(filter, Filter::Rating(_)) && !data.has_ratings {
                return lacks(filter, "ratings", "map a `rating` column, or remove the filter");
            }
            if filter.needs_times() && !data.has_timestamps {
                return lacks(filter, "times", "map a `timestamp` column, or remove the filter");
            }
            let latest = || data.interactions.iter().map(|row| row.timestamp).max();
            filter.check_dates(&data.name, latest)?;
        }
        Ok(())
    }

    /// The sequences of the interactions that remain, in their order. Users and items without any are no longer part
    /// of it.
    pub(in crate::data) fn apply_to_sequences(
        &self,
        data: SequenceData,
    ) -> Result<SequenceData, DataError> {
        if self.is_empty() {
            return Ok(data);
        }
        let rows: Vec<Interaction> = data.sequences.iter().collect();
        for filter in &self.0 {
            let lacks = |problem: String, help: &str| {
                Err(DataError::Split(format!(
                    "the filter `{filter}` of the data set `{}`: {problem}\n  = help: {help}",
                    data.name
                )))
            };
            match filter {
                Filter::Rating(_) => {
                    return lacks(
                        "sequences have no ratings that are looked at".into(),
                        "filter the file before, or remove the filter",
                    );
                }
                Filter::Time(_) if !data.has_times => {
                    return lacks(
                        "only the order of a user's interactions is known, not their times".into(),
                        "map a `timestamp` column, or remove the filter",
                    );
                }
                _ => {}
            }
            filter.check_dates(&data.name, || rows.iter().map(|row| row.timestamp).max())?;
        }
        // Interactions of a user are in the order of time already.
        let order: Vec<u32> = (0..rows.len() as u32).collect();
        let scope = Scope { name: &data.name, users: data.users.len(), items: data.items.len() };
        let (kept, filtered) = self.keep(scope, &rows, &order, "")?;
        let rows: Vec<Interaction> =
            rows.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(row, _)| row).collect();
        let users = Renumbered::new(&data.users, rows.iter().map(|row| row.user.0));
        let items = Renumbered::new(&data.items, rows.iter().map(|row| row.item.0));
        let rows: Vec<Interaction> = rows
            .iter()
            .map(|row| Interaction {
                user: UserIx(users.new[row.user.at()]),
                item: ItemIx(items.new[row.item.at()]),
                ..*row
            })
            .collect();
        Ok(SequenceData {
            sequences: Sequences::new(users.ids.len(), items.ids.len(), &rows),
            users: users.ids,
            items: items.ids,
            filtered,
            ..data
        })
    }

    fn of_fold(&self, data: &Dataset, fold: &OfficialFold) -> Result<OfficialFold, DataError> {
        let parts = [&fold.train, &fold.validation, &fold.test];
        let rows: Vec<Interaction> = parts.into_iter().flatten().copied().collect();
        // Of one moment the file decides; what is in the fold's files alone comes later, in their order.
        let of_file = |row: &Interaction| {
            let ends = &data.interactions.indptr()[row.user.at()..=row.user.at() + 1];
            let items = data.interactions.items_of(row.user);
            items.binary_search(&row.item.0).ok().map(|at| data.file_rows[ends[0] + at])
        };
        let order: Vec<u32> = rows
            .iter()
            .zip(data.interactions.len() as u32..)
            .map(|(row, later)| of_file(row).unwrap_or(later))
            .collect();
        let (kept, filtered) =
            self.keep(Scope::of(data), &rows, &order, &format!(" in the fold `{}`", fold.name))?;
        let mut kept = kept.into_iter();
        let mut part = |rows: &[Interaction]| -> Vec<Interaction> {
            rows.iter().zip(&mut kept).filter(|(_, kept)| *kept).map(|(row, _)| *row).collect()
        };
        Ok(OfficialFold {
            name: fold.name.clone(),
            train: part(&fold.train),
            validation: part(&fold.validation),
            test: part(&fold.test),
            filtered,
        })
    }
}

impl Filter {
    /// Whether it orders interactions in time.
    fn needs_times(&self) -> bool {
        matches!(self, Self::Time(_) | Self::First(_) | Self::Last(_))
    }

    /// Refuses a date where the times of the data set are no seconds since 1970.
    fn check_dates(
        &self,
        name: &str,
        latest: impl FnOnce() -> Option<Time>,
    ) -> Result<(), DataError> {
        let Self::Time(period) = self else { return Ok(()) };
        let is_date = [period.from, period.before].into_iter().flatten().any(|of| of.is_date);
        // Before 3 March 1973: a scale of the file's own, such as 0 to 1, and no seconds since 1970.
        match latest().filter(|of| is_date && *of < Time::from(100_000_000)) {
            Some(latest) => Err(DataError::Split(format!(
                "the filter `{self}` names a date, but the times of the data set `{name}` end at {latest}, which \
                 are no seconds since 1970\n  = help: give numbers on the scale of the data's times",
            ))),
            None => Ok(()),
        }
    }
}

/// Identifiers of which some are gone.
struct Renumbered {
    ids: Ids,
    /// By old index; of those that are gone it means nothing.
    new: Vec<u32>,
    left: Vec<bool>,
}

impl Renumbered {
    fn new(ids: &Ids, used: impl Iterator<Item = u32>) -> Self {
        let mut left = vec![false; ids.len()];
        used.for_each(|at| left[at as usize] = true);
        let mut next = 0;
        let new = left.iter().map(|left| {
            next += u32::from(*left);
            next.saturating_sub(1)
        });
        let new = new.collect();
        let names = ids.names().iter().zip(&left).filter(|(_, left)| **left);
        let names = names.map(|(name, _)| name.clone());
        Self { ids: Ids::new(names), new, left }
    }

    fn of_column(&self, values: &[Option<String>]) -> Vec<Option<String>> {
        let values = values.iter().zip(&self.left).filter(|(_, left)| **left);
        values.map(|(value, _)| value.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        base::yaml::{
            diagnostic::{Position, SourceFile},
            node::Node,
        },
        data::filter::Sizes,
    };

    /// `(user, item, rating, time)` in the order of the file.
    fn data(rows: &[(u32, u32, f32, i64)]) -> Dataset {
        let row = |&(user, item, rating, time): &(u32, u32, f32, i64)| Interaction {
            user: UserIx(user),
            item: ItemIx(item),
            rating,
            timestamp: time.into(),
        };
        let rows: Vec<Interaction> = rows.iter().map(row).collect();
        let mut file_rows: Vec<u32> = (0..rows.len() as u32).collect();
        file_rows.sort_by_key(|at| (rows[*at as usize].user, rows[*at as usize].item));
        let ids = |n: u32| Ids::new((0..n).map(|id| id.to_string()));
        let titles = (0..6).map(|item| Some(format!("title {item}"))).collect();
        Dataset {
            name: "made-up".into(),
            users: ids(4),
            items: ids(6),
            interactions: Interactions::new(4, 6, &rows),
            catalogue: Catalogue { titles, ..Catalogue::default() },
            file_rows,
            has_ratings: true,
            has_timestamps: true,
            folds: vec![],
            filtered: vec![],
            notes: vec![],
        }
    }

    fn filters(yaml: &str) -> Filters {
        let value: serde_yaml::Value = serde_yaml::from_str(yaml).unwrap();
        let file = SourceFile { path: "e.yaml".into(), text: yaml.into() };
        let at = Position { file: Arc::new(file), line: 1, column: 1, width: 1 };
        Filters::read(&Node::of_yaml(&value, &at)).unwrap()
    }

    const ROWS: [(u32, u32, f32, i64); 9] = [
        (0, 0, 5.0, 3),
        (0, 1, 1.0, 1),
        (0, 2, 4.0, 3),
        (1, 0, 3.0, 9),
        (1, 1, 4.0, 8),
        (1, 2, 5.0, 7),
        (2, 0, 2.0, 1),
        (2, 3, 2.0, 2),
        (3, 4, 5.0, 5),
    ];

    fn left(yaml: &str) -> (Dataset, Vec<(String, String)>) {
        let data = filters(yaml).apply(data(&ROWS)).unwrap();
        let name = |row: Interaction| {
            (data.users.name(row.user.0).to_owned(), data.items.name(row.item.0).to_owned())
        };
        let pairs = data.interactions.iter().map(name).collect();
        (data, pairs)
    }

    fn pairs(of: &[(u32, u32)]) -> Vec<(String, String)> {
        of.iter().map(|(user, item)| (user.to_string(), item.to_string())).collect()
    }

    /// By hand: items 3 and 4 have one interaction; without them users 2 and 3 have one and none.
    #[test]
    fn a_core_is_cut_until_nothing_changes_and_a_minimum_once() {
        let core = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];
        let (data, of_core) = left("[{k_core: 2}]");
        assert_eq!(of_core, pairs(&core));
        assert_eq!((data.users.len(), data.items.len()), (2, 3));
        let titles: Vec<&str> =
            data.catalogue.titles.iter().flatten().map(String::as_str).collect();
        assert_eq!(titles, ["title 0", "title 1", "title 2"]);
        let (_, once) = left("[{min_interactions: 2}]");
        assert_eq!(once, pairs(&[&core[..], &[(2, 0)]].concat()));
        let (_, of_items) = left("[{k_core: {item: 3}}]");
        assert_eq!(of_items, pairs(&[(0, 0), (1, 0), (2, 0)]));
        let (_, of_users) = left("[{k_core: {user: 2}}]");
        assert_eq!(of_users, pairs(&[&core[..], &[(2, 0), (2, 3)]].concat()));
    }

    #[test]
    fn filters_are_applied_in_turn_and_counted() {
        let (data, first) = left("[{rating: \">= 4\"}, {k_core: {user: 2}}]");
        assert_eq!(first, pairs(&[(0, 0), (0, 2), (1, 1), (1, 2)]));
        let sizes = |users, items, interactions| Sizes { users, items, interactions };
        let steps: Vec<(Sizes, Sizes)> =
            data.filtered.iter().map(|of| (of.before, of.after)).collect();
        let expected = [(sizes(4, 5, 9), sizes(3, 4, 5)), (sizes(3, 4, 5), sizes(2, 3, 4))];
        assert_eq!(steps, expected);
        assert_eq!(
            data.filtered[1].to_string(),
            "k_core: {user: 2}: users 3 → 2, items 4 → 3, interactions 5 → 4"
        );
        let (_, second) = left("[{k_core: {user: 2}}, {rating: \">= 4\"}]");
        assert_eq!(second, first);
        let (_, other) = left("[{k_core: {item: 2}}, {rating: \">= 5\"}]");
        assert_ne!(other, left("[{rating: \">= 5\"}, {k_core: {user: 1}}]").1);
    }

    /// Of user 0's two at time 3, item 0 stands first in the file.
    #[test]
    fn first_and_last_are_in_time_and_then_in_the_file() {
        assert_eq!(left("[{first: 1}]").1, pairs(&[(0, 1), (1, 2), (2, 0), (3, 4)]));
        assert_eq!(left("[{last: 1}]").1, pairs(&[(0, 2), (1, 0), (2, 3), (3, 4)]));
        assert_eq!(left("[{first: 2}]").1[..3], pairs(&[(0, 0), (0, 1), (1, 1)]));
    }

    #[test]
    fn a_period_begins_with_its_start_and_ends_before_its_end() {
        assert_eq!(
            left("[{time: {from: 3, before: 8}}]").1,
            pairs(&[(0, 0), (0, 2), (1, 2), (3, 4)])
        );
        assert_eq!(left("[{time: {from: 8}}]").1, pairs(&[(1, 0), (1, 1)]));
        let moment = |yaml: &str| filters(&format!("[{{time: {{from: {yaml}}}}}]"));
        assert_eq!(
            serde_json::to_string(&moment("\"1998-01-01\"")).unwrap(),
            r#"[{"time":{"from":883612800}}]"#
        );
        assert_eq!(moment("\"1998-01-01\"").to_string(), "time: {from: 1998-01-01}");
        assert_eq!(moment("883612800").to_string(), "time: {from: 883612800}");
        // These times are no seconds since 1970.
        let error = moment("\"1998-01-01\"").apply(data(&ROWS)).unwrap_err().to_string();
        assert!(error.contains("names a date"), "{error}");
    }

    /// In each fold all parts together: user 2 has one interaction in each part.
    #[test]
    fn publishers_folds_are_filtered_as_a_whole() {
        let mut data = data(&ROWS);
        let rows: Vec<Interaction> = data.interactions.iter().collect();
        let (test, train): (Vec<Interaction>, Vec<Interaction>) =
            rows.into_iter().partition(|row| row.item.0 == 0 || row.user.0 == 3);
        data.folds = vec![OfficialFold {
            name: "f".into(),
            train,
            validation: vec![],
            test,
            filtered: vec![],
        }];
        let data = filters("[{k_core: {user: 2}}, {last: 2}]").apply(data).unwrap();
        let of = |rows: &[Interaction]| {
            rows.iter().map(|row| (row.user.0, row.item.0)).collect::<Vec<_>>()
        };
        // Items 0, 1, 2 and 3 are left; user 3 is not.
        assert_eq!(of(&data.folds[0].train), [(0, 2), (1, 1), (2, 3)]);
        assert_eq!(of(&data.folds[0].test), [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(data.folds[0].filtered, data.filtered);
    }

    #[test]
    fn a_filter_that_leaves_nothing_is_an_error() {
        let error = filters("[{k_core: 7}]").apply(data(&ROWS)).unwrap_err().to_string();
        assert!(
            error.starts_with("the filter `k_core: {user: 7, item: 7}` leaves no interaction"),
            "{error}"
        );
        let without = Dataset { has_timestamps: false, ..data(&ROWS) };
        let error = filters("[{first: 2}]").apply(without).unwrap_err().to_string();
        assert!(error.contains("`first: 2` needs times"), "{error}");
        let without = Dataset { has_ratings: false, ..data(&ROWS) };
        let error = filters("[{rating: \"> 2\"}]").apply(without).unwrap_err().to_string();
        assert!(error.contains("needs ratings"), "{error}");
    }
}
