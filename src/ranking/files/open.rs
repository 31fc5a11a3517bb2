//! Opens a table of another tool by what it is used for and by its content: CSV, TSV, Parquet, TREC runs and
//! qrels, lists of items.

use std::{collections::HashMap, path::Path};

use polars::prelude::StringChunked;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnRef, Role, is_header, is_lower_better, may_decide};
use crate::data::{
    DataError, Encoding, Quotes,
    content::{self, Content},
    delimited::{Layout, TextTable},
};

/// How the rows of a file of rankings are written.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum InputFormat {
    /// A TREC run: user, ignored, item, ignored, score, tag.
    Trec,
    /// CSV, TSV or Parquet, one row for each recommended item.
    Table,
    /// One line a user: the user, then the items, the best first.
    Lists,
}

/// How the text of files is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextOptions {
    /// By default by the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<InputFormat>,
    /// By default UTF-8, or UTF-16 with a byte order mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// `none`: quotes are characters like others.
    #[serde(skip_serializing_if = "Quotes::are_usual")]
    pub quotes: Quotes,
}

/// What a file is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Rankings,
    /// Rankings that are scored against qrels.
    Run,
    /// A part of a split: user, item, maybe rating.
    Judgements,
    Qrels,
}

/// What the fields of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    /// Field 1 is the user, 3 the item, 5 the score.
    Run,
    /// Field 1 is the user, 3 the item, 4 the grade.
    Qrels,
    /// Field 1 is the user, 2 all items.
    Lists,
}

/// A table of text with what its columns hold.
pub struct Opened {
    pub(super) table: TextTable,
    pub(super) form: Form,
    pub(super) header: bool,
    /// What is to be known of how it is read, a sentence each.
    pub(super) notes: Vec<String>,
}

/// The first lines of a file, which say what it is.
const SNIFFED: usize = 1 << 16;

/// Opens a file for a use.
pub fn open(path: &Path, what_for: Use, options: TextOptions) -> Result<Opened, DataError> {
    let text = match content::read(path, options.encoding)? {
        Content::Parquet(bytes) => {
            let table = TextTable::parquet(path, bytes)?;
            return Ok(Opened { table, form: Form::Table, header: true, notes: Vec::new() });
        }
        Content::Text(text) => text,
    };
    let window = &text[..text.len().min(SNIFFED)];
    if window.contains(&0) {
        return Err(DataError::File {
            path: path.to_owned(),
            problem: "a binary file".into(),
            help: "rankings are read from CSV, TSV, Parquet and TREC run files".into(),
        });
    }
    let sniffed = String::from_utf8_lossy(window).into_owned();
    let mut lines: Vec<&str> = sniffed.lines().filter(|line| !line.trim().is_empty()).collect();
    if text.len() > SNIFFED && lines.len() > 1 {
        lines.pop();
    }
    let lines = Sniffed { lines };
    match lines.form(path, what_for, options)? {
        Form::Run => trec(path, &text, Form::Run, lines),
        Form::Qrels => trec(path, &text, Form::Qrels, lines),
        Form::Lists => lists(path, &text, lines),
        Form::Table => table(path, text, &lines, options),
    }
}

/// What is separated by what, in words.
struct Sniffed<'a> {
    lines: Vec<&'a str>,
}

