//! Agreement of the order of systems between evaluation settings (protocol and convention).

use comfy_table::CellAlignment;
use serde::Serialize;

use super::{
    FEW_UNITS, LEVEL, ResultRow, tau_b,
    units::{Interval, PairedDraws, few_users},
};
use crate::{
    base::text::{distinct, plain_table, users_text},
    tasks,
};

/// Values of systems under evaluation settings, for one metric, cutoff, slice and fold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankAgreement {
    pub metric: String,
    pub k: usize,
    pub slice: String,
    pub fold: String,
    pub systems: Vec<String>,
    #[serde(rename = "ways")]
    pub settings: Vec<EvaluationSetting>,
    /// Kendall's τ-b between the orders of two settings, `[settings, settings]`; none where it is undefined.
    pub tau: Vec<Vec<Option<f64>>>,
    /// Pairs of systems that swap ranks between two settings.
    #[serde(rename = "swaps")]
    pub inversions: Vec<RankInversion>,
}

/// A protocol with a convention.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationSetting {
    pub protocol: String,
    pub convention: String,
    /// By system.
    pub values: Vec<Option<f64>>,
    /// By system, 1 for the highest value; equal values share a rank.
    pub ranks: Vec<Option<usize>>,
    pub n_users: Vec<usize>,
}

/// `better` ranks above `worse` under the settings in `over`, which include the first one that separates them, and below
/// it under the settings in `under`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankInversion {
    pub better: String,
    pub worse: String,
    /// Indices into [`RankAgreement::settings`].
    pub over: Vec<usize>,
    pub under: Vec<usize>,
    /// By setting: the interval of the mean of `better` minus that of `worse`, if there is one.
    pub differences: Vec<Option<Interval>>,
    pub evidence: Evidence,
}

impl RankInversion {
    /// Whether it is statistically significant.
    pub fn is_established(&self) -> bool {
        self.evidence == Evidence::Established
    }
}

/// Whether a rank inversion is statistically significant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The interval of the difference is above 0 under one setting, and below 0 under another.
    Established,
    /// Not significant.
    NotDistinguishable,
    /// There are no intervals for both sides: too few users, different users, or a metric over all lists.
    NoInterval,
}

impl RankAgreement {
    /// None if fewer than two settings have values. `draws` decide which inversions are significant.
    pub fn new(
        rows: &[ResultRow],
        draws: &PairedDraws,
        metric: &str,
        k: usize,
        (slice, fold): (&str, &str),
    ) -> Option<Self> {
        let chosen: Vec<&ResultRow> = rows
            .iter()
            .filter(|row| {
                row.metric == metric
                    && row.k == k
                    && row.slice == slice
                    && row.fold == fold
                    && !row.knows_test
                    && !row.one_of_several
            })
            .collect();
        let systems = distinct(chosen.iter().map(|row| row.system.as_str()));
        let pairs =
            distinct(chosen.iter().map(|row| format!("{}\n{}", row.protocol, row.convention)));
        let settings: Vec<EvaluationSetting> = pairs
            .iter()
            .map(|pair| {
                let (protocol, convention) = pair.split_once('\n').unwrap_or_default();
                let of = |system: &String| {
                    chosen.iter().find(|row| {
                        row.system == *system
                            && row.protocol == protocol
                            && row.convention == convention
                    })
                };
                let values: Vec<Option<f64>> =
                    systems.iter().map(|system| of(system)?.value).collect();
                let above = |value: f64| values.iter().flatten().filter(|v| **v > value).count();
                EvaluationSetting {
                    protocol: protocol.into(),
                    convention: convention.into(),
                    ranks: values.iter().map(|value| value.map(|v| above(v) + 1)).collect(),
                    n_users: systems.iter().map(|s| of(s).map_or(0, |row| row.n_users)).collect(),
                    values,
                }
            })
            .collect();
        if settings.len() < 2 || systems.is_empty() {
            return None;
        }
        let tau = |a: &EvaluationSetting, b: &EvaluationSetting| {
            let both = a.values.iter().zip(&b.values).filter_map(|(a, b)| a.zip(*b));
            let (a, b): (Vec<f64>, Vec<f64>) = both.unzip();
            tau_b(&a, &b)
        };
        let cell_of = |setting: usize| {
            let setting: &EvaluationSetting = &settings[setting];
            chosen.iter().copied().find(|row| {
                (&row.protocol, &row.convention) == (&setting.protocol, &setting.convention)
            })
        };
        let mut inversions = inversions(&systems, &settings);
        for inversion in &mut inversions {
            let difference = |setting: usize| {
                draws.difference(&inversion.better, &inversion.worse, cell_of(setting)?)
            };
            inversion.differences = (0..settings.len()).map(difference).collect();
            inversion.evidence = evidence(inversion);
        }
        // Significant inversions are shown first.
        inversions.sort_by_key(|inversion| inversion.evidence);
        Some(Self {
            metric: metric.into(),
            k,
            slice: slice.into(),
            fold: fold.into(),
            tau: settings.iter().map(|a| settings.iter().map(|b| tau(a, b)).collect()).collect(),
            inversions,
            systems,
            settings,
        })
    }

