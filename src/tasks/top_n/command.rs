//! A program in any language as a system: its command line, the files it is given, its limits.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::search::{SearchSpec, SearchTrial, chosen_of};
use crate::{
    base::{
        files::{FileError, io_error, read_memory, write_memory},
        hash::Digest,
        process,
        yaml::{
            Diagnostic,
            de::from_node,
            node::{Entry, Node},
        },
    },
    core::Pinned,
    data::{DataError, TableFormat},
    ranking::files::{Columns, InputFormat, Order, ReadOptions, Seen, TextOptions},
};

/// Most files of `inputs`.
const MOST_FILES: usize = 10_000;

/// A program that reads the training part of a fold and writes rankings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandParams {
    /// The command line, split into words as a shell does but run without one; or the list of its words. `{train}`,
    /// `{validation}`, `{items}`, `{users}` and `{params}` stand for files that it reads, `{out}` for the file of
    /// rankings that it writes, `{seed}`, `{depth}` and `{threads}` for numbers.
    run: CommandLine,
    /// The files and directories that it needs besides, relative to the experiment file. It runs in a directory
    /// with copies of these alone. Their content is a part of the step's key.
    #[serde(default)]
    inputs: Vec<String>,
    /// Settings of the program, which it reads from the JSON file `{params}`.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    params: Settings,
    /// The format of the files that it is given.
    #[serde(default, skip_serializing_if = "TableFormat::is_csv")]
    files: TableFormat,
    /// Columns of the rankings by name or position, if the header does not identify them.
    #[serde(default)]
    columns: Columns,
    /// What orders a list: by default ranks; scores in TREC runs and without ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
    /// What to do with recommended items that are in the user's training or validation part.
    #[serde(default)]
    seen: Seen,
    /// The format of the rankings: by default detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<InputFormat>,
    /// The program is ended after this time: `90s`, `30m`, `2h`.
    #[serde(default, skip_serializing)]
    timeout: Option<Span>,
    /// The program is ended if it and all that it started use more memory: `500MB`, `8GB`. Linux only.
    #[serde(default, skip_serializing)]
    memory: Option<Bytes>,
    /// Where the file lies that names it.
    #[serde(skip)]
    pub(super) directory: PathBuf,
    #[serde(skip)]
    words: Vec<Word>,
    /// A search of `params`.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub(super) search: Option<CommandSearch>,
}

/// Settings of a program, which it reads as JSON.
pub type Settings = serde_json::Map<String, serde_json::Value>;

/// The settings that a search tries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandSearch {
    pub spec: SearchSpec,
    /// By trial, what it sets, as text.
    pub labels: Vec<String>,
    /// By trial, all settings; there is at least one.
    pub candidates: Vec<Settings>,
}

impl CommandSearch {
    /// A candidate for every trial of a `search:`.
    pub(super) fn read(
        parameters: &Node,
        search: &Entry,
        directory: &Path,
    ) -> Result<Self, Diagnostic> {
        let at = &search.value.at;
        let spec: SearchSpec = from_node(&search.value)?;
        spec.validate().map_err(|message| Diagnostic::at(at, message))?;
        if let Some(field) = spec.over.keys().find(|field| !field.starts_with("params.")) {
            return Err(Diagnostic::at(at, format!("a search of a program cannot try `{field}`"))
                .expected("its settings: `params.factors`"));
        }
        let (mut labels, mut candidates) = (Vec::new(), Vec::new());
        for levels in spec.levels() {
            let mut node = parameters.clone();
            let mut label = Vec::new();
            for (field, value) in levels {
                let text = serde_yaml::to_string(&value).unwrap_or_default();
                label.push(format!("{field}={}", text.trim()));
                let path: Vec<&str> = field.split('.').collect();
                node.put(&path, Node::of_yaml(&value, at), at)?;
            }
            let label = label.join(", ");
            if labels.contains(&label) {
                return Err(Diagnostic::at(at, format!("the search tries `{label}` twice"))
                    .help("remove one of the equal values"));
            }
            candidates.push(CommandParams::read(&node, directory)?.params);
            labels.push(label);
        }
        Ok(Self { spec, labels, candidates })
    }

    /// The settings that were chosen.
    pub fn chosen(&self, trials: &[SearchTrial]) -> Option<&Settings> {
        self.candidates.get(chosen_of(trials).ok()?)
    }

