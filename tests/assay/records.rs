//! Results are read from directories that anything may have happened to. Whatever happened, a number that
//! is printed is the right one; where it cannot be had, that is said.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rec_assay::{
    analysis::{Collected, ResultRow},
    base::{hash::Digest, interrupt::Interrupt},
    core::{Currencies, Currency, Node, Outcome, Workspace},
    data::{DataDirs, Interaction, Interactions, ItemIx, Relevance, UserIx},
    ranking::{Labels, ScoreSpec, Scorer, Source, score},
    tasks::{
        Experiment,
        top_n::models::{ModelError, Recommender},
    },
};
use serde_json::{Value, json};

use crate::support::{Here, Place, root};

const EXPERIMENT: &str = "experiment: small
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
systems: {popularity: {model: popularity}, ease: {model: ease}}
evaluate: {protocols: [full, judged], k: [5, 10], metrics: [ndcg, precision, recall, item-coverage]}
";

/// An experiment that was run, and what it found.
struct Case {
    place: Place,
    here: Here,
    rows: Vec<ResultRow>,
}

impl Case {
    fn new() -> Self {
        let place = Place::new();
        place.write("small.yaml", EXPERIMENT);
        let experiment =
            Experiment::read(&place.path("small.yaml"), &DataDirs::from_env()).unwrap();
        let here = Here::new(&experiment, &DataDirs::new(vec![root().join("datasets")]));
        let mut case = Self { place, here, rows: Vec::new() };
        let whole = Workspace::create(&case.place.path("whole")).unwrap();
        assert_eq!(case.run(&whole).record.failures, []);
        case.rows = case.collect(&whole).rows;
        case
    }

    fn run(&self, workspace: &Workspace) -> Outcome {
        self.here.run(workspace, 1)
    }

    fn collect(&self, workspace: &Workspace) -> Collected {
        self.here.collect(workspace)
    }

    fn copy(&self, name: &str) -> Workspace {
        let to = Workspace::create(&self.place.path(name)).unwrap();
        copy(&self.place.path("whole").join("steps"), &to.root().join("steps"));
        to
    }

    fn step(&self, kind: &str, label: &str) -> &Node {
        let mut nodes = self.here.plan.graph.nodes().iter();
        nodes.find(|node| node.kind == kind && node.label == label).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The directory of a step that is tampered with, and that of another one of its kind.
struct Dirs {
    dir: PathBuf,
    other: PathBuf,
}

impl Dirs {
    fn record(&self, change: impl FnOnce(&mut Value)) {
        let path = self.dir.join("record.json");
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut record);
        fs::write(path, serde_json::to_vec_pretty(&record).unwrap()).unwrap();
    }

    /// Makes the record list what is there now, with its checksums, and seals it: who does this has
    /// to be caught by what the files hold.
    fn forge(&self) {
        let mut names: Vec<String> = fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "record.json")
            .collect();
        names.sort();
        let files: Vec<Value> = names
            .iter()
            .map(|name| {
                let path = self.dir.join(name);
                let hash = Digest::of_file(&path).unwrap();
                json!({"name": name, "bytes": path.metadata().unwrap().len(), "blake3": hash})
            })
            .collect();
        self.record(|record| record["files"] = json!(files));
        self.seal();
    }

    fn seal(&self) {
        self.unseal();
        self.record(|record| record["seal"] = json!(Digest::of_json(&record)));
    }

    fn unseal(&self) {
        self.record(|record| drop(record.as_object_mut().unwrap().shift_remove("seal")));
    }

    fn summary(&self, change: impl FnOnce(&mut Vec<Value>)) {
        let path = self.dir.join("summary.json");
        let mut summary: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut summary);
        fs::write(path, serde_json::to_vec(&summary).unwrap()).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.dir.join(name)).unwrap();
    }

    fn take(&self, name: &str) {
        fs::copy(self.other.join(name), self.dir.join(name)).unwrap();
    }

    fn patch(&self, name: &str, last: [u8; 4]) {
        let path = self.dir.join(name);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&last);
        fs::write(path, bytes).unwrap();
    }

    fn cut(&self, name: &str) {
        let path = self.dir.join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
}

