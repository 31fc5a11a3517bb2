//! The main metric by slice of users.

use serde::Serialize;

use super::{Source, interval, number};
use crate::{
    analysis::{MEAN, ResultRow},
    base::text::{distinct, users_text},
};

#[derive(Serialize)]
pub struct Slices {
    pub metric: String,
    pub setting: String,
    pub names: Vec<String>,
    pub rows: Vec<OfSlices>,
    pub sizes: Vec<Size>,
}

#[derive(Serialize)]
pub struct OfSlices {
    pub system: String,
    pub cells: Vec<Value>,
}

#[derive(Serialize)]
pub struct Value {
    pub text: String,
    pub interval: Option<String>,
    pub n: usize,
}

/// Number of users of a slice in a fold.
#[derive(Serialize)]
pub struct Size {
    pub fold: String,
    pub slice: String,
    pub users: String,
}

impl Slices {
    pub fn new(source: &Source) -> Self {
        let main = &source.main;
        let all = source.collected.rows.iter();
        let chosen: Vec<&ResultRow> = all.filter(|row| row.fold == MEAN && main.has(row)).collect();
        let rows = || chosen.iter();
        let names = distinct(rows().map(|row| row.slice.as_str()));
        let systems = distinct(rows().map(|row| row.system.as_str()));
        let of_system = |system: &String| OfSlices {
            cells: names
                .iter()
                .map(|slice| {
                    let row = rows().find(|row| row.system == *system && row.slice == *slice);
                    Value {
                        text: number(row.and_then(|row| row.value)),
                        interval: interval(row.and_then(|row| row.low.zip(row.high))),
                        n: row.map_or(0, |row| row.n_users),
                    }
                })
                .collect(),
            system: system.clone(),
        };
        let sizes = source.collected.slices.iter().map(|of| {
            let fold = if of.fold == MEAN { "all folds" } else { &of.fold };
            Size {
                fold: format!("{fold} {}", of.setting).trim().to_owned(),
                slice: of.slice.clone(),
                users: users_text(of.users, of.pairs),
            }
        });
        Self {
            metric: main.metric(),
            setting: format!("protocol {}, convention {}", main.key.protocol, main.key.convention),
            rows: systems.iter().map(of_system).collect(),
            sizes: sizes.collect(),
            names,
        }
    }
}