    /// `full · standard`
    pub fn setting_name(&self, at: usize) -> String {
        format!("{} · {}", self.settings[at].protocol, self.settings[at].convention)
    }

    /// `nDCG@10, slice all, fold u1`
    pub fn title(&self) -> String {
        let fold = if self.fold == "mean" {
            "mean of folds".into()
        } else {
            format!("fold {}", self.fold)
        };
        let metric = tasks::metric(&self.metric).map_or(self.metric.as_str(), |of| of.title);
        format!("{metric}@{}, slice {}, {fold}", self.k, self.slice)
    }

    /// The conclusion, in a sentence.
    pub fn verdict(&self) -> String {
        if self.systems.len() < 2 {
            return "There is only one system, so there is no order.".into();
        }
        if self.inversions.is_empty() {
            return format!(
                "No two of the {} systems swap ranks: the order does not depend on the evaluation setting.",
                self.systems.len()
            );
        }
        let pairs = self.systems.len() * (self.systems.len() - 1) / 2;
        let n = |of: Evidence| {
            self.inversions.iter().filter(|inversion| inversion.evidence == of).count()
        };
        let verb = |n: usize| if n == 1 { "swaps" } else { "swap" };
        let established = n(Evidence::Established);
        let others = [
            (n(Evidence::NotDistinguishable), "not statistically significant"),
            (n(Evidence::NoInterval), "without confidence intervals"),
        ];
        let others: Vec<String> = others
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, why)| format!("{n} {} ranks, {why}", verb(*n)))
            .collect();
        match (established, others.join("; ")) {
            (0, others) => format!(
                "Of {pairs} {} of systems, {others}: there is no evidence that the order depends on the evaluation \
                 setting.",
                if pairs == 1 { "pair" } else { "pairs" }
            ),
            (n, others) => {
                let others = if others.is_empty() { others } else { format!(" (and {others})") };
                format!(
                    "{n} of {pairs} pairs of systems {} ranks, statistically significant{others}: the \
                     order depends on the evaluation setting.",
                    verb(n)
                )
            }
        }
    }

    /// A pair that swaps ranks: `significant: als over lightgcn under full · standard; reversed under …`.
    pub fn inversion_text(&self, inversion: &RankInversion) -> String {
        let names = |settings: &[usize]| {
            let (shown, more) = settings.split_at(settings.len().min(SHOWN_SETTINGS));
            let names: Vec<String> =
                shown.iter().map(|setting| self.setting_name(*setting)).collect();
            let more = match more.len() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            format!("{}{more}", names.join(", "))
        };
        let evidence = match inversion.evidence {
            Evidence::Established => "significant",
            Evidence::NotDistinguishable => "not significant",
            Evidence::NoInterval => "no intervals",
        };
        // The interval furthest from 0 on each side, on which the evidence is based.
        let interval = |settings: &[usize], sign: f64| {
            let ends = settings.iter().filter_map(|setting| inversion.differences[*setting]);
            let near = |(low, high): &Interval| if sign > 0.0 { *low } else { -high };
            let best = ends.max_by(|a, b| near(a).total_cmp(&near(b)));
            best.map_or(String::new(), |(low, high)| format!(" [{low:+.4}, {high:+.4}]"))
        };
        format!(
            "{evidence}: {} over {} under {}{}; reversed under {}{}",
            inversion.better,
            inversion.worse,
            names(&inversion.over),
            interval(&inversion.over, 1.0),
            names(&inversion.under),
            interval(&inversion.under, -1.0)
        )
    }

    /// Explains the brackets of pairs that swap ranks; none if there are no such pairs.
    pub fn note(&self) -> Option<String> {
        let has_intervals = |inversion: &RankInversion| inversion.evidence != Evidence::NoInterval;
        self.inversions.iter().any(has_intervals).then(|| {
            format!(
                "Significant: in two evaluation settings the {:.0} % interval of the paired difference (first system − \
                 second, same resamples of users) excludes 0, with opposite signs. [low, high]: the interval \
                 furthest from 0. Not corrected for the number of pairs and settings.{}",
                100.0 * LEVEL,
                self.few().map(|text| format!(" Warning: {text}.")).unwrap_or_default()
            )
        })
    }

    /// A warning about intervals over few users.
    fn few(&self) -> Option<String> {
        let n =
            self.settings.iter().flat_map(|setting| &setting.n_users).filter(|n| **n < FEW_UNITS);
        few_users(&distinct(n.map(|n| users_text(*n, *n))))
    }

    /// A cell: value and rank, and after the first row the difference to it.
    pub fn text(&self, setting: usize, system: usize) -> String {
        let of = &self.settings[setting];
        let (Some(value), Some(rank)) = (of.values[system], of.ranks[system]) else {
            return "–".into();
        };
        match self.settings[0].values[system] {
            Some(first) if setting > 0 => format!("{value:.4} {:+.4} ({rank})", value - first),
            _ => format!("{value:.4} ({rank})"),
        }
    }

    /// τ as a cell.
    pub fn tau_text(&self, a: usize, b: usize) -> String {
        self.tau[a][b].map_or("–".into(), |tau| format!("{tau:.3}"))
    }

    /// A table for the terminal: one row per evaluation setting, one column per system.
    pub fn terminal(&self) -> String {
        let mut table = plain_table();
        let header = ["evaluation setting".to_owned(), "n".into()].into_iter();
        table.set_header(
            header.chain(self.systems.iter().cloned()).chain(["τ with the first".to_owned()]),
        );
        for setting in 0..self.settings.len() {
            let head = [self.setting_name(setting), self.n_text(setting)].into_iter();
            let cells = (0..self.systems.len()).map(|system| self.text(setting, system));
            table.add_row(head.chain(cells).chain([self.tau_text(setting, 0)]));
        }
        for at in 1..self.systems.len() + 3 {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = format!("{}\n{table}\n{}\n", self.title(), self.verdict());
        for inversion in self.inversions.iter().take(SHOWN_INVERSIONS) {
            text.push_str(&format!("  {}\n", self.inversion_text(inversion)));
        }
        if self.inversions.len() > SHOWN_INVERSIONS {
            text.push_str(&format!(
                "  and {} more (--json)\n",
                self.inversions.len() - SHOWN_INVERSIONS
            ));
        }
        text.push_str(
            "Value, difference to the first row, rank in parentheses; τ: Kendall's τ-b.\n",
        );
        if let Some(note) = self.note() {
            text.push_str(&format!("{note}\n"));
        }
        text
    }

    /// Number of users the means of an evaluation setting are over: one number, or a range.
    pub fn n_text(&self, setting: usize) -> String {
        let n = &self.settings[setting].n_users;
        match (n.iter().min(), n.iter().max()) {
            (Some(low), Some(high)) if low != high => format!("{low}–{high}"),
            (Some(n), _) => n.to_string(),
            _ => "–".into(),
        }
    }
}

