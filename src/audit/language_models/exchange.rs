//! Recorded requests to language models with their responses.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;

use crate::{
    analysis::tau_b,
    audit::{Subject, subject::Cache},
    base::files::read_json,
    llm::{
        self, DIRECTORY, journal,
        key::{Key, from_hex},
    },
    tasks::top_n::{rerank::read_response, steps::RESPONSES},
};

/// Most responses of a step that are looked at, spread over all.
const MOST: usize = 3000;

/// Responses of steps, each read once.
pub struct Responses {
    answers: Cache<(), llm::Responses>,
    of_steps: Cache<usize, Recorded>,
}

/// Responses of a step.
pub struct Recorded {
    /// Those that were read.
    pub records: Vec<journal::Record>,
    /// All that the step used.
    pub all: usize,
}

impl Responses {
    pub(in crate::audit) fn new() -> Self {
        Self { answers: Cache::new(), of_steps: Cache::new() }
    }
}

impl Subject<'_> {
    /// The recorded responses that a step used. An error says why they cannot be looked at.
    pub fn recorded(&self, step: usize) -> Result<Arc<Recorded>, String> {
        self.responses.of_steps.get(step, || {
            let of = &self.experiment.steps[step];
            let named = |problem: String| format!("{} {}: {problem}", of.kind, of.label);
            let path = self.experiment.dir(self.workspace, step).join(RESPONSES);
            let keys: Vec<String> = read_json(&path).map_err(|error| named(error.to_string()))?;
            let dir = self.workspace.path(&[DIRECTORY]);
            if !dir.join("journal").is_dir() {
                return Err(named("the workspace does not keep the responses".into()));
            }
            let answers = self
                .responses
                .answers
                .get((), || llm::Responses::open(&dir).map_err(|error| error.to_string()))?;
            let every = keys.len().div_ceil(MOST).max(1);
            let mut records = Vec::new();
            for key in keys.iter().step_by(every) {
                let key: Key = from_hex(key).ok_or_else(|| named("damaged keys".into()))?;
                let record = answers.get(&key).map_err(|error| named(error.to_string()))?;
                // What was given up has no response.
                records.extend(record.filter(|record| !record.request.is_null()));
            }
            if records.is_empty() && !keys.is_empty() {
                let n = keys.len();
                return Err(named(format!("none of its {n} responses is kept in the workspace")));
            }
            Ok(Recorded { records, all: keys.len() })
        })
    }
}

/// A question about candidates and what was answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchange {
    /// Of whom it was asked, as named in the journal.
    pub user: String,
    /// Ids of the candidates in the order in which they were shown.
    pub shown: Vec<String>,
    /// Ids of the response with what orders them, their rank or their score below 0: less is better. None where the
    /// response is unusable.
    pub named: Option<Vec<(String, f64)>>,
    /// Everything that was said to the model beside the list of candidates.
    pub outside: String,
}

impl Exchange {
    /// Of a record; none where no user is asked about.
    pub fn of(record: &journal::Record) -> Option<Self> {
        let user = record.about.strip_prefix("user ")?.split(' ').next()?.to_owned();
        let messages = record.request["body"]["messages"].as_array()?;
        let (mut shown, mut outside) = (Vec::new(), String::new());
        for message in messages.iter().filter(|message| message["role"] != "assistant") {
            let Some(text) = message["content"].as_str() else { continue };
            let mut in_list = false;
            for line in text.lines() {
                match listed(line) {
                    Some(id) => {
                        in_list = true;
                        if !shown.contains(&id) {
                            shown.push(id);
                        }
                    }
                    None => {
                        // What is said of a candidate ends with a blank line.
                        in_list &= !line.trim().is_empty();
                        if !in_list {
                            outside.push_str(line);
                            outside.push('\n');
                        }
                    }
                }
            }
        }
        let content = &record.response["choices"][0]["message"]["content"];
        let read = content.as_str().and_then(|content| read_response(content, &shown));
        let named = read.map(|read| match read.scores {
            None => by_rank(read.ids),
            Some(scores) => read.ids.into_iter().zip(scores.iter().map(|score| -score)).collect(),
        });
        Some(Self { user, shown, named, outside })
    }

    /// Ids of the response that were not shown.
    pub fn unknown(&self) -> usize {
        let named = self.named.iter().flatten();
        named.filter(|(id, _)| !self.shown.contains(id)).count()
    }

    /// Ids of the response beyond the first mention.
    pub fn repeated(&self) -> usize {
        let Some(named) = &self.named else { return 0 };
        named.len() - named.iter().map(|(id, _)| id).collect::<HashSet<_>>().len()
    }

    /// Candidates that a usable response does not name.
    pub fn omitted(&self) -> usize {
        let Some(named) = &self.named else { return 0 };
        let is_named = |id: &&String| named.iter().any(|(of, _)| of == *id);
        self.shown.iter().filter(|id| !is_named(id)).count()
    }