type Fault = (&'static str, fn(&Dirs));

fn best(summary: &mut [Value]) {
    summary.iter_mut().for_each(|mean| mean["value"] = json!(0.99));
}

const OF_SCORES: &[Fault] = &[
    ("a record without files, means of .99", |at| {
        at.summary(|means| best(means));
        at.record(|record| record["files"] = json!([]));
    }),
    ("the same with a seal of its own", |at| {
        at.summary(|means| best(means));
        at.record(|record| record["files"] = json!([]));
        at.seal();
    }),
    ("other warnings without a seal", |at| {
        at.record(|record| record["warnings"] = json!(["all is well"]));
        at.unseal();
    }),
    ("forged counts of tied users", |at| {
        at.summary(|means| means.iter_mut().for_each(|mean| mean["tied_users"] = json!(1_000)));
        at.forge();
    }),
    ("forged counts of users without history", |at| {
        at.summary(|means| {
            means.iter_mut().for_each(|mean| mean["users_without_history"] = json!(9));
        });
        at.forge();
    }),
    ("means of .99", |at| at.summary(|means| best(means))),
    ("forged means of .99", |at| {
        at.summary(|means| best(means));
        at.forge();
    }),
    ("one forged mean", |at| {
        at.summary(|means| means[0]["value"] = json!(0.99));
        at.forge();
    }),
    ("no means", |at| {
        at.summary(Vec::clear);
        at.forge();
    }),
    ("a mean less", |at| {
        at.summary(|means| drop(means.remove(1)));
        at.forge();
    }),
    ("a mean more", |at| {
        at.summary(|means| means.push(means[0].clone()));
        at.forge();
    }),
    ("two means in each other's place", |at| {
        at.summary(|means| means.swap(0, 1));
        at.forge();
    }),
    ("other cutoffs", |at| {
        at.summary(|means| means.iter_mut().for_each(|mean| mean["k"] = json!(20)));
        at.forge();
    }),
    ("another number of users", |at| {
        at.summary(|means| means[0]["n_users"] = json!(7));
        at.forge();
    }),
    ("no value", |at| {
        at.summary(|means| means[0]["value"] = Value::Null);
        at.forge();
    }),
    ("a value that is no number", |at| {
        let path = at.dir.join("summary.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("\"value\":0", "\"value\":NaN")).unwrap();
        at.forge();
    }),
    ("a value over the largest number", |at| {
        let path = at.dir.join("summary.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("\"value\":0.", "\"value\":1e999")).unwrap();
        at.forge();
    }),
    ("a share over 1", |at| {
        at.summary(|means| {
            let of_all = means.iter_mut().filter(|mean| mean["metric"] == "item-coverage");
            of_all.for_each(|mean| mean["value"] = json!(1.5));
        });
        at.forge();
    }),
    ("no summary", |at| {
        at.remove("summary.json");
        at.forge();
    }),
    ("no values of users", |at| {
        at.remove("users.parquet");
        at.forge();
    }),
    ("values of other users", |at| {
        at.take("users.parquet");
        at.forge();
    }),
    ("means of another system", |at| {
        at.take("summary.json");
        at.forge();
    }),
    ("values of users cut off", |at| {
        at.cut("users.parquet");
        at.forge();
    }),
    ("a file that nobody listed", |at| fs::write(at.dir.join("more.json"), "{}").unwrap()),
    ("a file of another directory", |at| {
        at.record(|record| record["files"][0]["name"] = json!("../record.json"));
        at.seal();
    }),
    ("the whole step of another system", |at| {
        for name in ["summary.json", "users.parquet", "record.json"] {
            at.take(name);
        }
    }),
    ("the same with its key", |at| {
        let path = at.dir.join("record.json");
        let record: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for name in ["summary.json", "users.parquet", "record.json"] {
            at.take(name);
        }
        at.record(|other| other["key"] = record["key"].clone());
        at.seal();
    }),
    ("another kind", |at| {
        at.record(|record| record["kind"] = json!("fit"));
        at.seal();
    }),
    ("other inputs", |at| {
        at.record(|record| record["key_inputs"]["relevant"] = json!(">= 3"));
        at.seal();
    }),
    ("another version of the code", |at| {
        at.record(|record| record["key_inputs"]["revision"] = json!(0));
        at.seal();
    }),
    ("other warnings under the seal", |at| {
        at.record(|record| record["warnings"] = json!(["all is well"]));
    }),
    ("a record cut off", |at| at.cut("record.json")),
    ("an empty record", |at| fs::write(at.dir.join("record.json"), "").unwrap()),
    ("a record of nothing", |at| fs::write(at.dir.join("record.json"), "{}").unwrap()),
    ("no record", |at| at.remove("record.json")),
    ("a directory in its place", |at| {
        at.remove("record.json");
        fs::create_dir(at.dir.join("record.json")).unwrap();
    }),
    ("an empty directory", |at| {
        fs::remove_dir_all(&at.dir).unwrap();
        fs::create_dir(&at.dir).unwrap();
    }),
    ("a file in its place", |at| {
        fs::remove_dir_all(&at.dir).unwrap();
        fs::write(&at.dir, "").unwrap();
    }),
];