    /// Keeps finished trials for the next process.
    pub fn remember(&self, path: &Path, trials: &[SearchTrial]) -> Result<(), FileError> {
        let content = serde_json::to_vec(trials).map_err(|error| io_error(path)(error.into()))?;
        write_memory(path, &content)
    }

    /// The trials that an earlier process finished.
    pub fn remembered(&self, path: &Path, log: &dyn Fn(&str)) -> Vec<SearchTrial> {
        let read = || -> Result<Vec<SearchTrial>, String> {
            let Some(content) = read_memory(path)? else { return Ok(Vec::new()) };
            let trials: Vec<SearchTrial> =
                serde_json::from_slice(&content).map_err(|error| error.to_string())?;
            let is_ours = trials.len() <= self.labels.len()
                && trials.iter().zip(&self.labels).all(|(trial, label)| trial.settings == *label);
            if is_ours { Ok(trials) } else { Err("it is of another search".into()) }
        };
        read().unwrap_or_else(|problem| {
            log(&format!("warning: {}: {problem}; the search starts again", path.display()));
            Vec::new()
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a command line (`python mf.py --train {train} --out {out}`) or a list of its words"
)]
enum CommandLine {
    Line(String),
    Words(Vec<String>),
}

/// Something that a command line stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placeholder {
    Train,
    Validation,
    Items,
    Users,
    Out,
    Seed,
    Depth,
    Params,
    Threads,
}

impl Placeholder {
    const ALL: [(&str, Self); 9] = [
        ("train", Self::Train),
        ("validation", Self::Validation),
        ("items", Self::Items),
        ("users", Self::Users),
        ("out", Self::Out),
        ("seed", Self::Seed),
        ("depth", Self::Depth),
        ("params", Self::Params),
        ("threads", Self::Threads),
    ];

    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().map(|(_, place)| place)
    }

    fn names() -> String {
        Self::ALL.map(|(name, _)| format!("{{{name}}}")).join(", ")
    }
}

/// A word of a command line: texts and placeholders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Word(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Place(Placeholder),
}

impl Word {
    fn parse(word: &str) -> Result<Self, String> {
        let (mut pieces, mut text) = (Vec::new(), String::new());
        let mut rest = word;
        while let Some(c) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{{").or(rest.strip_prefix("}}")) {
                text.push(c);
                rest = after;
                continue;
            }
            let Some(after) = rest.strip_prefix('{') else {
                if c == '}' {
                    return Err(format!(
                        "`{word}` has a `}}` without a `{{`; write `}}}}` for a brace"
                    ));
                }
                text.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            };
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!(
                    "`{word}` has a `{{` without a `}}`; write `{{{{` for a brace"
                ));
            };
            let found = Placeholder::ALL.iter().find(|(known, _)| *known == name);
            let Some((_, place)) = found else {
                return Err(format!(
                    "unknown placeholder `{{{name}}}`; there are {} (write `{{{{` for a brace)",
                    Placeholder::names()
                ));
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Place(*place));
            rest = after;
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self(pieces))
    }

    /// The word with values in place of placeholders.
    pub fn fill(&self, value: impl Fn(Placeholder) -> String) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Place(place) => value(*place),
        });
        pieces.collect()
    }

    fn uses(&self, place: Placeholder) -> bool {
        self.0.contains(&Piece::Place(place))
    }
}

/// A time with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct Span(Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let units = [("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];
        let seconds = number_with_unit(&text, &units)
            .filter(|seconds| *seconds > 0.0 && *seconds < 1e9)
            .ok_or_else(|| format!("`{text}` is no time; expected one such as 90s, 30m or 2h"))?;
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

/// An amount of memory with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct Bytes(u64);

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let units = [("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];
        let binary = [("MiB", 1024f64.powi(2)), ("GiB", 1024f64.powi(3))];
        let bytes = number_with_unit(&text, &binary)
            .or_else(|| number_with_unit(&text, &units))
            .filter(|bytes| *bytes >= 1.0 && *bytes < 1e18)
            .ok_or_else(|| {
                format!("`{text}` is no amount of memory; expected one such as 500MB or 8GB")
            })?;
        Ok(Self(bytes as u64))
    }
}

fn number_with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let number = number.trim_end();
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    Some(number.parse::<f64>().ok().filter(|_| is_plain)? * factor)
}

