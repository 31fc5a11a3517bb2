//! Which results a table is of.

use crate::{
    analysis::{Place, ResultRow},
    core::MeasureKey,
};

/// Which rows a table shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    pub protocol: String,
    pub convention: String,
    pub slice: String,
    pub k: usize,
    /// A fold's name, or `mean`.
    pub fold: String,
}

impl Selection {
    /// What the selection is made of, by name.
    pub(super) fn parts(&self) -> [(&'static str, String); 5] {
        [
            ("protocol", self.protocol.clone()),
            ("convention", self.convention.clone()),
            ("slice", self.slice.clone()),
            ("k", self.k.to_string()),
            ("fold", self.fold.clone()),
        ]
    }

    /// The column of a metric.
    pub(super) fn place(&self, metric: &str) -> Place {
        let measure = MeasureKey {
            protocol: self.protocol.clone(),
            convention: self.convention.clone(),
            metric: metric.to_owned(),
            k: self.k,
        };
        Place { measure, slice: self.slice.clone(), fold: self.fold.clone() }
    }

    pub(super) fn holds(&self, row: &ResultRow) -> bool {
        row.protocol == self.protocol
            && row.convention == self.convention
            && row.slice == self.slice
            && row.k == self.k
            && row.fold == self.fold
            && !row.one_of_several
    }

    /// Every selection that `rows` have, in their order, of the fold `fold`.
    pub fn all(rows: &[ResultRow], fold: &str) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for row in rows.iter().filter(|row| row.fold == fold && !row.one_of_several) {
            if !all.iter().rev().any(|selection| selection.holds(row)) {
                all.push(Self {
                    protocol: row.protocol.clone(),
                    convention: row.convention.clone(),
                    slice: row.slice.clone(),
                    k: row.k,
                    fold: row.fold.clone(),
                });
            }
        }
        all.sort_by_key(|of| {
            let place = |matches: &dyn Fn(&ResultRow) -> bool| rows.iter().position(matches);
            (
                place(&|row| row.protocol == of.protocol),
                place(&|row| row.convention == of.convention),
                place(&|row| row.slice == of.slice),
                of.k,
            )
        });
        all
    }
}