const SHOWN_INVERSIONS: usize = 12;
const SHOWN_SETTINGS: usize = 2;

fn inversions(systems: &[String], settings: &[EvaluationSetting]) -> Vec<RankInversion> {
    let mut inversions = Vec::new();
    for a in 0..systems.len() {
        for b in a + 1..systems.len() {
            let (mut a_over, mut b_over) = (Vec::new(), Vec::new());
            for (at, setting) in settings.iter().enumerate() {
                match setting.values[a].zip(setting.values[b]) {
                    Some((x, y)) if x > y => a_over.push(at),
                    Some((x, y)) if x < y => b_over.push(at),
                    _ => {}
                }
            }
            if a_over.is_empty() || b_over.is_empty() {
                continue;
            }
            let (better, worse, over, under) =
                if a_over[0] < b_over[0] { (a, b, a_over, b_over) } else { (b, a, b_over, a_over) };
            inversions.push(RankInversion {
                better: systems[better].clone(),
                worse: systems[worse].clone(),
                over,
                under,
                differences: Vec::new(),
                evidence: Evidence::NoInterval,
            });
        }
    }
    inversions
}

fn evidence(inversion: &RankInversion) -> Evidence {
    let of = |settings: &[usize]| -> Vec<Interval> {
        settings.iter().filter_map(|setting| inversion.differences[*setting]).collect()
    };
    let (over, under) = (of(&inversion.over), of(&inversion.under));
    if over.is_empty() || under.is_empty() {
        return Evidence::NoInterval;
    }
    match over.iter().any(|(low, _)| *low > 0.0) && under.iter().any(|(_, high)| *high < 0.0) {
        true => Evidence::Established,
        false => Evidence::NotDistinguishable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::{Bootstrap, Units},
        core::{MeasureKey, Measurements},
        ranking::Convention,
    };

    fn row(system: &str, convention: &str, value: f64) -> ResultRow {
        ResultRow {
            system: system.into(),
            convention: convention.into(),
            metric: "map".into(),
            value: Some(value),
            n_users: 6,
            n_pairs: 6,
            ..ResultRow::example()
        }
    }

    #[test]
    fn a_pair_that_swaps_ranks_is_named_with_its_settings() {
        let rows: Vec<ResultRow> = [
            ("a", "standard", 0.3),
            ("b", "standard", 0.2),
            ("c", "standard", 0.1),
            ("a", "libreco", 0.6),
            ("b", "libreco", 0.7),
            ("c", "libreco", 0.5),
        ]
        .map(|(system, convention, value)| row(system, convention, value))
        .to_vec();
        let draws = PairedDraws::default();
        let of = |rows: &[ResultRow]| RankAgreement::new(rows, &draws, "map", 10, ("all", "u1"));
        let orders = of(&rows).unwrap();
        assert_eq!(orders.settings[1].ranks, [Some(2), Some(1), Some(3)]);
        assert!((orders.tau[0][1].unwrap() - 1.0 / 3.0).abs() < 1e-12);
        insta::assert_snapshot!(orders.terminal());
        assert!(of(&rows[..3]).is_none());
    }

    /// Values of 60 users under two settings. The difference of the two systems is `shift` ± 0.05 for each user, so its mean
    /// is `shift` with a standard error of 0.05 / √60 = 0.0065.
    fn orders(shifts: [f64; 2]) -> RankAgreement {
        let conventions = [Convention::Standard, Convention::Libreco];
        let cells = |of_system: f64| {
            let value = |user: usize, setting: usize| {
                let noise = if user.is_multiple_of(2) { 0.05 } else { -0.05 };
                (user as f64 * 0.37).fract() + of_system * (shifts[setting] + noise)
            };
            let key = |convention: Convention| MeasureKey {
                protocol: "full".into(),
                convention: convention.to_string(),
                metric: "map".into(),
                k: 10,
            };
            let ids = (0..60).map(|user| user.to_string()).collect();
            let slices = vec![("all".into(), vec![true; 60])];
            let values: Vec<f64> =
                (0..60).flat_map(|user| [value(user, 0), value(user, 1)]).collect();
            Measurements::of_rows("user", ids, slices, conventions.map(key).to_vec(), &values)
        };
        let (mut draws, mut rows) = (PairedDraws::default(), Vec::new());
        for (system, of_system) in [("a", 1.0), ("b", 0.0)] {
            let cells = cells(of_system);
            for (setting, convention) in conventions.iter().enumerate() {
                let values = cells.values[setting].iter();
                rows.push(row(system, convention.name(), values.sum::<f64>() / 60.0));
            }
            let mut units = Units::default();
            units.add("u1", cells);
            draws.add(system, &units, Bootstrap::default(), ("u1", "all"), &|_| true);
        }
        RankAgreement::new(&rows, &draws, "map", 10, ("all", "u1")).unwrap()
    }

    /// The order of the means changes in all cases; the interval is about ±0.0126 around the shift.
    #[test]
    fn an_inversion_is_significant_only_if_both_intervals_exclude_0() {
        for (shifts, expected) in [
            ([0.04, -0.04], Evidence::Established),
            ([0.04, -0.004], Evidence::NotDistinguishable),
            ([0.004, -0.04], Evidence::NotDistinguishable),
            ([0.004, -0.004], Evidence::NotDistinguishable),
        ] {
            let orders = orders(shifts);
            let [inversion] = &orders.inversions[..] else { panic!("{orders:?}") };
            assert_eq!(inversion.evidence, expected, "{shifts:?}");
            for (shift, interval) in shifts.iter().zip(&inversion.differences) {
                let (low, high) = interval.unwrap();
                assert!((low - (shift - 0.0126)).abs() < 0.002, "{shift} {low}");
                assert!((high - (shift + 0.0126)).abs() < 0.002, "{shift} {high}");
            }
            let is_shown = orders.verdict().contains(": the order depends on");
            assert_eq!(is_shown, expected == Evidence::Established, "{}", orders.verdict());
        }
    }
}