impl Sniffed<'_> {
    fn first(&self) -> &str {
        self.lines.first().copied().unwrap_or_default()
    }

    fn words(line: &str) -> Vec<&str> {
        line.split_ascii_whitespace().collect()
    }

    /// The sign between the fields of the first line, quoted ones left aside.
    fn separator(&self) -> &'static str {
        let mut quoted = false;
        let bare: String = self
            .first()
            .chars()
            .filter(|c| {
                quoted ^= *c == '"';
                !quoted
            })
            .collect();
        ["\t", ",", ";", "|", "::"]
            .into_iter()
            .filter(|separator| bare.contains(separator))
            .max_by_key(|separator| bare.matches(separator).count() * separator.len())
            .unwrap_or(if bare.split_ascii_whitespace().count() > 1 { " " } else { "," })
    }

    fn header(&self) -> bool {
        let separator = self.separator();
        let first = self.first().trim_end_matches(['\r', '\n']);
        let first = if separator == " " { first.trim() } else { first };
        let fields: Vec<&str> =
            first.split(separator).map(|field| field.trim().trim_matches('"')).collect();
        is_header(&fields)
    }

    /// Whether every line has at least so many words, of which the one at `number` is a number. A line of a
    /// table whose fields are separated by commas and blanks has none.
    fn are_numbers(&self, at_least: usize, number: usize) -> bool {
        self.lines.iter().all(|line| {
            let words = Self::words(line);
            words.len() >= at_least
                && words[number].parse::<f64>().is_ok()
                && !words[..2].iter().all(|word| word.ends_with([',', ';', '|']))
        })
    }

    /// The second word where it is the same in every line.
    fn second(&self) -> Option<&str> {
        let of = |line: &&str| line.split_ascii_whitespace().nth(1).map(str::to_owned);
        let first = self.first().split_ascii_whitespace().nth(1)?;
        self.lines.iter().all(|line| of(line).as_deref() == Some(first)).then_some(first)
    }

    /// `0` or `Q0`, which fills the second field of TREC files.
    fn has_filler(&self) -> bool {
        self.second().is_some_and(|second| second == "0" || second.eq_ignore_ascii_case("q0"))
    }

    /// Whether each line is a user of its own with several whole numbers or words behind.
    fn users_differ(&self) -> bool {
        let mut users: Vec<&str> = Vec::new();
        for line in &self.lines {
            users.extend(line.split_ascii_whitespace().next());
        }
        let n = users.len();
        users.sort_unstable();
        users.dedup();
        n > 1 && users.len() == n
    }

    fn has_fractions(&self) -> bool {
        let is_fraction =
            |word: &str| word.contains(['.', 'e', 'E']) && word.parse::<f64>().is_ok();
        self.lines.iter().any(|line| line.split_ascii_whitespace().any(is_fraction))
    }

    fn form(&self, path: &Path, what_for: Use, options: TextOptions) -> Result<Form, DataError> {
        let told = match (what_for, options.format) {
            (Use::Rankings | Use::Run, Some(InputFormat::Trec)) => Some(Form::Run),
            (Use::Rankings | Use::Run, Some(InputFormat::Table)) => Some(Form::Table),
            (Use::Rankings | Use::Run, Some(InputFormat::Lists)) => Some(Form::Lists),
            _ => None,
        };
        if let Some(told) = told {
            return Ok(told);
        }
        let header = self.header();
        let words: Vec<usize> = self.lines.iter().map(|line| Self::words(line).len()).collect();
        match what_for {
            Use::Qrels => {
                let are_four = words.iter().all(|n| *n == 4);
                let is_table = header || matches!(self.separator(), "," | ";" | "|" | "::");
                Ok(match is_table && !(are_four && self.are_numbers(4, 3)) {
                    true => Form::Table,
                    // Three fields are a table of query, document and grade.
                    false if words.iter().all(|n| *n == 3) => Form::Table,
                    false => Form::Qrels,
                })
            }
            // Where the second field of each row is 0, no item of a table is meant.
            Use::Judgements => {
                let is_qrels = words.iter().all(|n| *n == 4)
                    && self.are_numbers(4, 3)
                    && self.has_filler()
                    && !header;
                Ok(if is_qrels { Form::Qrels } else { Form::Table })
            }
            Use::Rankings | Use::Run => {
                let is_run = self.are_numbers(5, 4);
                if is_run && (self.has_filler() || what_for == Use::Run) {
                    return Ok(Form::Run);
                }
                let by_blanks = matches!(self.separator(), " " | "\t");
                if header || !by_blanks {
                    return Ok(Form::Table);
                }
                let tabs = |line: &&str| line.matches('\t').count();
                let same_tabs = self.lines.iter().all(|line| tabs(line) == tabs(&self.first()));
                let is_ragged = words.iter().any(|n| *n != words[0]);
                let has_cells = same_tabs && tabs(&self.first()) > 0;
                if is_ragged && !has_cells && self.users_differ() && !self.has_fractions() {
                    return Ok(Form::Lists);
                }
                let n = match has_cells {
                    true => tabs(&self.first()) + 1,
                    false => words[0],
                };
                let ambiguous = |problem: String| {
                    Err(DataError::File {
                        path: path.to_owned(),
                        problem,
                        help: "say what it is: `--input-format trec` (user, ignored, item, ignored, score, tag), \
                               `lists` (user item item …) or `table` with `--columns` (in an experiment \
                               file: `format: trec`)"
                            .into(),
                    })
                };
                if n > 4 {
                    return ambiguous(format!("it has no header and {n} fields in a line"));
                }
                if n > 2 && !is_ragged && self.users_differ() && !self.has_fractions() {
                    return ambiguous(format!(
                        "it has no header, and each user has one line of {n} whole numbers: a list of items, \
                         or one item with a rank or a score"
                    ));
                }
                Ok(Form::Table)
            }
        }
    }
}