impl CommandParams {
    /// Reads and validates the settings of a system; `directory` is where the file lies that names it.
    pub(super) fn read(parameters: &Node, directory: &Path) -> Result<Self, Diagnostic> {
        let mut params: Self = from_node(parameters)?;
        params.directory = directory.to_owned();
        params.validate().map_err(|(key, problem)| {
            let entry = parameters.mapping("command").ok().and_then(|of| of.get(key));
            let at = entry.map_or(&parameters.at, |entry| &entry.value.at);
            Diagnostic::at(at, problem)
        })?;
        Ok(params)
    }

    /// Splits the command line; the first problem, with the key that it is of.
    pub(super) fn validate(&mut self) -> Result<(), (&'static str, String)> {
        let of_run = |problem: String| ("run", problem);
        let words = match &self.run {
            CommandLine::Words(words) => words.clone(),
            CommandLine::Line(line) => shlex::split(line)
                .ok_or_else(|| of_run("a quote or a backslash at the end is not closed".into()))?,
        };
        let Some(first) = words.first().filter(|first| !first.is_empty()) else {
            return Err(of_run("the command line is empty".into()));
        };
        if words.iter().any(|word| word.contains('\0')) {
            return Err(of_run("the command line contains a zero byte".into()));
        }
        self.words =
            words.iter().map(|word| Word::parse(word)).collect::<Result<_, _>>().map_err(of_run)?;
        if self.words[0].0.iter().any(|piece| matches!(piece, Piece::Place(_))) {
            return Err(of_run(format!("the program `{first}` contains a placeholder")));
        }
        if !self.uses(Placeholder::Out) {
            return Err(of_run(
                "the program is not told where to write its rankings: `{out}` is missing".into(),
            ));
        }
        if !self.params.is_empty() && !self.uses(Placeholder::Params) {
            return Err((
                "params",
                "`params` has no effect: `run` does not pass `{params}`".into(),
            ));
        }
        let mut inputs: Vec<String> = Vec::new();
        for input in &self.inputs {
            let parts = Path::new(input).components().filter(|part| *part != Component::CurDir);
            let parts: Vec<Component> = parts.collect();
            if parts.is_empty() || !parts.iter().all(|part| matches!(part, Component::Normal(_))) {
                return Err((
                    "inputs",
                    format!("`{input}` is not a path below the directory of the experiment file"),
                ));
            }
            let plain = parts.iter().collect::<PathBuf>().to_string_lossy().into_owned();
            if inputs.contains(&plain) {
                return Err(("inputs", format!("`{input}` is given twice")));
            }
            inputs.push(plain);
        }
        self.inputs = inputs;
        Ok(())
    }

    /// Whether the command line has this placeholder.
    pub fn uses(&self, place: Placeholder) -> bool {
        self.words.iter().any(|word| word.uses(place))
    }

    /// The command line without its first word, with values in place of placeholders.
    pub fn arguments(&self, value: impl Fn(Placeholder) -> String) -> Vec<String> {
        self.words[1..].iter().map(|word| word.fill(&value)).collect()
    }

    /// Where the program lies: one of the inputs, beside the experiment file, or in the directories of `PATH`.
    pub fn program(&self) -> Result<CommandProgram, DataError> {
        let name = self.words[0].fill(|_| String::new());
        let missing = |help: &str| {
            Err(DataError::File {
                path: PathBuf::from(&name),
                problem: "there is no such program".into(),
                help: help.into(),
            })
        };
        let plain = Path::new(&name).strip_prefix(".").unwrap_or(Path::new(&name));
        let is_input = self.inputs.iter().any(|input| plain.starts_with(input));
        if name.contains('/') && is_input {
            return match process::find(&name, &self.directory) {
                Some(_) => Ok(CommandProgram::Input(plain.to_owned())),
                None => missing("it must be executable (`chmod +x`)"),
            };
        }
        match process::find(&name, &self.directory) {
            Some(path) => Ok(CommandProgram::At(path)),
            None => missing(
                "a name is looked for in the directories of PATH, a path relative to the experiment file (e.g. \
                 `.venv/bin/python`)",
            ),
        }
    }

    /// The files that it is given, with the content that they have now.
    pub fn pin(&self) -> Result<BTreeMap<String, Pinned>, DataError> {
        let pin = |input: &String| {
            let path = self.directory.join(input);
            let pinned = Pinned::new(path.display().to_string(), move || digest(&path))?;
            Ok((input.clone(), pinned))
        };
        self.inputs.iter().map(pin).collect()
    }