    /// Kendall's τ-b of the rank at which candidates were shown and that at which they were answered; equal scores are
    /// ties. None where that says nothing.
    pub fn position_tau(&self) -> Option<f64> {
        let named = self.named.as_ref()?;
        let mut ranks = (Vec::new(), Vec::new());
        for (at, id) in self.shown.iter().enumerate() {
            if let Some((_, rank)) = named.iter().find(|(of, _)| of == id) {
                ranks.0.push(at as f64);
                ranks.1.push(*rank);
            }
        }
        if ranks.0.len() < 3 { None } else { tau_b(&ranks.0, &ranks.1) }
    }
}

fn by_rank(ids: Vec<String>) -> Vec<(String, f64)> {
    ids.into_iter().enumerate().map(|(rank, id)| (id, rank as f64)).collect()
}

/// The id of a line of a list of candidates: `[a7xk] Title`.
fn listed(line: &str) -> Option<String> {
    let (id, _) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let fits = id.len() == 4
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    fits.then(|| id.to_owned())
}

/// Whether a text names a title: as a whole, not as a part of a word or number; or without the year behind it, if that
/// is long enough not to be there by chance.
pub fn mentions(text: &str, title: &str) -> bool {
    let title = title.trim();
    if title.is_empty() {
        return false;
    }
    if has_phrase(text, title) {
        return true;
    }
    let Some((bare, rest)) = title.rsplit_once(" (") else { return false };
    let is_year =
        rest.len() == 5 && rest.ends_with(')') && rest[..4].bytes().all(|c| c.is_ascii_digit());
    is_year && bare.len() >= 8 && bare.contains(' ') && has_phrase(text, bare)
}

/// Whether a text names a title, and not only a longer title of the catalogue that holds it, as "Speed 2" holds "Speed".
pub fn names<'a>(text: &str, title: &str, catalogue: impl Iterator<Item = &'a str>) -> bool {
    if !mentions(text, title) {
        return false;
    }
    let bare = title.rsplit_once(" (").map_or(title, |(bare, _)| bare);
    let longer = catalogue.filter(|other| other.len() > bare.len() && *other != title);
    let mut longer: Vec<&str> = longer.filter(|other| other.contains(bare)).collect();
    longer.sort_by_key(|other| std::cmp::Reverse(other.len()));
    let rest = longer.iter().fold(text.to_owned(), |text, other| text.replace(other, " "));
    mentions(&rest, title)
}

fn has_phrase(text: &str, phrase: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).any(|(at, of)| {
        let before = text[..at].chars().next_back();
        let after = text[at + of.len()..].chars().next();
        let begins = is_word(of.chars().next()) && is_word(before);
        let ends = is_word(of.chars().next_back()) && is_word(after);
        !begins && !ends
    })
}