fn table(
    path: &Path,
    text: Vec<u8>,
    lines: &Sniffed,
    options: TextOptions,
) -> Result<Opened, DataError> {
    let (separator, header) = (lines.separator(), lines.header());
    let quotes = options.quotes == Quotes::Usual;
    let layout = Layout { separator, header, encoding: None, quotes };
    let text = if separator == " " { single_blanks(&text) } else { text };
    refuse_cut(path, &text, separator)?;
    let table = TextTable::parse(path, text, &layout)?;
    Ok(Opened { table, form: Form::Table, header, notes: Vec::new() })
}

/// A TREC file as a table: fields are separated by any blanks; what is behind those that count is a tag.
fn trec(path: &Path, text: &[u8], form: Form, lines: Sniffed) -> Result<Opened, DataError> {
    let (n, exact, expected) = match form {
        Form::Run => (5, false, "a line of a TREC run: `user Q0 item rank score tag`"),
        _ => (4, true, "a line of qrels: `user 0 item relevance`"),
    };
    let mut tidy = Vec::with_capacity(text.len());
    let mut last = 0;
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let is_blank = |at: usize| matches!(line[at], b' ' | b'\t' | b'\r');
        let (mut found, mut start) = (0, 0);
        // What is behind the fields that count is a tag: one word of it says that there is one.
        while found <= n {
            while start < line.len() && is_blank(start) {
                start += 1;
            }
            let mut end = start;
            while end < line.len() && !is_blank(end) {
                end += 1;
            }
            if end == start {
                break;
            }
            if found < n {
                if found > 0 {
                    tidy.push(b'\t');
                }
                tidy.extend_from_slice(&line[start..end]);
            }
            (found, start) = (found + 1, end);
        }
        tidy.push(b'\n');
        if found == 0 {
            continue;
        }
        last = found;
        if found < n || (exact && found > n) {
            let line = String::from_utf8_lossy(line);
            return Err(DataError::Line {
                path: path.to_owned(),
                line: at + 1,
                problem: match found < n {
                    true => "too few fields".into(),
                    false => "too many fields".into(),
                },
                found: format!(
                    "{found} in `{}`",
                    line.chars().take(80).collect::<String>().trim_end()
                ),
                expected: expected.into(),
            });
        }
    }
    if form == Form::Run && last == 5 && Sniffed::words(lines.first()).len() > 5 {
        return Err(DataError::Line {
            path: path.to_owned(),
            line: text.trim_ascii_end().iter().filter(|byte| **byte == b'\n').count() + 1,
            problem: "the last line is cut off".into(),
            found: "no tag behind the score".into(),
            expected: "a tag, as in the first line; copy or export the file again".into(),
        });
    }
    let mut notes = Vec::new();
    if form == Form::Qrels && lines.second().is_none() {
        notes.push(format!(
            "{}: the second field differs between rows: it is ignored, as trec_eval does (a table of user, item, \
             rating and time is read with `--test`)",
            path.display()
        ));
    }
    let layout = Layout { separator: "\t", header: false, encoding: None, quotes: false };
    Ok(Opened { table: TextTable::parse(path, tidy, &layout)?, form, header: false, notes })
}

