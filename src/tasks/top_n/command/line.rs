//! The command line of a program: its words and their placeholders.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CommandParams;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a command line (`python mf.py --train {train} --out {out}`) or a list of its words"
)]
pub(super) enum CommandLine {
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
pub struct Word(pub(super) Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Place(Placeholder),
}

impl Word {
    pub(super) fn parse(word: &str) -> Result<Self, String> {
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

impl CommandParams {
    /// Whether the command line has this placeholder.
    pub fn uses(&self, place: Placeholder) -> bool {
        self.words.iter().any(|word| word.uses(place))
    }

    /// The command line without its first word, with values in place of placeholders.
    pub fn arguments(&self, value: impl Fn(Placeholder) -> String) -> Vec<String> {
        self.words[1..].iter().map(|word| word.fill(&value)).collect()
    }

    /// The command line as in the experiment file.
    pub fn line(&self) -> String {
        match &self.run {
            CommandLine::Line(line) => line.clone(),
            CommandLine::Words(words) => shlex::try_join(words.iter().map(String::as_str))
                .unwrap_or_else(|_| words.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tasks::top_n::command::tests::command;

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
}