    /// Copies the files that it is given into a directory.
    pub fn copy_inputs(&self, to: &Path) -> Result<(), DataError> {
        for input in &self.inputs {
            let from = self.directory.join(input);
            for (name, path) in files_of(&from)? {
                let target = match name.as_os_str().is_empty() {
                    true => to.join(input),
                    false => to.join(input).join(&name),
                };
                let copied = target.parent().map_or(Ok(()), fs::create_dir_all);
                copied
                    .and_then(|()| fs::copy(&path, &target).map(drop))
                    .map_err(|error| DataError::io(&path, error))?;
            }
            // What was copied is what was planned, whatever happens to the original meanwhile.
            let (was, is) = (digest(&from)?, digest(&to.join(input))?);
            if was != is {
                return Err(DataError::File {
                    path: from,
                    problem: "it changed while it was copied".into(),
                    help: "run the experiment again to plan it with the current file".into(),
                });
            }
        }
        Ok(())
    }

    /// The command line as in the experiment file.
    pub fn line(&self) -> String {
        match &self.run {
            CommandLine::Line(line) => line.clone(),
            CommandLine::Words(words) => shlex::try_join(words.iter().map(String::as_str))
                .unwrap_or_else(|_| words.join(" ")),
        }
    }

    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    pub fn params(&self) -> &Settings {
        &self.params
    }

    pub fn table_format(&self) -> TableFormat {
        self.files
    }

    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.map(|Span(span)| span)
    }

    pub fn memory(&self) -> Option<u64> {
        self.memory.map(|Bytes(bytes)| bytes)
    }

    /// How its rankings are read.
    pub(super) fn read_options(&self) -> (ReadOptions, TextOptions) {
        let options =
            ReadOptions { columns: self.columns.clone(), order: self.order, seen: self.seen };
        (options, TextOptions { format: self.format, ..TextOptions::default() })
    }
}

/// Where a program lies.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandProgram {
    /// Below the directory that it runs in.
    Input(PathBuf),
    At(PathBuf),
}

impl fmt::Display for CommandProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(path) | Self::At(path) => path.display().fmt(f),
        }
    }
}

/// The content of a file, or the names and contents of the files below a directory.
fn digest(path: &Path) -> Result<Digest, DataError> {
    let of_file = |path: &Path| Digest::of_file(path).map_err(|error| DataError::io(path, error));
    let files = files_of(path)?;
    if let [(name, file)] = &files[..]
        && name.as_os_str().is_empty()
    {
        return of_file(file);
    }
    let all = files.iter().map(|(name, file)| Ok((name.to_string_lossy(), of_file(file)?)));
    Ok(Digest::of_json(&all.collect::<Result<Vec<_>, DataError>>()?))
}