const OF_FOLDS: &[Fault] = &[
    ("the test part of another fold", |at| at.take("test.parquet")),
    ("the same forged", |at| {
        at.take("test.parquet");
        at.forge();
    }),
    ("the same in a record without files", |at| {
        at.take("test.parquet");
        at.record(|record| record["files"] = json!([]));
        at.seal();
    }),
    ("the same, and its hash is left out", |at| {
        at.take("test.parquet");
        at.forge();
        at.record(|record| drop(record["stats"].as_object_mut().unwrap().remove("split_hash")));
    }),
    ("the training part of another fold", |at| {
        at.take("train.parquet");
        at.forge();
    }),
    ("parts in each other's place", |at| {
        fs::copy(at.dir.join("train.parquet"), at.dir.join("test.parquet")).unwrap();
        at.forge();
    }),
    ("no validation part", |at| {
        at.remove("validation.parquet");
        at.forge();
    }),
    ("no users", |at| {
        fs::copy(at.dir.join("items.parquet"), at.dir.join("users.parquet")).unwrap();
        at.forge();
    }),
    ("a part cut off", |at| {
        at.cut("train.parquet");
        at.forge();
    }),
];

const OF_MODELS: &[Fault] = &[
    ("a model of NaN", |at| {
        at.patch("model.safetensors", f32::NAN.to_le_bytes());
        at.forge();
    }),
    ("a model with an infinite number", |at| {
        at.patch("model.safetensors", f32::INFINITY.to_le_bytes());
        at.forge();
    }),
    ("a model of NaN in a record without files", |at| {
        at.patch("model.safetensors", f32::NAN.to_le_bytes());
        at.record(|record| record["files"] = json!([]));
        at.seal();
    }),
    ("another model's file", |at| {
        at.take("model.safetensors");
        at.forge();
    }),
    ("a model cut off", |at| {
        at.cut("model.safetensors");
        at.forge();
    }),
    ("a model that is not there", |at| {
        at.remove("model.safetensors");
        at.forge();
    }),
];

const OF_PREDICTIONS: &[Fault] = &[
    ("lists of another system", |at| at.take("lists.parquet")),
    ("the same in a record without files", |at| {
        at.take("lists.parquet");
        at.record(|record| record["files"] = json!([]));
        at.seal();
    }),
    ("lists cut off", |at| at.cut("lists.parquet")),
    ("no lists", |at| {
        at.remove("lists.parquet");
        at.forge();
    }),
    ("no candidates", |at| {
        at.remove("candidates.parquet");
        at.forge();
    }),
    ("forged lists cut off", |at| {
        at.cut("lists.parquet");
        at.forge();
    }),
    ("candidates in the place of lists", |at| {
        fs::copy(at.dir.join("users.parquet"), at.dir.join("lists.parquet")).unwrap();
        at.forge();
    }),
];

/// What is read must be right or said to be missing; a run must end with what is right, or say what to
/// remove, and end with what is right after that. Returns whether it had to be said.
fn check(case: &Case, name: &str, workspace: &Workspace, of: &Node) -> bool {
    let read = case.collect(workspace);
    let of_trials = |rows: &[ResultRow]| -> Vec<ResultRow> {
        rows.iter().filter(|row| row.fold != "mean").cloned().collect()
    };
    let right = of_trials(&case.rows);
    assert!(of_trials(&read.rows).iter().all(|row| right.contains(row)), "{name}: a wrong row");
    assert!(!read.missing.is_empty() || read.rows == case.rows, "{name}: rows are missing");
    let outcome = case.run(workspace);
    let mut said = false;
    if let Some(failure) = outcome.record.failures.first() {
        let dir = workspace.step_dir(of.kind, &of.key);
        let help = format!("remove {} and run again", dir.display());
        assert!(failure.cause.contains(&help), "{name}: {}", failure.cause);
        said = true;
        fs::remove_dir_all(dir).unwrap();
        assert_eq!(case.run(workspace).record.failures, [], "{name}");
    }
    let read = case.collect(workspace);
    assert!(read.missing.is_empty(), "{name}: {:?}", read.missing);
    assert!(read.rows == case.rows, "{name}: other rows");
    said
}

