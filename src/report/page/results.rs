//! The tables of results, and what is known of each of their numbers.

use std::collections::HashMap;

use serde::Serialize;

use super::{Source, metric_at, tables::TableView};
use crate::{
    analysis::{CellKey, MEAN, ResultRow},
    base::{terminal::escaped, text::distinct},
    report::{Selection, Table},
};

#[derive(Serialize)]
pub struct Results {
    pub settings: Vec<Setting>,
    /// Key and title of every metric, for the choice of columns.
    pub metrics: Vec<(String, String)>,
    pub has_sd: bool,
    pub has_intervals: bool,
    pub folds: Folds,
}

/// The tables of a protocol, convention and slice, by cutoff.
#[derive(Serialize)]
pub struct Setting {
    pub id: String,
    pub title: String,
    pub open: bool,
    pub tables: Vec<Numbered>,
}

#[derive(Serialize)]
pub struct Numbered {
    /// The index of what the script knows of its numbers.
    pub at: usize,
    pub open: bool,
    pub table: TableView,
}

/// The main column by fold.
#[derive(Serialize)]
pub struct Folds {
    pub title: String,
    pub names: Vec<String>,
    pub rows: Vec<OfFolds>,
}

#[derive(Serialize)]
pub struct OfFolds {
    pub system: String,
    pub cells: Vec<OfFold>,
}

#[derive(Serialize)]
pub struct OfFold {
    pub value: String,
    pub n: usize,
    /// Of each seed, if there are several.
    pub seeds: Vec<String>,
}

/// What the script shows of a number.
#[derive(Serialize)]
struct Data<'a> {
    folds: Vec<String>,
    tables: Vec<TableData<'a>>,
}

#[derive(Serialize)]
struct TableData<'a> {
    setting: String,
    convention: &'a str,
    fingerprint: String,
    metrics: Vec<(String, String)>,
    rows: Vec<Vec<Option<Known>>>,
}

/// A number: value, deviations over folds and seeds, ends of the interval, users, user-fold pairs, values of the folds,
/// and the distribution over users.
#[derive(Serialize)]
struct Known(
    f64,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    usize,
    usize,
    Vec<Option<f64>>,
    Option<OverUsers>,
);

/// Users, those with 0, median, the ends, users by bin.
#[derive(Serialize)]
struct OverUsers(usize, usize, f64, f64, f64, Vec<usize>);

type RowKey<'a> = (&'a str, &'a str, &'a str, &'a str, usize, &'a str);

fn key(row: &ResultRow) -> RowKey<'_> {
    (&row.system, &row.protocol, &row.convention, &row.slice, row.k, &row.metric)
}

