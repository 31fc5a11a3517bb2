//! A directory of one's own for each test, and the binary in it.

use std::collections::HashSet;

use rec_assay::{
    analysis::{Collected, Request, collect},
    base::interrupt::Interrupt,
    core::{Event, Options, Outcome, Reporter, RunHeader, ToDo, Workspace, run},
    data::DataDirs,
    llm::ResponsesSpec,
    tasks::{Experiment, ExperimentRecord, Plan},
};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// Says that a test is not run for want of something, past the test runner, which keeps to itself what passing
/// tests print. Where everything must be there (`ASSAY_REQUIRE_DATA=1`, as in CI), that is a failure.
pub fn not_run(test: &str, missing: &str) {
    assert!(
        std::env::var_os("ASSAY_REQUIRE_DATA").is_none_or(|of| of.is_empty() || of == "0"),
        "{test} must run here (ASSAY_REQUIRE_DATA), and {missing}"
    );
    say(&format!("not run: {test} ({missing})"));
}

pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether the text encoder's weights are there; `make encoder` fetches them.
pub fn weights(test: &str) -> bool {
    let here = root().join("datasets/all-minilm-l6-v2/model.safetensors").is_file();
    if !here {
        not_run(test, "the encoder's weights are not in datasets/: `make encoder` fetches them");
    }
    here
}

/// A temporary directory with an experiment file in it.
pub struct Place {
    pub dir: tempfile::TempDir,
}

/// What a command printed and how it ended.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A place whose `.assay`, and the workspaces named, have the rule-based texts of the sample's fold f1 (`disliked: "<= 2"`)
    /// and their embeddings. Encoding takes seconds, and is done once for all tests of a process.
    pub fn encoded(workspaces: &[&str]) -> Self {
        static ONCE: OnceLock<Place> = OnceLock::new();
        let once = ONCE.get_or_init(|| {
            let place = Self::new();
            place.write(
                "e.yaml",
                "experiment: e
data: {set: sample, relevant: \">= 4\", disliked: \"<= 2\"}
split: {scheme: official, only: [f1]}
profiles: {template: {from: template}}
systems: {content: {model: content, text: {profiles: template}}}
evaluate: {k: [5]}
",
            );
            place.fine(&["run", "e.yaml", "--quiet"]);
            place
        });
        let place = Self::new();
        for workspace in [".assay"].iter().chain(workspaces) {
            for kind in ["split", "profiles", "embeddings"] {
                for step in fs::read_dir(once.path(".assay/steps").join(kind)).unwrap().flatten() {
                    let name = step.file_name();
                    let to = place.path(workspace).join("steps").join(kind).join(name);
                    fs::create_dir_all(&to).unwrap();
                    for file in fs::read_dir(step.path()).unwrap().flatten() {
                        fs::copy(file.path(), to.join(file.file_name())).unwrap();
                    }
                }
            }
        }
        place
    }

    /// Writes the first users and items of the sample into `data/`: encoding all its texts takes long. The value of
    /// `data`, with DISLIKED in the place of its threshold.
    pub fn write_part_of_sample(&self, users: usize, items: usize) -> &'static str {
        let few = |line: &str, column: usize, most: usize| {
            line.split(',').nth(column).unwrap().parse().is_ok_and(|id: usize| id <= most)
        };
        let table = |file: &str, is_kept: &dyn Fn(&str) -> bool| {
            let text = fs::read_to_string(root().join("datasets/sample").join(file)).unwrap();
            let rows = text.lines().enumerate().filter(|(at, line)| *at == 0 || is_kept(line));
            let kept: Vec<&str> = rows.map(|(_, line)| line).collect();
            self.write(&format!("data/{file}"), kept.join("\n") + "\n");
        };
        table("ratings.csv", &|line| few(line, 0, users) && few(line, 1, items));
        table("items.csv", &|line| few(line, 0, items));
        "{folder: data, reader: table, ratings: ratings.csv, columns: {user: user, item: item, rating: \
         rating, timestamp: timestamp, fold: fold}, items: {file: items.csv, item: item, title: title, \
         genres: genres, overview: overview}, relevant: \">= 3\", disliked: DISLIKED}"
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a program. Another process writes it: while one of this process has a file open for writing, a process that another
    /// test is just starting has it open too, and the file cannot be executed ("Text file busy").
    pub fn write_program(&self, name: &str, text: &str) -> PathBuf {
        self.write(&format!("{name}.text"), text);
        let path = self.copy_program(&self.path(&format!("{name}.text")), name);
        fs::remove_file(self.path(&format!("{name}.text"))).unwrap();
        path
    }

    /// Copies a program, for the same reason by another process.
    pub fn copy_program(&self, from: &Path, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut install = Command::new("install");
        assert!(install.args(["-m", "755"]).arg(from).arg(&path).status().unwrap().success());
        path
    }

    /// The command, in this directory, with the committed data sets only.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("ASSAY_DATA", root().join("datasets"))
            .env_remove("ASSAY_WORKSPACE");
        command
    }

    pub fn assay(&self, args: &[&str]) -> Ended {
        ended(self.command(args).output().unwrap(), self.dir.path())
    }

    /// Runs and expects success.
    pub fn fine(&self, args: &[&str]) -> String {
        let ended = self.assay(args);
        assert_eq!(ended.code, 0, "{args:?}\n{}\n{}", ended.out, ended.err);
        ended.out
    }

    /// Every file of every finished step below the workspace, but for records, which hold times.
    pub fn artefacts(&self, workspace: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let steps = self.path(workspace).join("steps");
        for kind in fs::read_dir(&steps).unwrap().flatten() {
            for step in fs::read_dir(kind.path()).unwrap().flatten() {
                for file in fs::read_dir(step.path()).unwrap().flatten() {
                    let name = file.path().strip_prefix(&steps).unwrap().display().to_string();
                    if !name.ends_with("record.json") {
                        files.insert(name, fs::read(file.path()).unwrap());
                    }
                }
            }
        }
        files
    }
}