/// One line a user, as a table of two fields: the user, and the items with blanks between.
fn lists(path: &Path, text: &[u8], lines: Sniffed) -> Result<Opened, DataError> {
    let header = lines.header() && Sniffed::words(lines.first()).len() == 2;
    let mut tidy = Vec::with_capacity(text.len());
    for line in text.split(|byte| *byte == b'\n') {
        let mut words =
            line.split(|b| b.is_ascii_whitespace() || *b == b',').filter(|word| !word.is_empty());
        tidy.extend_from_slice(words.next().unwrap_or_default());
        for (at, word) in words.enumerate() {
            tidy.push(if at == 0 { b'\t' } else { b' ' });
            tidy.extend_from_slice(word);
        }
        tidy.push(b'\n');
    }
    let layout = Layout { separator: "\t", header, encoding: None, quotes: false };
    let table = TextTable::parse(path, tidy, &layout)?;
    if table.names().len() < 2 {
        return Err(DataError::File {
            path: path.to_owned(),
            problem: "its lines hold a user and no items".into(),
            help: "a line is `user item item …`".into(),
        });
    }
    let notes = vec!["each line is read as a user and their list of items, the best first".into()];
    Ok(Opened { table, form: Form::Lists, header, notes })
}

/// Runs of blanks between fields as one.
fn single_blanks(text: &[u8]) -> Vec<u8> {
    let mut tidy = Vec::with_capacity(text.len());
    for line in text.split(|byte| *byte == b'\n') {
        let mut quoted = false;
        for &byte in line.trim_ascii() {
            quoted ^= byte == b'"';
            if !quoted && byte == b' ' && tidy.last() == Some(&b' ') {
                continue;
            }
            tidy.push(byte);
        }
        tidy.push(b'\n');
    }
    tidy
}

