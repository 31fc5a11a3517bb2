//! Recorded results that later ones are held against: values of every unit, in one JSON file that needs neither the
//! workspace nor the data.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::{Bootstrap, Collected, MEAN, Paired, Units, compare};
use crate::{
    base::{
        files::{FileError, read_json},
        hash::Digest,
        text::distinct,
    },
    core::{Better, Columns, MeasureKey, Measurements, Workspace},
    tasks::{Evaluation, ExperimentRecord, TrialRecord, metric},
};

/// Raised when a field changes its meaning.
const VERSION: u32 = 1;
/// Values that differ by no more are equal: rankings are the same, sums were taken in another order.
const EQUAL: f64 = 1e-9;
/// A compressed column that claims to be larger is not unpacked.
const MOST_BYTES: usize = 4 << 30;

/// Recorded results of an experiment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Baseline {
    pub version: u32,
    pub experiment: String,
    /// Version of assay, and the build.
    pub assay: String,
    pub program: String,
    pub systems: Vec<RecordedSystem>,
    /// Units that trials refer to, as several have the same.
    units: Vec<RecordedUnits>,
    columns: Vec<MeasureKey>,
}

/// One system, with all of its trials.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordedSystem {
    pub name: String,
    pub settings: serde_json::Value,
    pub evaluations: Vec<Evaluation>,
    trials: Vec<RecordedTrial>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RecordedTrial {
    fold: String,
    seed: u64,
    /// Key of the step that evaluated it.
    key: Digest,
    /// Index of its units.
    units: usize,
    /// 64-bit floats, little-endian, row-major `[units, columns]`, zstd, base64.
    values: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RecordedUnits {
    ids: Vec<String>,
    clusters: Option<Vec<String>>,
    /// By slice, `1` for each unit that belongs to it, else `0`.
    slices: Vec<(String, String)>,
}

impl Baseline {
    /// Of the results in the workspace, all of which must be there.
    pub fn record(experiment: &ExperimentRecord, workspace: &Workspace) -> Result<Self, FileError> {
        let (mut units, mut known): (Vec<RecordedUnits>, HashMap<Digest, usize>) =
            Default::default();
        let mut columns: Vec<MeasureKey> = Vec::new();
        let mut systems: Vec<RecordedSystem> = Vec::new();
        let (mut assay, mut program) = (String::new(), String::new());
        for trial in &experiment.trials {
            let measured = experiment.measurements(workspace, trial, Columns::All)?;
            experiment.keep_only(workspace, trial, &HashSet::new());
            let record = experiment.record(workspace, trial.evaluate)?;
            (assay, program) = (record.machine.assay, record.machine.program);
            if columns.is_empty() {
                columns = measured.columns.clone();
            }
            if columns != measured.columns {
                return Err(FileError::Damaged {
                    path: experiment.dir(workspace, trial.evaluate),
                    problem: "it was measured by other metrics than the trials before; record experiments that \
                              sweep `evaluate` one by one"
                        .into(),
                });
            }
            let bits =
                |members: &[bool]| members.iter().map(|is| if *is { '1' } else { '0' }).collect();
            let of = RecordedUnits {
                slices: measured.slices.iter().map(|(name, of)| (name.clone(), bits(of))).collect(),
                ids: measured.ids.to_vec(),
                clusters: measured.clusters.as_ref().map(|of| of.to_vec()),
            };
            let at = *known.entry(Digest::of_json(&of)).or_insert_with(|| {
                units.push(of);
                units.len() - 1
            });
            let rows = 0..measured.ids.len();
            let of_rows = rows.flat_map(|row| measured.values.iter().map(move |of| of[row]));
            let bytes: Vec<u8> = of_rows.flat_map(f64::to_le_bytes).collect();
            let packed = zstd::bulk::compress(&bytes, 9).map_err(|source| FileError::Io {
                path: experiment.dir(workspace, trial.evaluate),
                source,
            })?;
            let recorded = RecordedTrial {
                fold: trial.fold.clone(),
                seed: trial.seed,
                key: experiment.steps[trial.evaluate].key,
                units: at,
                values: BASE64_STANDARD.encode(packed),
            };
            match systems.iter_mut().find(|system| system.name == trial.name) {
                Some(system) => system.trials.push(recorded),
                None => systems.push(RecordedSystem {
                    name: trial.name.clone(),
                    settings: experiment.system(trial).settings.clone(),
                    evaluations: experiment.variants[trial.variant].evaluations.clone(),
                    trials: vec![recorded],
                }),
            }
        }
        let experiment = experiment.name.clone();
        Ok(Self { version: VERSION, experiment, assay, program, systems, units, columns })
    }

    /// One that was recorded.
    pub fn read(path: &std::path::Path) -> Result<Self, FileError> {
        let damaged = |problem: String| FileError::Damaged { path: path.to_owned(), problem };
        let baseline: Self = read_json(path).map_err(|error| match error {
            FileError::Damaged { problem, .. } => damaged(format!(
                "{problem}\n  = expected a file that `assay baseline record` wrote"
            )),
            error => error,
        })?;
        if baseline.version != VERSION {
            return Err(damaged(format!(
                "it has version {}; this program reads version {VERSION}",
                baseline.version
            )));
        }
        for system in &baseline.systems {
            baseline.units(system).map_err(|error| damaged(format!("{}: {error}", system.name)))?;
        }
        Ok(baseline)
    }

    /// The slices of a system.
    fn slices(&self, system: &RecordedSystem) -> Vec<String> {
        let units = system.trials.iter().filter_map(|trial| self.units.get(trial.units));
        distinct(units.flat_map(|of| of.slices.iter().map(|(name, _)| name)))
    }

    /// The values of a system.
    fn units(&self, system: &RecordedSystem) -> io::Result<Units> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut units = Units::default();
        for trial in &system.trials {
            let of = self
                .units
                .get(trial.units)
                .ok_or_else(|| wrong("it names units that are not there"))?;
            let n = of.ids.len() * self.columns.len();
            let packed = BASE64_STANDARD.decode(&trial.values).map_err(io::Error::other)?;
            if n * 8 > MOST_BYTES {
                return Err(wrong("its values are over 4 GiB"));
            }
            let bytes = zstd::bulk::decompress(&packed, n * 8)?;
            let (values, rest) = bytes.as_chunks::<8>();
            let is_whole = of.slices.iter().all(|(_, of_slice)| of_slice.len() == of.ids.len())
                && of.clusters.as_ref().is_none_or(|clusters| clusters.len() == of.ids.len());
            if values.len() != n || !rest.is_empty() || !is_whole {
                return Err(wrong("it does not hold a value for each unit and metric"));
            }
            let values: Vec<f64> = values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
            let member = |bit: u8| bit == b'1';
            let slices = of.slices.iter();
            let slices = slices.map(|(name, of)| (name.clone(), of.bytes().map(member).collect()));
            let columns = self.columns.clone();
            let measured =
                Measurements::of_rows("user", of.ids.clone(), slices.collect(), columns, &values);
            let clusters = of.clusters.clone().map(Into::into);
            units.add(&trial.fold, Measurements { clusters, ..measured });
        }
        Ok(units)
    }
}

