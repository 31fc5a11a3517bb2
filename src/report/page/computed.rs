//! How the numbers are computed: formulas, users, means, intervals.

use serde::Serialize;

use super::Source;
use crate::{
    analysis::{Bootstrap, LEVEL, MEAN},
    base::text::distinct,
    ranking::{Convention, Metric},
};

#[derive(Serialize)]
pub struct Computed {
    pub conventions: Vec<OfConvention>,
    pub protocols: Vec<(String, &'static str)>,
    pub resamples: usize,
    pub seed: u64,
    pub level: String,
    pub has_folds: bool,
}

#[derive(Serialize)]
pub struct OfConvention {
    pub name: String,
    pub formulas: Vec<Formula>,
}

#[derive(Serialize)]
pub struct Formula {
    pub key: String,
    pub title: String,
    pub value: String,
    pub users: &'static str,
}

impl Computed {
    pub fn new(source: &Source) -> Self {
        let rows = &source.collected.rows;
        let metrics = distinct(rows.iter().map(|row| row.metric.as_str()));
        let conventions = distinct(rows.iter().map(|row| row.convention.as_str()));
        let of_convention = |name: String| {
            let convention = name.parse::<Convention>().ok();
            let formulas = metrics.iter().filter_map(|key| {
                let metric: Metric = key.parse().ok()?;
                let (value, users) = convention?.formula(metric);
                let title = format!("{}@k", metric.info().title);
                let value = value.replace("h_n", "hₙ");
                Some(Formula { key: key.clone(), title, value, users })
            });
            OfConvention { formulas: formulas.collect(), name }
        };
        let protocols = distinct(rows.iter().map(|row| row.protocol.as_str()));
        let bootstrap = Bootstrap::default();
        Self {
            conventions: conventions.into_iter().map(of_convention).collect(),
            protocols: protocols
                .into_iter()
                .map(|name| {
                    let about = about_protocol(&name);
                    (name, about)
                })
                .collect(),
            resamples: bootstrap.resamples,
            seed: bootstrap.seed,
            level: format!("{:.0} %", 100.0 * LEVEL),
            has_folds: rows.iter().filter(|row| row.fold == MEAN).any(|row| row.sd_folds.is_some()),
        }
    }
}

fn about_protocol(name: &str) -> &'static str {
    match name {
        "full" => {
            "every item of the catalogue that the user has no training interaction with is ranked"
        }
        "judged" => "only the items of the user's test part are ranked",
        "judged-after-cut" => {
            "the first k of the ranking of all items are cut, then only the items of the user's test part are kept, in \
             their order"
        }
        "sampled" => {
            "the user's relevant items are ranked against sampled items that the user has not seen; inconsistent with the \
             ranking of all items"
        }
        _ => "see the documentation",
    }
}
