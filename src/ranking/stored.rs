//! Results of scoring, read from the files that [`Scores::write`](super::Scores::write) wrote.

use std::{collections::HashSet, fs, path::Path, sync::Arc};

use polars::prelude::*;

use super::{
    EvalError, Metric, ScoreSpec, Slice, Summary,
    scores::{LISTED, TIED, UserCells, by_list},
};
use crate::{
    base::parquet,
    core::{Columns, Measurements},
};

/// Means by slice, metric and cutoff.
pub const SUMMARY: &str = "summary.json";
/// One row for each user, protocol, convention and cutoff.
pub const USERS: &str = "users.parquet";

/// Reads the means in `dir`.
pub fn read_summary(dir: &Path) -> Result<Vec<Summary>, EvalError> {
    let path = dir.join(SUMMARY);
    let text =
        fs::read_to_string(&path).map_err(|source| EvalError::Io { path: path.clone(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| EvalError::Malformed { path, problem: error.to_string() })
}

/// Reads every user's values in `dir`, of all metrics of which a column is wanted.
pub fn read_measurements(
    dir: &Path,
    spec: &ScoreSpec,
    columns: Columns,
) -> Result<Measurements, EvalError> {
    Ok(read_user_cells(dir, columns)?.measurements(spec))
}

/// Whether the means in `dir` are those that `spec` asks for, and those of the users' values beside them, which are
/// returned. Metrics of all lists together cannot be made again from these.
pub fn check_summary(dir: &Path, spec: &ScoreSpec) -> Result<Measurements, EvalError> {
    let (summary, users) = (read_summary(dir)?, read_user_cells(dir, Columns::All)?);
    let malformed = |problem: String| EvalError::Malformed { path: dir.join(SUMMARY), problem };
    let normalised = spec.normalised();
    let n_users = users.train_counts.len();
    // The rows of each slice.
    let of_slices: Vec<(Slice, Vec<usize>)> = normalised
        .slices
        .iter()
        .map(|slice| {
            let members = users.members(*slice);
            (*slice, (0..n_users).filter(|row| members[*row]).collect())
        })
        .collect();
    let mut found = summary.iter();
    for (protocol, convention) in normalised.pairs() {
        for (slice, rows) in &of_slices {
            let asked = || rows.iter().filter(|row| users.relevant[**row]);
            let n_asked = asked().count();
            let without = asked().filter(|row| users.train_counts[**row] == 0).count();
            // By cutoff, the users of the list: tied, and with an item.
            let of_lists: Vec<Option<[usize; 2]>> = normalised
                .k
                .iter()
                .map(|k| {
                    let at = users.lists.iter().position(|of| *of == (protocol, convention, *k))?;
                    let (tied, listed) = (&users.tied[at], &users.listed[at]);
                    let listed = rows.iter().filter(|row| listed[**row]).count();
                    Some([asked().filter(|row| tied[**row]).count(), listed])
                })
                .collect();
            let k = || normalised.k.iter().zip(&of_lists);
            for (metric, (k, of_list)) in
                normalised.metrics.iter().flat_map(|m| k().map(move |k| (*m, k)))
            {
                let what = || format!("{protocol} {convention} {slice} {metric}@{k}");
                let mean =
                    found.next().ok_or_else(|| malformed(format!("{} is missing", what())))?;
                let of = (mean.protocol, mean.convention, mean.slice, mean.metric, mean.k);
                if of != (protocol, convention, *slice, metric, *k) {
                    return Err(malformed(format!("{} is not where it must be", what())));
                }
                let of = &mean.caveats;
                let tied = of_list.map(|[tied, _]| tied);
                let is_same = n_asked == of.users
                    && tied == Some(of.tied_users).filter(|_| n_users > 0)
                    && of.users_without_history == without;
                if !is_same {
                    return Err(malformed(format!(
                        "{} counts other users than those beside it (all, tied, or without history)",
                        what()
                    )));
                }
                if metric.is_of_all_lists() {
                    let n = of_list.map(|[_, listed]| listed);
                    let is_share = mean.value.is_none_or(|value| (0.0..=1.0).contains(&value));
                    if !is_share || mean.n_users != n.unwrap_or_default() {
                        return Err(malformed(format!("{} is out of range", what())));
                    }
                    continue;
                }
                let cell =
                    users.cells.iter().position(|of| *of == (protocol, convention, *k, metric));
                if cell.is_none() && n_users > 0 {
                    return Err(malformed(format!("{} has no values of users beside it", what())));
                }
                let (mut n, mut sum) = (0, 0.0);
                if let Some(cell) = cell {
                    let values = &users.values[cell];
                    for value in rows.iter().map(|row| values[*row]).filter(|of| !of.is_nan()) {
                        n += 1;
                        sum += value;
                    }
                }
                let expected = (n > 0).then(|| sum / n as f64);
                let is_same = match (mean.value, expected) {
                    (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
                    (None, None) => true,
                    _ => false,
                };
                if !is_same || mean.n_users != n {
                    let said = mean.value.map_or("none".into(), |value| value.to_string());
                    let expected = expected.map_or("none".into(), |value| value.to_string());
                    return Err(malformed(format!(
                        "{} is {said} over {} users, and the mean of the users' values is {expected} \
                         over {n}",
                        what(),
                        mean.n_users
                    )));
                }
            }
        }
    }
    match found.next() {
        Some(_) => Err(malformed("it holds more means than were asked for".into())),
        None => Ok(users.measurements(spec)),
    }
}

/// As they stand in the file.
fn read_user_cells(dir: &Path, wanted: Columns) -> Result<UserCells, EvalError> {
    let path = dir.join(USERS);
    let frame = match wanted {
        Columns::All => parquet::read(&path),
        Columns::Of(_) => parquet::read_columns(&path, &|name| {
            name.parse::<Metric>().is_err() || wanted.has_metric(name)
        }),
    };
    let frame = frame.map_err(|source| EvalError::Io { path: path.clone(), source })?;
    user_cells_of(&frame).map_err(|problem| EvalError::Malformed { path, problem })
}

fn user_cells_of(frame: &DataFrame) -> Result<UserCells, String> {
    let column = |name: &str| frame.column(name).map_err(|error| error.to_string());
    let count = |name: &str| -> Result<Vec<u32>, String> {
        let column = column(name)?.u32().map_err(|error| error.to_string())?;
        match column.null_count() {
            0 => Ok(column.downcast_iter().flat_map(|of| of.values().iter().copied()).collect()),
            _ => Err("a value is missing".into()),
        }
    };
    // Every user has the same rows, one after the other: as many as before the second user.
    let of_rows = column("user")?.str().map_err(|error| error.to_string())?;
    let first = of_rows.get(0);
    let rows_each = of_rows.iter().take_while(|user| *user == first).count();
    if of_rows.null_count() > 0 || (rows_each > 0 && of_rows.len() % rows_each != 0) {
        return Err("not every user has the same rows".into());
    }
    let each = rows_each.max(1);
    let mut users: Vec<&str> = Vec::with_capacity(of_rows.len() / each);
    let mut is_block_by_block = true;
    for (row, user) in of_rows.iter().flatten().enumerate() {
        match row % each {
            0 => users.push(user),
            _ => is_block_by_block &= users.last() == Some(&user),
        }
    }
    let distinct: HashSet<&str> = users.iter().copied().collect();
    if distinct.len() != users.len() || !is_block_by_block {
        return Err("a user has more rows than another, or stands there twice".into());
    }
    // A text that is that of the first user in every block.
    let of_first = |name: &str| -> Result<Vec<String>, String> {
        let column = column(name)?.str().map_err(|error| error.to_string())?;
        let mut first: Vec<&str> = Vec::with_capacity(rows_each);
        for (row, text) in column.iter().enumerate() {
            match text {
                Some(text) if row < rows_each => first.push(text),
                Some(text) if first[row % each] == text => {}
                Some(_) => return Err(format!("a user's `{name}` is not that of the others")),
                None => return Err("a value is missing".into()),
            }
        }
        Ok(first.into_iter().map(str::to_owned).collect())
    };
    let (protocols, conventions) = (of_first("protocol")?, of_first("convention")?);
    let (cutoffs, train_counts) = (count("k")?, count("train_count")?);
    let differs = |row: usize| {
        cutoffs[row] != cutoffs[row % each] || train_counts[row] != train_counts[row - row % each]
    };
    if (0..cutoffs.len()).any(differs) {
        return Err("the rows of a user are not those of the others".into());
    }
    let flags = |name: &str| -> Result<Vec<bool>, String> {
        let column = column(name)?.bool().map_err(|error| error.to_string())?;
        Ok(column.iter().map(Option::unwrap_or_default).collect())
    };
    let mut metrics: Vec<(Metric, Vec<f64>)> = Vec::new();
    let mut members: Vec<(Slice, Vec<bool>)> = Vec::new();
    for name in frame.get_column_names() {
        if let Ok(slice) = name.parse::<Slice>() {
            members.push((slice, flags(name)?.into_iter().step_by(each).collect()));
            continue;
        }
        let Ok(metric) = name.parse::<Metric>() else { continue };
        let column = column(name)?.f64().map_err(|error| error.to_string())?;
        let values = values_of(column, metric == Metric::Novelty);
        let values =
            values.ok_or_else(|| format!("the column `{name}` holds a number out of range"))?;
        metrics.push((metric, values));
    }
    let (mut cells, mut lists, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows_each {
        let (protocol, convention) = (protocols[row].parse()?, conventions[row].parse()?);
        let k = cutoffs[row] as usize;
        lists.push((protocol, convention, k));
        for (metric, of_rows) in &metrics {
            cells.push((protocol, convention, k, *metric));
            let of_users = of_rows.iter().skip(row).step_by(each).copied();
            values.push(of_users.collect::<Arc<[f64]>>());
        }
    }
    Ok(UserCells {
        cells,
        users: users.into_iter().map(str::to_owned).collect(),
        train_counts: train_counts.iter().step_by(each).map(|n| *n as usize).collect(),
        members,
        values,
        lists,
        listed: by_list(flags(LISTED)?.into_iter(), rows_each),
        relevant: count("relevant")?.into_iter().step_by(each).map(|n| n > 0).collect(),
        tied: by_list(flags(TIED)?.into_iter(), rows_each),
    })
}

/// The values of a metric, NaN where there is none; none if one is out of range.
fn values_of(column: &Float64Chunked, may_be_negative: bool) -> Option<Vec<f64>> {
    let is_fine = |value: f64| value.is_finite() && (value >= 0.0 || may_be_negative);
    let mut all = Vec::with_capacity(column.len());
    for chunk in column.downcast_iter() {
        let values = chunk.values().iter().copied();
        match chunk.validity() {
            None => all.extend(values),
            Some(has_value) => {
                for (value, has_value) in values.zip(has_value.iter()) {
                    match has_value {
                        true if !is_fine(value) => return None,
                        true => all.push(value),
                        false => all.push(f64::NAN),
                    }
                }
                continue;
            }
        }
        if !chunk.values().iter().all(|value| is_fine(*value)) {
            return None;
        }
    }
    Some(all)
}