/// Six decimals: what the page shows of a fold.
fn short(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl Results {
    pub fn new(source: &Source) -> (Self, String) {
        let rows = &source.collected.rows;
        let main = &source.main;
        let folds =
            distinct(rows.iter().filter(|row| row.fold != MEAN).map(|row| row.fold.as_str()));
        let mut by_fold: HashMap<RowKey, Vec<Option<f64>>> = HashMap::new();
        let mut means: HashMap<RowKey, &ResultRow> = HashMap::new();
        for row in rows.iter().filter(|row| !row.one_of_several) {
            if row.fold == MEAN {
                means.insert(key(row), row);
                continue;
            }
            let of = by_fold.entry(key(row)).or_insert_with(|| vec![None; folds.len()]);
            let at = folds.iter().position(|fold| *fold == row.fold);
            of[at.unwrap_or_default()] = row.value.map(short);
        }
        let mut settings: Vec<Setting> = Vec::new();
        let mut data = Vec::new();
        let selections = Selection::all(rows, MEAN);
        let of_selection = rows_of(rows);
        for selection in &selections {
            let Selection { protocol, convention, slice, k, .. } = selection;
            let Some(chosen) = of_selection.get(&(&**protocol, &**convention, &**slice, *k)) else {
                continue;
            };
            let Some(table) = Table::new(chosen, selection) else { continue };
            let title = format!("{protocol} · {convention} · {slice}");
            let known = |system: &str, metric: &String| -> Option<Known> {
                let key: RowKey = (system, protocol, convention, slice, *k, metric);
                let row = *means.get(&key)?;
                let of_system = source.collected.distributions.get(system);
                let of = of_system.and_then(|of| of.get(&CellKey::of(row)));
                let over = of.map(|of| {
                    let ends = (short(of.median), short(of.low), short(of.high));
                    OverUsers(of.n, of.zeros, ends.0, ends.1, ends.2, of.counts.to_vec())
                });
                let folds = by_fold.get(&key).cloned().unwrap_or_default();
                Some(Known(
                    short(row.value?),
                    row.sd_folds.map(short),
                    row.sd_seeds.map(short),
                    row.low.map(short),
                    row.high.map(short),
                    row.n_users,
                    row.n_pairs,
                    folds,
                    over,
                ))
            };
            let of_rows = table
                .rows
                .iter()
                .map(|row| table.metrics.iter().map(|metric| known(&row.system, metric)).collect());
            let fingerprints = distinct(
                chosen.iter().filter(|row| row.fold == MEAN).map(|row| row.fingerprint.as_str()),
            );
            data.push(TableData {
                setting: format!("protocol {protocol}, convention {convention}, slice {slice}"),
                convention,
                fingerprint: fingerprints.join(", "),
                metrics: table
                    .metrics
                    .iter()
                    .map(|name| (name.clone(), metric_at(name, *k)))
                    .collect(),
                rows: of_rows.collect(),
            });
            let is_main = (protocol, convention, slice)
                == (&main.key.protocol, &main.key.convention, &main.slice);
            if settings.last().is_none_or(|of| of.title != title) {
                let id = format!("results-{}", settings.len() + 1);
                settings.push(Setting { id, title, open: is_main, tables: Vec::new() });
            }
            if let Some(setting) = settings.last_mut() {
                let table = TableView::new(&table);
                setting.tables.push(Numbered { at: data.len() - 1, open: *k == main.key.k, table });
            }
        }
        // What conclusions are drawn from comes first.
        settings.sort_by_key(|of| !of.open);
        for setting in &mut settings {
            setting.tables.sort_by_key(|of| !of.open);
            if !setting.tables.iter().any(|of| of.open)
                && let Some(first) = setting.tables.first_mut()
            {
                first.open = true;
            }
        }
        let names = distinct(rows.iter().map(|row| row.metric.as_str()));
        let of_means = || rows.iter().filter(|row| row.fold == MEAN);
        let results = Self {
            metrics: names
                .iter()
                .map(|name| {
                    let title = crate::tasks::metric(name).map_or(name.as_str(), |of| of.title);
                    (name.clone(), title.to_owned())
                })
                .collect(),
            has_sd: of_means().any(|row| row.sd_folds.or(row.sd_seeds).is_some()),
            has_intervals: of_means().any(|row| row.low.is_some()),
            folds: Folds::new(source, &folds),
            settings,
        };
        (results, as_script(&Data { folds, tables: data }))
    }
}

/// The rows of each protocol, convention, slice and cutoff.
fn rows_of(rows: &[ResultRow]) -> HashMap<(&str, &str, &str, usize), Vec<ResultRow>> {
    let mut of: HashMap<(&str, &str, &str, usize), Vec<ResultRow>> = HashMap::new();
    for row in rows {
        let place = (&*row.protocol, &*row.convention, &*row.slice, row.k);
        of.entry(place).or_default().push(row.clone());
    }
    of
}

impl Folds {
    fn new(source: &Source, folds: &[String]) -> Self {
        let main = &source.main;
        let all = source.collected.rows.iter();
        let chosen: Vec<&ResultRow> = all
            .filter(|row| row.fold != MEAN && main.has(row) && row.slice == main.slice)
            .collect();
        let rows = || chosen.iter();
        let systems = distinct(rows().map(|row| row.system.as_str()));
        let of_system = |system: &String| {
            let cells = folds.iter().map(|fold| {
                let of = || rows().filter(|row| row.system == *system && row.fold == *fold);
                let mean = of().find(|row| !row.one_of_several);
                let seeds = of().filter(|row| row.one_of_several);
                OfFold {
                    value: super::number(mean.and_then(|row| row.value)),
                    n: mean.map_or(0, |row| row.n_users),
                    seeds: seeds
                        .map(|row| format!("{}: {}", row.seed, super::number(row.value)))
                        .collect(),
                }
            });
            OfFolds { system: system.clone(), cells: cells.collect() }
        };
        Self {
            title: format!("{}, {}", main.metric(), main.setting()),
            names: folds.to_vec(),
            rows: systems.iter().map(of_system).collect(),
        }
    }
}

/// JSON that can stand in a script element: names are untrusted.
fn as_script(data: &impl Serialize) -> String {
    fn escape(value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::String(text) => *text = escaped(text).into_owned(),
            Value::Array(items) => items.iter_mut().for_each(escape),
            Value::Object(object) => {
                let fields = std::mem::take(object);
                object.extend(fields.into_iter().map(|(name, mut value)| {
                    escape(&mut value);
                    (escaped(&name).into_owned(), value)
                }));
            }
            _ => {}
        }
    }
    let mut value = serde_json::to_value(data).unwrap_or_default();
    escape(&mut value);
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_reads_ends_no_script_and_drives_no_terminal() {
        let text = as_script(&vec!["</script><!--", "a\u{202e}b\u{1b}[2J", "é & 中"]);
        assert!(!text.contains(['<', '>', '&', '\u{202e}', '\u{1b}']), "{text}");
        let back: Vec<String> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, ["</script><!--", "a\\u{202e}b\\u{1b}[2J", "é & 中"]);
    }
}
