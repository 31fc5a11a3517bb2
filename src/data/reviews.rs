//! Texts of interactions: a table of reviews, of which only those of training interactions can be read.
//!
//! [`Reviews`] holds all of them and shows none. [`TrainingPart::reviews`] is the only way to a text, and it gives those of
//! the rows of its own training part: no model, profile or prompt can reach the review of a held-out interaction.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    path::Path,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DataError, TrainingPart,
    content::Encoding,
    delimited::{Layout, TextTable, usual_separator},
    readers::{DuplicateRule, Quotes},
};

/// Raise it if the code reads something else from the same file.
pub(super) const REVISION: u32 = 2;

/// A table with the reviews of a data set, one row each. They are read only where a system uses them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewsSpec {
    /// The file in the folder of the data: JSON lines (`*.json`, `*.jsonl`, `*.ndjson`), CSV, TSV or Parquet. It may be the
    /// file of the interactions.
    pub(super) file: String,
    /// The column of users.
    user: String,
    /// The column of items.
    item: String,
    /// The column of texts.
    text: String,
    /// The column of titles or summaries, which are put before the texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// The column of ratings; needed only for `duplicates: keep-highest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rating: Option<String>,
    /// How the letters are written; by default UTF-8, or UTF-16 with a byte order mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
    /// `none`: quotes are characters like others.
    #[serde(default, skip_serializing_if = "Quotes::are_usual")]
    quotes: Quotes,
}

/// Longest text in characters; more is cut off and counted. Encoders read a few hundred tokens.
const LONGEST: usize = 20_000;

/// All reviews of a data set, sealed: see [`TrainingPart::reviews`].
pub struct Reviews {
    file: String,
    /// Of each user and item, the row that is kept and the number of rows.
    by_pair: HashMap<(String, String), (usize, usize)>,
    titles: Vec<Option<String>>,
    texts: Vec<Option<String>>,
    has_titles: bool,
}

/// The reviews of the rows of a training part, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingReviews {
    /// One for each training interaction; none where it has no text.
    pub texts: Vec<Option<String>>,
    pub stats: ReviewStats,
}

/// What was found while reading reviews. Everything but the number of rows is about training interactions alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReviewStats {
    /// Rows of the file, held-out ones included.
    pub rows_in_file: usize,
    pub training_interactions: usize,
    pub with_text: usize,
    /// Interactions without a row in the file.
    pub without_row: usize,
    /// Rows without a text, or with an empty one. With a title, that is the text.
    pub empty_texts: usize,
    /// Rows without a title, where titles are declared.
    pub empty_titles: usize,
    /// Interactions with several rows, of which `duplicates` keeps one.
    pub duplicates: usize,
    /// Reviews with the same text as another training review of the same user.
    pub copies: usize,
    /// Reviews of interactions that are not in the training part, and how many of these have the same text as a training
    /// review of the same user. Nothing else of them is read.
    #[serde(default)]
    pub held_out: usize,
    #[serde(default)]
    pub held_out_copies: usize,
    /// Texts from which tags or character references of HTML were removed.
    pub with_html: usize,
    /// Texts that were longer than 20,000 characters and were cut off.
    pub cut_off: usize,
}

