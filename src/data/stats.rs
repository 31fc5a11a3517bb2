//! Figures that describe a data set.

use serde::Serialize;

use super::{Dataset, Time, UserIx};

/// What `assay data stats` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetStats {
    pub name: String,
    pub digest: String,
    pub users: usize,
    pub items: usize,
    pub interactions: usize,
    /// Share of all (user, item) pairs that are there, 0 to 1.
    pub density: f64,
    /// Minimum, quartiles and maximum of interactions a user.
    pub per_user: [usize; 5],
    /// Minimum, quartiles and maximum of interactions an item (of the whole catalogue).
    pub per_item: [usize; 5],
    pub items_without_interactions: usize,
    /// How often each rating occurs, in ascending order of ratings; none for sets without ratings.
    pub ratings: Vec<(f32, usize)>,
    /// First and last timestamp.
    pub time_range: Option<(Time, Time)>,
    pub folds: Vec<String>,
    pub with_titles: usize,
    pub with_overviews: usize,
    pub notes: Vec<String>,
}

impl DatasetStats {
    /// Counts what is in `data`.
    pub fn of(data: &Dataset) -> Self {
        let matrix = &data.interactions;
        let per_user: Vec<usize> =
            (0..data.users.len()).map(|user| matrix.items_of(UserIx(user as u32)).len()).collect();
        let per_item: Vec<usize> =
            matrix.item_counts().iter().map(|count| *count as usize).collect();
        let mut ratings: Vec<(f32, usize)> = Vec::new();
        if data.has_ratings {
            let mut sorted = matrix.ratings().to_vec();
            sorted.sort_by(f32::total_cmp);
            for rating in sorted {
                match ratings.last_mut() {
                    Some((last, count)) if *last == rating => *count += 1,
                    _ => ratings.push((rating, 1)),
                }
            }
        }
        let times = || matrix.iter().map(|row| row.timestamp);
        let known = |texts: &[Option<String>]| texts.iter().flatten().count();
        Self {
            name: data.name.clone(),
            digest: data.digest().to_string(),
            users: data.users.len(),
            items: data.items.len(),
            interactions: matrix.len(),
            density: matrix.len() as f64 / (data.users.len() * data.items.len()).max(1) as f64,
            items_without_interactions: per_item.iter().filter(|count| **count == 0).count(),
            per_user: quartiles(per_user),
            per_item: quartiles(per_item),
            ratings,
            time_range: data.has_timestamps.then(|| times().min().zip(times().max())).flatten(),
            folds: data.folds.iter().map(|fold| fold.name.clone()).collect(),
            with_titles: known(&data.catalogue.titles),
            with_overviews: known(&data.catalogue.overviews),
            notes: data.notes.clone(),
        }
    }
}

/// Minimum, lower quartile, median, upper quartile and maximum (nearest rank).
fn quartiles(mut counts: Vec<usize>) -> [usize; 5] {
    counts.sort_unstable();
    let last = counts.len().saturating_sub(1);
    [0, 1, 2, 3, 4].map(|quarter| counts.get(last * quarter / 4).copied().unwrap_or(0))
}
