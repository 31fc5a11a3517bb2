//! A program in any language as a system: its settings, and what can be wrong with them.

mod inputs;
mod limits;
mod line;
mod program;
mod search;

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    limits::{Bytes, Span},
    line::{CommandLine, Piece},
};
pub use self::{
    line::{Placeholder, Word},
    program::CommandProgram,
    search::CommandSearch,
};
use crate::{
    base::yaml::{Diagnostic, de::from_node, node::Node},
    data::TableFormat,
    ranking::files::{Columns, InputFormat, Order, ReadOptions, Seen, TextOptions},
};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Digest;

    pub(super) fn command(yaml: &str) -> Result<CommandParams, String> {
        let mut params: CommandParams =
            serde_yaml::from_str(yaml).map_err(|error| error.to_string())?;
        params.validate().map_err(|(key, problem)| format!("{key}: {problem}"))?;
        Ok(params)
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

    /// Limits change no result, so they change no key.
    #[test]
    fn limits_are_no_part_of_the_settings() {
        let with = command("{run: 'm {out}', timeout: 2h, memory: 1GB}").unwrap();
        let without = command("{run: 'm {out}'}").unwrap();
        assert_eq!(Digest::of_json(&with), Digest::of_json(&without));
    }
}