/// Paths of this run are replaced, so that messages can be compared.
pub fn ended(output: Output, dir: &Path) -> Ended {
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .replace(&dir.display().to_string(), "DIR")
            .replace(&root().display().to_string(), "ROOT")
    };
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// Values of `metric` at `k` for the `mean` rows of the first protocol, by system.
pub fn means(csv: &str, metric: &str, k: &str) -> BTreeMap<String, f64> {
    csv.lines()
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|f| {
            f[2] == "mean" && f[4] == "full" && f[6] == "all" && f[7] == metric && f[8] == k
        })
        .map(|f| (f[1].to_owned(), f[9].parse().unwrap()))
        .collect()
}

struct Nobody;

impl Reporter for Nobody {
    fn report(&self, _: &Event) {}
}

/// An experiment that is planned and run in the test's own process.
pub struct Here {
    pub plan: Plan,
    pub record: ExperimentRecord,
}

impl Here {
    pub fn new(experiment: &Experiment, dirs: &DataDirs) -> Self {
        let plan = Plan::new(experiment, dirs).unwrap();
        let record = ExperimentRecord::new(experiment, &plan, dirs).unwrap();
        Self { plan, record }
    }

    pub fn run(&self, workspace: &Workspace, threads: usize) -> Outcome {
        rec_assay::use_tensors();
        let options = Options {
            threads,
            memory_bytes: 1 << 31,
            responses: ResponsesSpec::default(),
            ends: self.plan.ends(),
            forced: HashSet::new(),
        };
        let header = RunHeader {
            experiment: self.record.name.clone(),
            overrides: Vec::new(),
            slot: self.record.name.clone(),
            file: self.record.path.clone(),
            sources: self.record.sources.clone(),
            resolved: serde_json::Value::Null,
            data: Vec::new(),
            directory: ".".into(),
        };
        let to_do = ToDo::of(&self.plan.graph, workspace, &options);
        run(header, to_do, &self.plan.trial_names(), &Interrupt::default(), &Nobody).unwrap()
    }

    pub fn collect(&self, workspace: &Workspace) -> Collected {
        collect(&self.record, workspace, &Request::default()).unwrap()
    }
}