/// The messages of a request in one text, but for those that repeat a response.
pub(super) fn prompt(record: &journal::Record) -> String {
    let messages = record.request["body"]["messages"].as_array();
    let of_others = |message: &&Value| message["role"] != "assistant";
    let texts = messages.into_iter().flatten().filter(of_others);
    texts.filter_map(|message| message["content"].as_str()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use serde_json::json;

    use super::*;
    use crate::llm::journal::Record;

    fn record(prompt: &str, answer: &str) -> Record {
        Record {
            about: "user 7 about 3 items round 2".into(),
            request: json!({"body": {"messages": [
                {"role": "system", "content": "You order."}, {"role": "user", "content": prompt}]}}),
            response: json!({"choices": [{"message": {"content": answer}}]}),
            ..Record::failure()
        }
    }

    const PROMPT: &str = "Latest ratings:\n- Heat (1995): 5 of 5\n\nCandidates:\n\n[abcd] Jaws (1975)\nGenre: Horror\n\
        Overview: As in Heat (1995).\n\n[efgh] Alien (1979)\nGenre: Horror\n\n[ijkm] Big (1988)\n\nPut all 3 ids in order.";

    #[test]
    fn a_recorded_question_is_taken_apart() {
        let read = Exchange::of(&record(PROMPT, r#"{"order": ["efgh", "zzzz", "abcd", "efgh"]}"#));
        let read = read.unwrap();
        assert_eq!(
            (&read.user[..], &read.shown[..]),
            ("7", &["abcd", "efgh", "ijkm"].map(String::from)[..])
        );
        assert_eq!((read.unknown(), read.repeated(), read.omitted()), (1, 1, 1));
        assert!(read.outside.contains("- Heat") && read.outside.contains("Put all"));
        assert!(!read.outside.contains("Jaws") && !read.outside.contains("Overview"));
        let scored = |scores: &str| Exchange::of(&record(PROMPT, scores)).unwrap();
        let all = scored(r#"{"scores": {"abcd": 1, "efgh": 9, "ijkm": 5}}"#);
        assert_eq!(all.named.as_ref().unwrap()[1], ("efgh".into(), -9.0));
        // Of three pairs one is in the order shown and two are not; equal scores say nothing.
        assert_eq!(all.position_tau(), Some(-1.0 / 3.0));
        assert_eq!(scored(r#"{"scores": {"abcd": 5, "efgh": 5, "ijkm": 5}}"#).position_tau(), None);
        // Shown a, e, i; answered i, e, a.
        let turned = Exchange::of(&record(PROMPT, r#"["ijkm", "efgh", "abcd"]"#)).unwrap();
        assert_eq!(turned.position_tau(), Some(-1.0));
        assert_eq!(Exchange::of(&record(PROMPT, "no")).unwrap().named, None);
    }

    #[test]
    fn titles_are_found_as_whole_words() {
        for (text, title, is_in) in [
            ("liked Heat (1995) most", "Heat (1995)", true),
            ("the Heat is on", "Heat (1995)", false),
            ("Toy Stories", "Toy Story (1995)", false),
            ("films such as Toy Story.", "Toy Story (1995)", true),
            ("Toy Storyteller", "Toy Story (1995)", false),
            ("Speed 2: Cruise Control (1997)", "Speed (1994)", false),
            ("", "", false),
        ] {
            assert_eq!(mentions(text, title), is_in, "{text} {title}");
        }
        let catalogue = ["Speed", "Speed 2: Cruise Control"];
        assert!(!names("Speed 2: Cruise Control, Heat", "Speed", catalogue.into_iter()));
        assert!(names("Speed 2: Cruise Control, Speed", "Speed", catalogue.into_iter()));
    }

    /// Answers of GPT-3 to 170 chains of three prompts on MovieLens-100K (Wang and Lim 2023, Zero-Shot Next-Item
    /// Recommendation using Large Pretrained Language Models), counted by Python.
    #[test]
    fn real_chains_are_counted_as_elsewhere() {
        let data = env::var_os("ASSAY_DATA").map(PathBuf::from).unwrap_or_default();
        let file =
            data.join("llm-outputs/nir-ml100k/results_multi_prompting_len8_numcand_19_2023.json");
        let Ok(bytes) = fs::read(&file) else { return };
        let chains: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
        let text = |chain: &Value, name: &str| chain[name].as_str().unwrap_or_default().to_owned();
        let (mut unknown, mut repeated, mut named, mut short) = (0, 0, 0, 0);
        let (mut outside, mut hits, mut taus) = (0, 0, Vec::new());
        let catalogue: HashSet<String> = chains
            .iter()
            .flat_map(|chain| {
                let input = text(chain, "Input_3");
                let lists = input.lines().filter_map(|line| line.split_once("movies): "));
                let titles = lists.flat_map(|(_, list)| list.trim_end_matches('.').split(", "));
                titles.map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        for chain in &chains {
            let input = text(chain, "Input_3");
            let (_, list) = input.split_once("(candidate movies): ").unwrap();
            let (list, rest) = list.split_once('\n').unwrap();
            let answer = text(chain, "Predictions").replace("], [", "\n");
            let answer: Vec<String> = answer
                .lines()
                .filter_map(|line| {
                    let (number, of) = line.split_once(". ")?;
                    number.trim_matches([' ', '[']).parse::<u32>().ok()?;
                    let title = of.rsplit(" - ").next()?;
                    Some(title.trim_matches(['[', ']', ',', '.', '-', ' ']).to_owned())
                })
                .collect();
            let of = Exchange {
                user: chain["PID"].to_string(),
                shown: list.trim_end_matches('.').split(", ").map(str::to_owned).collect(),
                named: Some(by_rank(answer.clone())),
                outside: rest.to_owned(),
            };
            let truth = text(chain, "GT");
            outside +=
                usize::from(names(&of.outside, &truth, catalogue.iter().map(String::as_str)));
            hits += usize::from(answer.contains(&truth));
            named += answer.len();
            short += usize::from(answer.len() < 10);
            // Titles that hold a comma are in pieces in `shown`.
            unknown += answer.iter().filter(|title| !mentions(list, title)).count();
            repeated += of.repeated();
            taus.extend(of.position_tau());
        }
        assert_eq!((chains.len(), named, short, hits), (170, 1701, 1, 102));
        // Films that are no candidates, among them "A Walk in the Clouds"; the truth is in no prompt beside the list.
        assert_eq!((unknown, repeated, outside), (10, 5, 0));
        let estimate = crate::analysis::Estimate::of(&taus).unwrap();
        assert!(
            (estimate.mean - 0.275_566_970_833_243_16).abs() < 1e-9 && taus.len() == 169,
            "{estimate:?}"
        );
    }
}