/// What came of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The same values, or not worse by more than the margin: the whole interval is above it.
    Unchanged,
    /// The whole interval is above 0.
    Better,
    /// The interval is below 0 and not above the margin.
    Worse,
    /// The interval holds 0 and the margin: more users, or a wider margin, would tell.
    Inconclusive,
    /// Other data, split or protocol: the numbers have other fingerprints.
    NotComparable,
    /// There is no result now.
    Missing,
}

impl Verdict {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Inconclusive => "inconclusive",
            Self::NotComparable => "not comparable",
            Self::Missing => "missing",
        }
    }
}

/// One system, metric and slice, held against its recorded values.
#[derive(Clone, Debug)]
pub struct Gate {
    pub system: String,
    pub measure: MeasureKey,
    pub slice: String,
    pub verdict: Verdict,
    /// Whether every unit has the value that was recorded, to 1e-9.
    pub is_same: bool,
    /// Recorded and present; none where they are not compared.
    pub paired: Option<Paired>,
    /// How much worse it may be, as an absolute value.
    pub margin: f64,
    /// Why nothing was compared.
    pub why: String,
}

/// How much worse a mean may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Margin {
    Absolute(f64),
    /// A share of the recorded mean.
    Share(f64),
}

impl std::str::FromStr for Margin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, is_share) = match text.trim().strip_suffix('%') {
            Some(number) => (number, true),
            None => (text.trim(), false),
        };
        let value: f64 = number.trim().parse().map_err(|_| format!("`{text}` is no number"))?;
        match (value.is_finite() && value >= 0.0, is_share) {
            (false, _) => Err(format!("a margin is 0 or more, not {text}")),
            (true, true) => Ok(Self::Share(value / 100.0)),
            (true, false) => Ok(Self::Absolute(value)),
        }
    }
}