impl ReviewStats {
    /// What readers must know, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let all = self.training_interactions;
        let counts = [
            (self.without_row, "training interactions have no review in the file"),
            (
                self.empty_texts,
                "reviews have an empty text (their title is used, where there is one)",
            ),
            (self.empty_titles, "reviews have no title"),
            (
                self.duplicates,
                "training interactions have several reviews, of which `duplicates` keeps one",
            ),
            (
                self.copies,
                "reviews have the same text as another one of the same user (merged listings?)",
            ),
            (self.with_html, "reviews had HTML removed"),
            (self.cut_off, "reviews were cut off at 20,000 characters"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let mut notes: Vec<String> =
            counts.map(|(count, what)| format!("{count} of {all}: {what}")).collect();
        if self.held_out_copies > 0 {
            notes.push(format!(
                "{} of {} reviews outside the training part have the same text as a training review of the user",
                self.held_out_copies, self.held_out
            ));
        }
        notes
    }
}

impl ReviewsSpec {
    /// Reads the table in `folder`; of several reviews of one interaction `rule` keeps one.
    pub(super) fn read(&self, folder: &Path, rule: DuplicateRule) -> Result<Reviews, DataError> {
        let path = folder.join(&self.file);
        let separator = usual_separator(&path);
        let quotes = self.quotes == Quotes::Usual;
        let layout = Layout { separator, header: true, encoding: self.encoding, quotes };
        let table = TextTable::read(&path, &layout)?;
        let (users, _) = table.id_names(&self.user)?;
        let (items, _) = table.id_names(&self.item)?;
        table.refuse_rows_in_quotes([&self.user, &self.item])?;
        let ratings = match (rule, &self.rating) {
            (DuplicateRule::KeepHighest, None) => {
                return Err(DataError::File {
                    path,
                    problem: "`duplicates: keep-highest` needs the ratings of reviews".into(),
                    help: "name their column: `reviews: {rating: NAME, …}`".into(),
                });
            }
            (DuplicateRule::KeepHighest, Some(rating)) => {
                table.numbers(rating, "a rating (a number)", f32::is_finite)?
            }
            _ => Vec::new(),
        };
        let lines = table.lines();
        let mut by_pair: HashMap<(String, String), (usize, usize)> = HashMap::new();
        for row in 0..table.len() {
            let pair = (users.at(row).to_owned(), items.at(row).to_owned());
            let Some((kept, rows)) = by_pair.get_mut(&pair) else {
                by_pair.insert(pair, (row, 1));
                continue;
            };
            *rows += 1;
            match rule {
                DuplicateRule::Error => {
                    return Err(DataError::Line {
                        path,
                        line: lines[row] as usize,
                        problem: "a second review of one interaction".into(),
                        found: format!(
                            "user `{}` and item `{}`, as on line {}",
                            pair.0, pair.1, lines[*kept]
                        ),
                        expected:
                            "each pair once (or say what to keep with `duplicates: keep-first | \
                                   keep-last | keep-highest`)"
                                .into(),
                    });
                }
                DuplicateRule::KeepFirst => {}
                DuplicateRule::KeepLast => *kept = row,
                DuplicateRule::KeepHighest if ratings[row] > ratings[*kept] => *kept = row,
                DuplicateRule::KeepHighest => {}
            }
        }
        Ok(Reviews {
            file: self.file.clone(),
            by_pair,
            titles: match &self.title {
                Some(title) => table.optional_texts(title)?,
                None => Vec::new(),
            },
            texts: table.optional_texts(&self.text)?,
            has_titles: self.title.is_some(),
        })
    }
}

impl TrainingPart {
    /// The reviews of the training interactions, in the order of [`TrainingPart::train`]. Those of the validation part and of
    /// the test part stay sealed.
    pub fn reviews(&self, all: &Reviews) -> Result<TrainingReviews, DataError> {
        let mut stats = ReviewStats {
            rows_in_file: all.texts.len(),
            training_interactions: self.train.len(),
            ..ReviewStats::default()
        };
        let mut texts: Vec<Option<String>> = Vec::with_capacity(self.train.len());
        for row in self.train.iter() {
            let pair =
                (self.users.name(row.user.0).to_owned(), self.items.name(row.item.0).to_owned());
            let Some((kept, rows)) = all.by_pair.get(&pair) else {
                stats.without_row += 1;
                texts.push(None);
                continue;
            };
            stats.duplicates += usize::from(*rows > 1);
            let text = all.text(*kept, &mut stats);
            stats.with_text += usize::from(text.is_some());
            texts.push(text);
        }
        for user in self.train.indptr().windows(2) {
            let mut times: HashMap<&str, usize> = HashMap::new();
            for text in texts[user[0]..user[1]].iter().flatten() {
                *times.entry(text).or_default() += 1;
            }
            stats.copies += times.values().filter(|times| **times > 1).sum::<usize>();
        }
        self.count_held_out(all, &mut stats);
        if stats.with_text == 0 {
            return Err(DataError::File {
                path: all.file.clone().into(),
                problem: "no training interaction has a review in it".into(),
                help: "users and items are compared with those of the interactions as text: are the columns \
                       the right ones, and are ids written alike?"
                    .into(),
            });
        }
        Ok(TrainingReviews { texts, stats })
    }
}

impl TrainingPart {
    /// How many reviews of other interactions have a copy among the training reviews of the user. No text leaves this.
    fn count_held_out(&self, all: &Reviews, stats: &mut ReviewStats) {
        let mut pairs: HashSet<(&str, &str)> = HashSet::new();
        let mut texts: HashSet<(&str, &str)> = HashSet::new();
        for row in self.train.iter() {
            let (user, item) = (self.users.name(row.user.0), self.items.name(row.item.0));
            pairs.insert((user, item));
            let kept = all.by_pair.get(&(user.to_owned(), item.to_owned()));
            if let Some(text) = kept.and_then(|(kept, _)| all.texts[*kept].as_deref()) {
                texts.insert((user, text.trim()));
            }
        }
        for ((user, item), (kept, _)) in &all.by_pair {
            let Some(text) = all.texts[*kept].as_deref().map(str::trim) else { continue };
            if !text.is_empty() && !pairs.contains(&(&**user, &**item)) {
                stats.held_out += 1;
                stats.held_out_copies += usize::from(texts.contains(&(&**user, text)));
            }
        }
    }
}

impl Reviews {
    /// The text of a row, cleaned.
    fn text(&self, row: usize, stats: &mut ReviewStats) -> Option<String> {
        let mut has_html = false;
        let mut clean = |text: Option<&String>| {
            let text = text.map_or("", |text| text.trim());
            let plain = without_html(text);
            has_html |= plain != text;
            plain.trim().to_owned()
        };
        let title = clean(self.titles.get(row).and_then(Option::as_ref));
        let text = clean(self.texts[row].as_ref());
        stats.with_html += usize::from(has_html);
        stats.empty_texts += usize::from(text.is_empty());
        stats.empty_titles += usize::from(self.has_titles && title.is_empty());
        let joined = match (title.is_empty(), text.is_empty()) {
            (true, true) => return None,
            (false, true) => title,
            (true, false) => text,
            (false, false) => format!("{title}\n{text}"),
        };
        match joined.char_indices().nth(LONGEST) {
            Some((end, _)) => {
                stats.cut_off += 1;
                Some(joined[..end].to_owned())
            }
            None => Some(joined),
        }
    }
}

/// The text without tags, and with character references as characters. `<3` and `a < b` are no tags.
fn without_html(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '&']) {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let (put, length) = match tag(rest) {
            Some(length) => (Some(' '), length),
            None => match reference(rest) {
                Some((character, length)) => (Some(character), length),
                None => (rest.chars().next(), 1),
            },
        };
        plain.extend(put);
        rest = &rest[length..];
    }
    plain.push_str(rest);
    plain.into()
}