/// Refuses a table whose last line has fewer fields than its first: a file that was cut off would
/// otherwise pass for a short one.
fn refuse_cut(path: &Path, text: &[u8], separator: &str) -> Result<(), DataError> {
    let ends = |text: &[u8]| {
        let spare = |byte: &&u8| matches!(**byte, b'\n' | b'\r' | b' ');
        text.len() - text.iter().rev().take_while(spare).count()
    };
    let text = &text[..ends(text)];
    let starts = text.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    let blank = text[..starts].iter().filter(|byte| **byte == b'\n').count();
    let text = &text[starts..];
    let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let first = line(text.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let last = line(text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default());
    let at = blank + text.iter().filter(|byte| **byte == b'\n').count();
    let fields = |line: &str| 1 + line.matches(separator).count();
    if fields(&last) < fields(&first) && !first.contains('"') && !last.contains('"') {
        return Err(DataError::Line {
            path: path.to_owned(),
            line: at + 1,
            problem: "the last line is cut off".into(),
            found: format!(
                "{} fields in `{}`",
                fields(&last),
                last.chars().take(80).collect::<String>()
            ),
            expected: format!(
                "{} fields, as in the first line; copy or export the file again",
                fields(&first)
            ),
        });
    }
    Ok(())
}

impl Opened {
    /// Whether it is a TREC run or qrels.
    pub(super) fn is_trec(&self) -> bool {
        matches!(self.form, Form::Run | Form::Qrels)
    }

    /// The column of a role: as told, else by place in TREC files and tables without a header, else
    /// by its name.
    pub(super) fn column(
        &self,
        role: Role,
        told: Option<&ColumnRef>,
        place: Option<usize>,
    ) -> Result<Option<String>, DataError> {
        let names = self.table.names();
        if let Some(reference) = told {
            let name = reference.to_string();
            return match reference {
                ColumnRef::Place(place) if !names.contains(&name) => {
                    Ok(Some(self.table.column_at(*place)?.to_owned()))
                }
                _ if names.contains(&name) => Ok(Some(name)),
                _ => Err(DataError::File {
                    path: self.table.path().to_owned(),
                    problem: format!("it has no column `{name}` for the {}", role.word()),
                    help: format!("its columns are {}", names.join(", ")),
                }),
            };
        }
        if self.header {
            return Ok(role.guess(names).map(str::to_owned));
        }
        match place {
            Some(place) if place <= names.len() => {
                Ok(Some(self.table.column_at(place)?.to_owned()))
            }
            _ => Ok(None),
        }
    }

    /// The column of a role that must be there.
    pub(super) fn required(
        &self,
        role: Role,
        told: Option<&ColumnRef>,
        place: usize,
    ) -> Result<String, DataError> {
        self.column(role, told, Some(place))?.ok_or_else(|| DataError::File {
            path: self.table.path().to_owned(),
            problem: format!("no column looks like the {}", role.word()),
            help: format!("its columns are {}; {}", self.table.names().join(", "), say(role)),
        })
    }

    /// Columns of no known role that hold numbers and may decide something.
    pub(super) fn candidates(&self, used: &[&str]) -> Vec<&str> {
        let names = self.table.names().iter().map(String::as_str);
        names
            .filter(|name| !used.contains(name) && may_decide(name) && self.table.is_numeric(name))
            .collect()
    }

    /// The one column that may hold the scores where none is called so, with what to say of it. Several may be
    /// it, or one that looks like a rank: that is an error.
    pub(super) fn likely_score(
        &self,
        user: &str,
        item: &str,
    ) -> Result<Option<(String, String)>, DataError> {
        let refuse = |problem: String, column: &str| {
            Err(DataError::File {
                path: self.table.path().to_owned(),
                problem,
                help: format!(
                    "its columns are {}; say what decides the order: `--columns score={column}` (higher is \
                     better) or `--columns rank={column}` (lower is better; in an experiment file: `columns: \
                     {{score: {column}}}`)",
                    self.table.names().join(", ")
                ),
            })
        };
        let candidates = self.candidates(&[user, item]);
        match &candidates[..] {
            [] => Ok(None),
            [only] if is_lower_better(only) => {
                refuse(format!("`{only}` may be what orders the lists, from low to high"), only)
            }
            [only] if self.counts_up(user, only)? => refuse(
                format!(
                    "`{only}` counts up from 1 (or 0) for each user: it may be a rank or a score"
                ),
                only,
            ),
            [only] => Ok(Some((
                (*only).to_owned(),
                format!(
                    "no column is called a rank or a score: `{only}`, the only other column of numbers, is \
                     taken for the score (higher is better; `--columns` says otherwise)"
                ),
            ))),
            [first, ..] => refuse(
                format!(
                    "no column is called a rank or a score, and several may be it: {}",
                    candidates.join(", ")
                ),
                first,
            ),
        }
    }

    /// Whether the numbers of a column are 1, 2, 3, … (or 0, 1, 2, …) for each user, as ranks are.
    fn counts_up(&self, user: &str, column: &str) -> Result<bool, DataError> {
        let numbers: Vec<f64> = self.table.numbers(column, "a number", |_| true)?;
        let mut of_users: HashMap<&str, (usize, f64, f64)> = HashMap::new();
        for (user, number) in self.table.cells(user)?.iter().zip(numbers) {
            if number.fract() != 0.0 {
                return Ok(false);
            }
            let of = of_users.entry(user.unwrap_or_default()).or_insert((0, number, number));
            *of = (of.0 + 1, of.1.min(number), of.2.max(number));
        }
        let counts = |(n, low, high): &(usize, f64, f64)| {
            (*low == 0.0 || *low == 1.0) && high - low + 1.0 == *n as f64
        };
        Ok(of_users.values().all(counts) && of_users.values().any(|of| of.0 > 1))
    }
}

/// How a column is named.
pub(super) fn say(role: Role) -> String {
    let role = role.word();
    format!(
        "say which it is with `--columns {role}=NAME` (in an experiment file: `columns: {{{role}: NAME}}`)"
    )
}

/// The cells of a column, none of which may be empty.
pub(super) fn each<'a>(
    table: &'a TextTable,
    name: &'a str,
    cells: &'a StringChunked,
) -> impl Iterator<Item = Result<&'a str, DataError>> {
    cells.iter().enumerate().map(move |(row, cell)| {
        let cell = cell.map(str::trim).filter(|cell| !cell.is_empty());
        cell.ok_or_else(|| table.wrong(row, name, "nothing", "an identifier"))
    })
}
