//! `different-users`

use std::collections::BTreeMap;

use crate::{
    analysis::{MEAN, ResultRow},
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        columns::{Column, is_ranked},
    },
};

pub const CHECK: Check = Check {
    id: "different-users",
    family: Family::Statistics,
    severity: Severity::Error,
    title: "Systems of one column whose means are over other users",
    why: "A system that has no list for hard users, or a convention that leaves out users without a hit, averages over \
          easier users than the system beside it.",
    source: "docs/EVALUATION.md, section Conventions: the means of a row can be over different users",
    fix: "Use the convention `standard`, in which every user with a relevant item counts, and give every user a list.",
    run,
};

/// Rows that have to be over the same users: a fold and a seed of a column.
type Place<'a> = (&'a str, &'a str, &'a str, &'a str, usize, &'a str);

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let main = Column::main(variant);
        let published: Vec<Column> =
            subject.published().into_iter().flat_map(Column::of_published).collect();
        let names: Vec<&str> = subject
            .arms_of(at)
            .into_iter()
            .filter(|arm| !arm.record.knows_test)
            .map(|arm| arm.name)
            .collect();
        let is_row = |row: &&ResultRow| {
            row.fold != MEAN
                && row.seed != MEAN
                && is_ranked(&row.metric)
                && names.contains(&row.system.as_str())
        };
        let mut places: BTreeMap<Place, Vec<&ResultRow>> = BTreeMap::new();
        for row in subject.collected.rows.iter().filter(is_row) {
            let place: Place =
                (&row.protocol, &row.convention, &row.slice, &row.metric, row.k, &row.fold);
            places.entry(place).or_default().push(row);
        }
        // By protocol and convention: the column with the widest gap, and how many columns have one.
        let mut gaps: BTreeMap<(&str, &str), Gap> = BTreeMap::new();
        for rows in places.values() {
            let most = rows.iter().max_by_key(|row| row.n_users);
            let least = rows.iter().min_by_key(|row| row.n_users);
            let (Some(most), Some(least)) = (most, least) else { continue };
            if most.n_users == least.n_users {
                continue;
            }
            let is_claim = main.iter().chain(&published).any(|of| of.is_of(least));
            let gap = gaps.entry((&least.protocol, &least.convention)).or_insert(Gap {
                most,
                least,
                is_claim,
                columns: 0,
            });
            gap.columns += 1;
            let share = |most: &ResultRow, least: &ResultRow| {
                least.n_users as f64 / most.n_users.max(1) as f64
            };
            let wider = share(most, least) < share(gap.most, gap.least);
            if (is_claim && !gap.is_claim) || (is_claim == gap.is_claim && wider) {
                (gap.most, gap.least, gap.is_claim) = (most, least, is_claim);
            }
        }
        for ((protocol, convention), gap) in gaps {
            let Gap { most, least, is_claim, columns } = gap;
            let message = format!(
                "{}@{} of {} ({protocol}, {convention}, {}) is a mean over {} users for `{}` and over {} for `{}`; \
                 {columns} columns and folds of this convention differ so",
                least.metric,
                least.k,
                least.fold,
                least.slice,
                least.n_users,
                least.system,
                most.n_users,
                most.system
            );
            let finding = Finding::new(least.system.clone(), message)
                .with("protocol", protocol)
                .with("convention", convention)
                .with("least_users", least.n_users)
                .with("most_users", most.n_users)
                .with("columns", columns);
            // Nothing is concluded from the other columns.
            findings.push(match is_claim {
                true => finding,
                false => finding.as_severe_as(Severity::Note),
            });
        }
    }
    Ok(Outcome::Checked(findings))
}

struct Gap<'a> {
    most: &'a ResultRow,
    least: &'a ResultRow,
    /// Whether it is in a column that conclusions are drawn from.
    is_claim: bool,
    columns: usize,
}