/// A file, under an empty name, or all files below a directory, without hidden ones and what Python caches.
fn files_of(path: &Path) -> Result<Vec<(PathBuf, PathBuf)>, DataError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => DataError::File {
                path,
                problem: "there is no such file".into(),
                help: "`inputs` are relative to the experiment file".into(),
            },
            _ => DataError::io(path, error),
        }
    };
    if !fs::metadata(path).map_err(error(path))?.is_dir() {
        return Ok(vec![(PathBuf::new(), path.to_owned())]);
    }
    let (mut dirs, mut files) = (vec![PathBuf::new()], Vec::new());
    while let Some(dir) = dirs.pop() {
        let whole = path.join(&dir);
        for entry in fs::read_dir(&whole).map_err(error(&whole))? {
            let entry = entry.map_err(error(&whole))?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with('.') || name == "__pycache__" {
                continue;
            }
            // Links to directories are not followed: they may lead in a circle.
            match entry.file_type().map_err(error(&whole))?.is_dir() {
                true => dirs.push(dir.join(name)),
                false => files.push((dir.join(name), entry.path())),
            }
        }
        if files.len() + dirs.len() > MOST_FILES {
            return Err(DataError::File {
                path: path.to_owned(),
                problem: format!("it holds more than {MOST_FILES} files, the limit for `inputs`"),
                help: "name the files that the program needs".into(),
            });
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(yaml: &str) -> Result<CommandParams, String> {
        let mut params: CommandParams =
            serde_yaml::from_str(yaml).map_err(|error| error.to_string())?;
        params.validate().map_err(|(key, problem)| format!("{key}: {problem}"))?;
        Ok(params)
    }

    #[test]
    fn a_command_line_is_split_before_it_is_filled_in() {
        let filled =
            |yaml: &str| command(yaml).unwrap().arguments(|place| format!("<{place:?} it's>"));
        assert_eq!(
            filled("run: \"python 'my file.py' --out={out} a\\\\ b {{x}} $HOME *.py\""),
            ["my file.py", "--out=<Out it's>", "a b", "{x}", "$HOME", "*.py"]
        );
        assert_eq!(filled("run: [./m, '{out}', 'a b']"), ["<Out it's>", "a b"]);
    }

    #[test]
    fn command_lines_that_cannot_be_meant_are_refused() {
        for (yaml, problem) in [
            ("run: 'python m.py {ot}'", "run: unknown placeholder `{ot}`; there are {train}, "),
            ("run: 'python m.py {test} {out}'", "run: unknown placeholder `{test}`"),
            ("run: 'python m.py'", "`{out}` is missing"),
            ("run: ''", "run: the command line is empty"),
            ("run: []", "run: the command line is empty"),
            ("run: 'python \"m.py {out}'", "is not closed"),
            ("run: 'm {out'", "has a `{` without a `}`"),
            ("run: 'm out} {out}'", "has a `}` without a `{`"),
            ("run: '{out} x'", "the program `{out}` contains a placeholder"),
            ("{run: 'm {out}', params: {a: 1}}", "params: `params` has no effect"),
            ("{run: 'm {out}', inputs: [../x]}", "inputs: `../x` is not a path below"),
            ("{run: 'm {out}', inputs: [/x]}", "inputs: `/x` is not a path below"),
            ("{run: 'm {out}', inputs: ['']}", "inputs: `` is not a path below"),
            ("{run: 'm {out}', inputs: [x, ./x]}", "inputs: `./x` is given twice"),
            ("{run: 'm {out}', inputs: [x, x]}", "inputs: `x` is given twice"),
            ("{run: 'm {out}', timeout: 2 weeks}", "`2 weeks` is no time"),
            ("{run: 'm {out}', timeout: '2'}", "`2` is no time"),
            ("{run: 'm {out}', timeout: -2s}", "`-2s` is no time"),
            ("{run: 'm {out}', memory: 8G}", "`8G` is no amount of memory"),
            ("{run: 'm {out}', model: x}", "unknown field"),
        ] {
            let found = command(yaml).unwrap_err();
            assert!(found.contains(problem), "{yaml}: {found}");
        }
    }

    #[test]
    fn times_and_amounts_have_units() {
        let limits = |timeout: &str, memory: &str| {
            let of =
                command(&format!("{{run: 'm {{out}}', timeout: {timeout}, memory: {memory}}}"));
            let of = of.unwrap();
            (of.timeout().unwrap().as_secs_f64(), of.memory().unwrap())
        };
        assert_eq!(limits("2h", "8GB"), (7200.0, 8_000_000_000));
        assert_eq!(limits("1.5 m", "1.5 GiB"), (90.0, 3 << 29));
        assert_eq!(limits("90s", "500MB"), (90.0, 500_000_000));
    }

    /// Limits change no result, so they change no key.
    #[test]
    fn limits_are_no_part_of_the_settings() {
        let with = command("{run: 'm {out}', timeout: 2h, memory: 1GB}").unwrap();
        let without = command("{run: 'm {out}'}").unwrap();
        assert_eq!(Digest::of_json(&with), Digest::of_json(&without));
    }

    #[test]
    fn inputs_are_known_by_content_and_copied() {
        let from = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = from.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("m.py", "1");
        write("lib/a.py", "2");
        write("lib/deep/b.py", "3");
        write("lib/__pycache__/a.pyc", "4");
        write("lib/.hidden", "5");
        let mut of = command("{run: 'm {out}', inputs: [m.py, lib]}").unwrap();
        of.directory = from.path().to_owned();
        let digests =
            || -> Vec<Digest> { of.pin().unwrap().values().map(|of| of.digest).collect() };
        let before = digests();
        let to = tempfile::tempdir().unwrap();
        of.copy_inputs(to.path()).unwrap();
        assert_eq!(fs::read(to.path().join("lib/deep/b.py")).unwrap(), b"3");
        assert!(
            !to.path().join("lib/.hidden").exists() && !to.path().join("lib/__pycache__").exists()
        );
        write("lib/__pycache__/a.pyc", "changed");
        assert_eq!(digests(), before);
        write("lib/deep/b.py", "changed");
        assert_ne!(digests(), before);
        fs::remove_file(from.path().join("m.py")).unwrap();
        assert!(of.pin().unwrap_err().to_string().contains("there is no such file"));
    }
}