#[test]
fn whatever_happened_to_a_step_no_wrong_number_is_read() {
    assert!(OF_SCORES.len() + OF_FOLDS.len() + OF_MODELS.len() >= 50);
    let case = Case::new();
    let mut said = Vec::new();
    let kinds = [
        ("evaluate", "ease f1", "popularity f1", OF_SCORES),
        ("predict", "ease f1", "popularity f1", OF_PREDICTIONS),
        ("split", "sample f1", "sample f2", OF_FOLDS),
        ("fit", "ease f1", "popularity f1", OF_MODELS),
    ];
    for (kind, label, other, faults) in kinds {
        let (step, other) = (case.step(kind, label), case.step(kind, other));
        for (at, (fault, plant)) in faults.iter().enumerate() {
            let name = format!("{kind} {at}: {fault}");
            let workspace = case.copy(&format!("{kind}-{at}"));
            // What was made of it is to be made again.
            let made_of_it: &[&str] = match kind {
                "evaluate" => &[],
                "predict" => &["evaluate"],
                _ => &["predict", "evaluate"],
            };
            for later in made_of_it {
                let later = case.step(later, "ease f1");
                fs::remove_dir_all(workspace.step_dir(later.kind, &later.key)).unwrap();
            }
            let dir = |node: &Node| workspace.step_dir(kind, &node.key);
            plant(&Dirs { dir: dir(step), other: dir(other) });
            if kind == "evaluate" || kind == "split" {
                let found = Currencies::new(&case.here.plan.graph, &workspace).of(step.id);
                assert!(matches!(found, Currency::Damaged(_)), "{name}: {found:?}");
            }
            if check(&case, &name, &workspace, step) {
                said.push(*fault);
            }
        }
    }
    // What only the step that reads it can find is not mended by itself.
    let expected = [
        "forged lists cut off",
        "candidates in the place of lists",
        "a model of NaN",
        "a model with an infinite number",
        "another model's file",
        "a model cut off",
    ];
    assert_eq!(said, expected);
}

#[test]
fn commands_do_not_print_planted_numbers() {
    let case = Case::new();
    let workspace = case.copy("planted");
    let scores = case.step("evaluate", "ease f1");
    let dir = workspace.step_dir("evaluate", &scores.key);
    let at = Dirs { other: dir.clone(), dir };
    at.summary(|means| best(means));
    at.record(|record| record["files"] = json!([]));
    for command in ["table", "results", "report", "compare", "agreement"] {
        let ended = case.place.assay(&[command, "small.yaml", "--workspace", "planted"]);
        assert_eq!(ended.code, 3, "{command}\n{}\n{}", ended.out, ended.err);
        assert!(
            !ended.out.contains("0.99") && !ended.out.contains("99."),
            "{command}: {}",
            ended.out
        );
        let why = "ease f1 seed 1 (damaged: ";
        assert!(ended.err.contains(why), "{command}: {}", ended.err);
        assert!(ended.err.contains("record.json: "), "{command}: {}", ended.err);
    }
    let ended = case.place.assay(&["run", "small.yaml", "--workspace", "planted"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("is damaged and is rebuilt"), "{}", ended.err);
    let whole = case.place.fine(&["table", "small.yaml", "--workspace", "whole"]);
    assert_eq!(case.place.fine(&["table", "small.yaml", "--workspace", "planted"]), whole);
    // A fold that is handed out is looked into as well.
    let split = case.step("split", "sample f1");
    let other = workspace.step_dir("split", &case.step("split", "sample f2").key);
    let at = Dirs { dir: workspace.step_dir("split", &split.key), other };
    at.take("test.parquet");
    at.forge();
    let export =
        ["export", "small.yaml", "--workspace", "planted", "--format", "trec", "--out", "x"];
    let ended = case.place.assay(&export);
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("the fold f1 is damaged"), "{}", ended.err);
}

/// Gives everybody the same scores.
struct Fixed(Vec<f32>);

impl Scorer for Fixed {
    fn n_items(&self) -> usize {
        self.0.len()
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        (0..users.len())
            .for_each(|at| scores[at * self.0.len()..][..self.0.len()].copy_from_slice(&self.0));
    }
}

impl Recommender for Fixed {
    fn save(&self, _: &Path) -> Result<(), ModelError> {
        Ok(())
    }
}

#[test]
fn scores_that_are_not_finite_are_no_scores() {
    let row = |user, item| Interaction {
        user: UserIx(user),
        item: ItemIx(item),
        rating: 5.0,
        timestamp: Default::default(),
    };
    let nothing = Interactions::new(2, 3, &[]);
    let test = Interactions::new(2, 3, &[row(0, 1), row(1, 2)]);
    let seen = Interactions::new(2, 3, &[row(0, 0)]);
    let labels = Labels {
        train: &nothing,
        seen: &seen,
        test: &test,
        relevant: Relevance::Any,
        is_qrels: false,
    };
    let score_of = |scores: [f32; 3]| {
        let model = Fixed(scores.to_vec());
        score(
            &ScoreSpec::default(),
            &labels,
            &Source::Model(&model),
            &Interrupt::default(),
            &|_, _| {},
        )
    };
    assert!(score_of([3.0, 2.0, 1.0]).is_ok());
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = score_of([3.0, wrong, 1.0]).unwrap_err().to_string();
        assert!(error.contains("a score must be finite"), "{error}");
        assert!(error.contains("item of index 1"), "{error}");
    }
}