impl Margin {
    fn of(self, recorded: f64) -> f64 {
        match self {
            Self::Absolute(value) => value,
            Self::Share(share) => share * recorded.abs(),
        }
    }
}

/// Which gates there are.
pub struct Gates<'a> {
    /// None: all metrics of which some values are better than others.
    pub metrics: &'a [String],
    /// None: all.
    pub k: Option<usize>,
    /// Empty: all.
    pub slices: &'a [String],
    pub margin: Margin,
}

impl Gates<'_> {
    fn has(&self, key: &MeasureKey) -> bool {
        let is_ranked = metric(&key.metric).is_some_and(|of| of.better != Better::Neither);
        let is_asked = match self.metrics.is_empty() {
            true => is_ranked,
            false => self.metrics.contains(&key.metric) && is_ranked,
        };
        is_asked && self.k.is_none_or(|k| k == key.k)
    }

    /// What is asked for and the baseline does not hold, or is no gate.
    fn unknown(&self, baseline: &Baseline) -> Option<String> {
        let columns = || baseline.columns.iter();
        let slices: Vec<String> =
            baseline.systems.iter().flat_map(|system| baseline.slices(system)).collect();
        for name in self.metrics {
            if metric(name).is_some_and(|of| of.better == Better::Neither) {
                return Some(format!("of `{name}` no value is better than another: it is no gate"));
            }
            if !columns().any(|key| key.metric == *name) {
                return Some(format!("the metric `{name}` was not recorded"));
            }
        }
        if let Some(slice) = self.slices.iter().find(|of| !slices.contains(of)) {
            return Some(format!("the slice `{slice}` was not recorded"));
        }
        let k = self.k.filter(|k| !columns().any(|key| key.k == *k))?;
        Some(format!("the cutoff {k} was not recorded"))
    }

    /// Holds present results against recorded ones; there is at least one gate.
    pub fn check(
        &self,
        baseline: &Baseline,
        experiment: &ExperimentRecord,
        collected: &Collected,
        workspace: &Workspace,
    ) -> Result<Result<Vec<Gate>, String>, FileError> {
        if let Some(problem) = self.unknown(baseline) {
            return Ok(Err(problem));
        }
        let mut gates = Vec::new();
        for system in &baseline.systems {
            let recorded = baseline.units(system).map_err(|source| FileError::Io {
                path: format!("the recorded values of {}", system.name).into(),
                source,
            })?;
            let all: Vec<&TrialRecord> =
                experiment.trials.iter().filter(|trial| trial.name == system.name).collect();
            let is_done = |trial: &&&TrialRecord| {
                collected.rows.iter().any(|row| {
                    (&row.system, &row.fold) == (&trial.name, &trial.fold)
                        && row.seed == trial.seed.to_string()
                })
            };
            // Those that were recorded: other folds and seeds have other means.
            let is_recorded = |trial: &&&TrialRecord| {
                system.trials.iter().any(|of| (&of.fold, of.seed) == (&trial.fold, trial.seed))
            };
            let done: Vec<&TrialRecord> =
                all.iter().filter(is_recorded).filter(is_done).copied().collect();
            let lacks = system.trials.iter().find(|of| {
                !done.iter().any(|trial| (&trial.fold, trial.seed) == (&of.fold, of.seed))
            });
            for slice in baseline
                .slices(system)
                .iter()
                .filter(|of| self.slices.is_empty() || self.slices.contains(of))
            {
                let keys: Vec<&MeasureKey> =
                    baseline.columns.iter().filter(|key| self.has(key)).collect();
                let gate = |key: &MeasureKey, verdict, why: String| Gate {
                    system: system.name.clone(),
                    measure: key.clone(),
                    slice: slice.clone(),
                    verdict,
                    is_same: false,
                    paired: None,
                    margin: 0.0,
                    why,
                };
                if lacks.is_some() || done.is_empty() {
                    let why = match lacks {
                        Some(of) => format!("there is no result of {} seed {}", of.fold, of.seed),
                        None => "no trial of it was recorded".into(),
                    };
                    gates.extend(keys.iter().map(|key| gate(key, Verdict::Missing, why.clone())));
                    continue;
                }
                let variant = &experiment.variants[done[0].variant];
                let now = super::units_of(&done, experiment, workspace, Columns::All)?;
                let found = compare(
                    [&recorded, &now],
                    (MEAN, slice),
                    &|key| self.has(key),
                    Bootstrap::default(),
                );
                for key in keys {
                    let is_of = |of: &&Evaluation| {
                        (&of.protocol, &of.convention, of.k)
                            == (&key.protocol, &key.convention, key.k)
                    };
                    let before = system.evaluations.iter().find(is_of).map(|of| &*of.fingerprint);
                    let after = variant.fingerprint(key);
                    if before != after {
                        let why = format!(
                            "fingerprint {} was recorded, {} is here: other data, split or protocol",
                            before.unwrap_or("none"),
                            after.unwrap_or("none")
                        );
                        gates.push(gate(key, Verdict::NotComparable, why));
                        continue;
                    }
                    match found.iter().find(|of| of.measure == *key) {
                        Some(paired) => gates.push(self.gate(system, paired)),
                        None => {
                            let why = "there are no values by user now".to_owned();
                            gates.push(gate(key, Verdict::Missing, why));
                        }
                    }
                }
            }
        }
        Ok(match gates.is_empty() {
            true => Err("no gate was recorded: no metric of it has better and worse values".into()),
            false => Ok(gates),
        })
    }

    fn gate(&self, system: &RecordedSystem, paired: &Paired) -> Gate {
        let sign = match metric(&paired.measure.metric).map(|of| of.better) {
            Some(Better::Lower) => -1.0,
            _ => 1.0,
        };
        let margin = self.margin.of(paired.first);
        let is_same = paired.unpaired == 0 && paired.largest <= EQUAL;
        let interval = paired.interval.map(|(low, high)| match sign > 0.0 {
            true => (low, high),
            false => (-high, -low),
        });
        let verdict = match interval {
            _ if is_same => Verdict::Unchanged,
            // A mean over other users is another mean, however near.
            _ if paired.unpaired > 0 => Verdict::Inconclusive,
            None => Verdict::Inconclusive,
            Some((low, _)) if low > 0.0 => Verdict::Better,
            Some((low, _)) if low > -margin => Verdict::Unchanged,
            Some((_, high)) if high < 0.0 => Verdict::Worse,
            Some(_) => Verdict::Inconclusive,
        };
        Gate {
            system: system.name.clone(),
            measure: paired.measure.clone(),
            slice: paired.slice.clone(),
            verdict,
            is_same,
            paired: Some(paired.clone()),
            margin,
            why: match paired.unpaired {
                0 => String::new(),
                n => format!("{n} pairs of a user and a fold have a value then or now alone"),
            },
        }
    }
}