/// The length of a tag at the start of the text.
fn tag(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('<')?;
    let name = inside.strip_prefix('/').unwrap_or(inside);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let end = inside.find(['>', '<'])?;
    (inside.as_bytes()[end] == b'>' && end <= 1000).then_some(end + 2)
}

/// A character reference at the start of the text: the character, and its length.
fn reference(text: &str) -> Option<(char, usize)> {
    // The longest are shorter than this.
    let end = text.bytes().take(12).position(|byte| byte == b';')?;
    let name = text.get(1..end).filter(|_| text.starts_with('&'))?;
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|character| !character.is_control())?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::{Ids, Interaction, Interactions, ItemIx, UserIx};

    fn part(train: &[(u32, u32)], validation: &[(u32, u32)]) -> TrainingPart {
        let ids = |names: &[&str]| Ids::new(names.iter().map(|name| (*name).to_owned()));
        let rows = |pairs: &[(u32, u32)]| {
            let row = |&(user, item): &(u32, u32)| Interaction {
                user: UserIx(user),
                item: ItemIx(item),
                rating: 5.0,
                timestamp: Default::default(),
            };
            Interactions::new(2, 4, &pairs.iter().map(row).collect::<Vec<_>>())
        };
        TrainingPart {
            users: ids(&["a", "b"]),
            items: ids(&["x", "y", "z", "zz"]),
            train: rows(train),
            validation: rows(validation),
        }
    }

    fn read(lines: &str, rule: DuplicateRule, title: bool) -> Result<Reviews, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("r.json"), lines).unwrap();
        let title = if title { "title: s, " } else { "" };
        let spec = format!("{{file: r.json, user: u, item: i, text: t, {title}rating: r}}");
        let spec: ReviewsSpec = serde_yaml::from_str(&spec).unwrap();
        spec.read(dir.path(), rule).map_err(|error| error.to_string())
    }

    fn line(user: &str, item: &str, text: &str) -> String {
        format!("{{\"u\": \"{user}\", \"i\": \"{item}\", \"t\": \"{text}\", \"r\": 3}}\n")
    }

    #[test]
    fn the_text_of_a_held_out_pair_cannot_be_had_and_its_bytes_change_nothing() {
        // (a, y) is the validation part, (b, z) the test part.
        let part = part(&[(0, 0), (1, 1)], &[(0, 1)]);
        let of = |validation: &str, test: &str| {
            let lines = line("a", "x", "one") + &line("a", "y", validation) + &line("b", "z", test);
            let reviews = read(&(lines + &line("b", "y", "two")), DuplicateRule::Error, false);
            part.reviews(&reviews.unwrap()).unwrap()
        };
        let texts = |reviews: &TrainingReviews| {
            reviews.texts.clone().into_iter().flatten().collect::<Vec<_>>()
        };
        let plain = of("held out", "the answer");
        assert_eq!(texts(&plain), ["one", "two"]);
        for (validation, test) in [("", ""), ("<b>one</b>", "&amp;"), ("x", &"long ".repeat(9000))]
        {
            let found = of(validation, test);
            assert_eq!(found.texts, plain.texts, "{validation} {test}");
            // How many there are outside of the training part is counted.
            let counts = (plain.stats.held_out, plain.stats.held_out_copies);
            let (held_out, held_out_copies) = counts;
            assert_eq!(ReviewStats { held_out, held_out_copies, ..found.stats }, plain.stats);
        }
        assert_eq!((plain.stats.held_out, plain.stats.held_out_copies), (2, 0));
        // (b, z) has the text that b has at y.
        let copied = of("two", "two");
        assert_eq!((copied.stats.held_out, copied.stats.held_out_copies), (2, 1));
        assert!(copied.stats.notes().iter().any(|note| note.starts_with("1 of 2 reviews outside")));
    }

    /// A quote that is not closed on its line goes on to the next quote: the rows between are its text.
    #[test]
    fn rows_that_a_quote_has_swallowed_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let part = part(&[(0, 0), (1, 1)], &[(0, 1)]);
        let read = |text: &str, more: &str| {
            fs::write(dir.path().join("r.tsv"), text).unwrap();
            let spec = format!("{{file: r.tsv, user: u, item: i, text: t{more}}}");
            let spec: ReviewsSpec = serde_yaml::from_str(&spec).unwrap();
            let all = spec.read(dir.path(), DuplicateRule::Error).map_err(|of| of.to_string())?;
            part.reviews(&all).map_err(|error| error.to_string())
        };
        let swallowed = "u\ti\tt\na\tx\t\"one\na\ty\theld out\nb\tz\tthe answer\"\nb\ty\ttwo\n";
        let error = read(swallowed, "").unwrap_err();
        assert!(error.contains("contains other rows") && error.contains("r.tsv:2"), "{error}");
        assert!(error.contains("quotes: none"), "{error}");
        let found = read(swallowed, ", quotes: none").unwrap();
        assert_eq!(found.texts, [Some("\"one".to_owned()), Some("two".into())]);
        let closed = "u\ti\tt\na\tx\t\"one\nand\tmore\"\nb\ty\ttwo\n";
        assert_eq!(read(closed, "").unwrap().texts[0], Some("one\nand\tmore".into()));
    }

    #[test]
    fn what_is_wrong_with_reviews_is_counted() {
        let part = part(&[(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3)], &[]);
        let lines =
            "{\"u\": \"a\", \"i\": \"x\", \"t\": \"It&#34;s <br />a &lt;3 b\", \"s\": \"Hm\"}\n"
                .to_owned()
                + "{\"u\": \"a\", \"i\": \"y\", \"s\": \"Only a title\"}\n"
                + "{\"u\": \"a\", \"i\": \"z\", \"t\": \"  \", \"s\": null}\n"
                + &format!(
                    "{{\"u\": \"b\", \"i\": \"x\", \"t\": \"{}\", \"s\": \"é\"}}\n",
                    "é".repeat(50_000)
                )
                + &line("b", "y", "first")
                + &line("b", "y", "second")
                + &line("b", "z", "second");
        let reviews = part.reviews(&read(&lines, DuplicateRule::KeepLast, true).unwrap()).unwrap();
        let texts: Vec<Option<&str>> = reviews.texts.iter().map(Option::as_deref).collect();
        assert_eq!(texts[..3], [Some("Hm\nIt\"s  a <3 b"), Some("Only a title"), None]);
        assert_eq!(texts[3].unwrap().chars().count(), LONGEST);
        assert_eq!(texts[4..], [Some("second"), Some("second"), None]);
        let wanted = ReviewStats {
            rows_in_file: 7,
            training_interactions: 7,
            with_text: 5,
            without_row: 1,
            empty_texts: 2,
            empty_titles: 3,
            duplicates: 1,
            copies: 2,
            with_html: 1,
            cut_off: 1,
            held_out: 0,
            held_out_copies: 0,
        };
        assert_eq!(reviews.stats, wanted);
        assert_eq!(reviews.stats.notes().len(), 7);
    }

    #[test]
    fn of_several_reviews_of_a_pair_the_rule_of_the_interactions_keeps_one() {
        let part = part(&[(0, 0)], &[]);
        let lines = [("one", 3), ("two", 5), ("three", 5), ("four", 4)]
            .map(|(text, r)| {
                format!("{{\"u\": \"a\", \"i\": \"x\", \"t\": \"{text}\", \"r\": {r}}}\n")
            })
            .concat();
        for (rule, text) in [
            (DuplicateRule::KeepFirst, "one"),
            (DuplicateRule::KeepLast, "four"),
            (DuplicateRule::KeepHighest, "two"),
        ] {
            let reviews = part.reviews(&read(&lines, rule, false).unwrap()).unwrap();
            assert_eq!(reviews.texts, [Some(text.to_owned())]);
        }
        let error = read(&lines, DuplicateRule::Error, false).err().unwrap();
        assert!(error.contains("as on line 1") && error.contains("r.json:2"), "{error}");
    }

    #[test]
    fn a_missing_key_of_an_id_names_its_line_and_strange_ids_are_refused() {
        let error = read("{\"u\": \"a\", \"t\": \"x\", \"r\": 1}\n", DuplicateRule::Error, false);
        assert!(error.err().unwrap().contains("no column `i`"));
        let lines = line("a", "x", "one") + "{\"u\": \"b\", \"t\": \"x\", \"r\": 1}\n";
        let error = read(&lines, DuplicateRule::Error, false).err().unwrap();
        assert!(error.contains("r.json:2"), "{error}");
        let reviews = read(&line("A", "x", "one"), DuplicateRule::Error, false).unwrap();
        let error = part(&[(0, 0)], &[]).reviews(&reviews).unwrap_err().to_string();
        assert!(error.contains("no training interaction has a review"), "{error}");
    }

    #[test]
    fn tags_and_references_are_removed_and_other_signs_stay() {
        for (text, plain) in [
            ("a<br/>b", "a b"),
            ("<a href=\"x\">link</a>!", " link !"),
            ("I <3 it & you; a < b > c", "I <3 it & you; a < b > c"),
            ("&#x27;&nbsp;&amp;lt;&unknown;&#0;", "' &lt;&unknown;&#0;"),
            ("<b", "<b"),
            ("&", "&"),
            ("é<ü>&é;", "é<ü>&é;"),
        ] {
            assert_eq!(without_html(text), plain);
        }
    }
}
