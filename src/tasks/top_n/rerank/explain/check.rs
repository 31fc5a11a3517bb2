//! Checks of explanations without a judge: whether they are grounded, specific to the user, or repetitive. They are made for
//! English; in other languages, few names are found.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    Explanation,
    ground::{Ground, Vocabulary, find_names},
    words::{Title, stem, tokens},
};
use crate::{data::UserIx, tasks::top_n::rerank::JudgeContext, text::ItemFacts};

/// The result for one explanation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Names, titles, genres and years that occur neither in the data of the item nor in those of the user.
    #[serde(rename = "unfounded")]
    pub ungrounded: Vec<String>,
    /// Whether it names something from the data of the item (other than its title), and of the user.
    pub names_item: bool,
    pub names_user: bool,
    /// The share of other users whom it fits less, by cosine of tf-idf of its words and the words of their data; a tie
    /// counts one half. One half means no relation to the user.
    #[serde(rename = "told_apart")]
    pub user_specificity: Option<f64>,
    /// Whether an earlier explanation, of another item or for another user, is the same except for the title.
    #[serde(rename = "said_before")]
    pub is_duplicate: bool,
    /// The share of its word trigrams that also occur in an earlier explanation for the same user.
    pub repeated: f64,
    /// Whether a sequence of four words occurs twice.
    pub loops: bool,
    pub words: usize,
}

/// Checks all explanations of a fold, which are sorted by user and rank.
pub fn check(explained: &mut [Explanation], context: &JudgeContext) {
    let vocabulary = Vocabulary::of(context.facts, explained.iter().map(|of| &of.text[..]));
    let mut items: HashMap<u32, Ground> = HashMap::new();
    let users: Vec<Ground> = (0..context.users.len() as u32)
        .map(|user| ground_of(UserIx(user), &vocabulary, context))
        .collect();
    let audience = Audience::of(&users);
    let mut seen = HashSet::new();
    let mut of_user: (Option<UserIx>, HashSet<String>) = (None, HashSet::new());
    for of in explained.iter_mut() {
        if of_user.0 != Some(of.user) {
            of_user = (Some(of.user), HashSet::new());
        }
        let fact = &context.facts[of.item as usize];
        let item = items
            .entry(of.item)
            .or_insert_with(|| Ground::of_item(&vocabulary, fact, context.item_profile(of.item)));
        let own = Title::of(context.name(of.item));
        let named = find_names(&of.text, &vocabulary, (item, &users[of.user.at()]), &own);
        let words = without(&of.text, &own);
        let runs = |n: usize| words.windows(n).map(|run| run.join(" ")).collect::<Vec<String>>();
        let threes = runs(3);
        let known = threes.iter().filter(|run| of_user.1.contains(*run)).count();
        let fours = runs(4);
        of.check = Check {
            ungrounded: named.ungrounded,
            names_item: named.item,
            names_user: named.user,
            user_specificity: audience.user_specificity(of.user, &words),
            is_duplicate: !seen.insert(words.join(" ")),
            repeated: known as f64 / threes.len().max(1) as f64,
            loops: fours.iter().collect::<HashSet<_>>().len() < fours.len(),
            words: tokens(&of.text).len(),
        };
        of_user.1.extend(threes);
    }
}

fn ground_of(user: UserIx, vocabulary: &Vocabulary, context: &JudgeContext) -> Ground {
    let rated: Vec<&ItemFacts> =
        context.recent(user).into_iter().map(|(item, _)| &context.facts[item as usize]).collect();
    Ground::of_user(vocabulary, context.profile(user), &rated)
}

/// The words of a text without the title of the item.
fn without(text: &str, own: &Title) -> Vec<String> {
    let tokens = tokens(text);
    let places = own.places(&tokens);
    let is_title = |at: usize| places.iter().any(|place| place.contains(&at));
    let rest = tokens.into_iter().enumerate().filter(|(at, _)| !is_title(*at));
    rest.map(|(_, token)| token.word).collect()
}

/// All users with the words of their data.
struct Audience {
    /// By word: its weight, and the users who have it.
    words: HashMap<String, (f64, Vec<u32>)>,
    /// Length of each user's vector; 0 without data.
    lengths: Vec<f64>,
}

impl Audience {
    fn of(users: &[Ground]) -> Self {
        let mut words: HashMap<String, (f64, Vec<u32>)> = HashMap::new();
        for (user, ground) in users.iter().enumerate() {
            for word in ground.stems() {
                words.entry(word.to_owned()).or_default().1.push(user as u32);
            }
        }
        let known = users.iter().filter(|ground| !ground.stems().is_empty()).count();
        let mut squares = vec![0.0f64; users.len()];
        // Sorted, because sums must not depend on the order of a hash map.
        let mut sorted: Vec<(&String, &mut (f64, Vec<u32>))> = words.iter_mut().collect();
        sorted.sort_by(|a, b| a.0.cmp(b.0));
        for (_, (weight, of)) in sorted {
            *weight = (known as f64 / of.len() as f64).ln();
            for user in of {
                squares[*user as usize] += *weight * *weight;
            }
        }
        Self { words, lengths: squares.into_iter().map(f64::sqrt).collect() }
    }

    fn user_specificity(&self, user: UserIx, words: &[String]) -> Option<f64> {
        let own = user.at();
        if self.lengths[own] == 0.0 {
            return None;
        }
        let mut words: Vec<String> = words.iter().map(|word| stem(word)).collect();
        words.sort_unstable();
        words.dedup();
        let mut sums = vec![0.0f64; self.lengths.len()];
        for (weight, of) in words.iter().filter_map(|word| self.words.get(word)) {
            for user in of {
                sums[*user as usize] += weight * weight;
            }
        }
        let fits = |at: usize| sums[at] / self.lengths[at];
        let (mut less, mut n) = (0.0, 0usize);
        for other in (0..sums.len()).filter(|other| *other != own && self.lengths[*other] > 0.0) {
            n += 1;
            less += match fits(own).total_cmp(&fits(other)) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
        (n > 0).then(|| less / n as f64)
    }
}

/// Maximum number of ungrounded names in a record.
const MAX_NAMES: usize = 200;

/// The part of a step's record about its explanations. All but the first two are about explanations that are no
/// fallbacks. They are sums, from which means over several steps are computed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainChecks {
    pub explanations: usize,
    /// Rule-based explanations, because the judge gave none.
    #[serde(rename = "stand_ins")]
    pub fallbacks: usize,
    /// Explanations that are no fallbacks.
    pub checked: usize,
    pub words: usize,
    /// Explanations without an ungrounded name.
    pub grounded: usize,
    #[serde(rename = "unfounded")]
    pub ungrounded: usize,
    /// The most frequent ungrounded names.
    #[serde(rename = "unfounded_names")]
    pub ungrounded_names: Vec<(String, usize)>,
    pub name_item: usize,
    pub name_user: usize,
    /// Sum of the shares of other users whom an explanation fits less, and number of these explanations.
    #[serde(rename = "told_apart")]
    pub user_specificity: f64,
    #[serde(rename = "told_apart_of")]
    pub user_specificity_of: usize,
    #[serde(rename = "said_before")]
    pub duplicates: usize,
    /// Sum of the shares of word trigrams that also occur in an earlier explanation for the same user.
    pub repeated: f64,
    pub loops: usize,
}

/// Counts for a step's record, over the explanations that are no fallbacks.
pub fn summary(explained: &[Explanation]) -> ExplainChecks {
    let own: Vec<&Explanation> = explained.iter().filter(|of| !of.is_fallback).collect();
    let mut names: BTreeMap<&String, usize> = BTreeMap::new();
    for name in own.iter().flat_map(|of| &of.check.ungrounded) {
        *names.entry(name).or_default() += 1;
    }
    let mut most: Vec<(String, usize)> =
        names.into_iter().map(|(name, count)| (name.clone(), count)).collect();
    most.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    most.truncate(MAX_NAMES);
    let count = |is: &dyn Fn(&Check) -> bool| own.iter().filter(|of| is(&of.check)).count();
    let shares: Vec<f64> = own.iter().filter_map(|of| of.check.user_specificity).collect();
    ExplainChecks {
        explanations: explained.len(),
        fallbacks: explained.len() - own.len(),
        checked: own.len(),
        words: own.iter().map(|of| of.check.words).sum::<usize>(),
        grounded: count(&|check| check.ungrounded.is_empty()),
        ungrounded: own.iter().map(|of| of.check.ungrounded.len()).sum::<usize>(),
        ungrounded_names: most,
        name_item: count(&|check| check.names_item),
        name_user: count(&|check| check.names_user),
        user_specificity: shares.iter().fold(0.0, |sum, of| sum + of),
        user_specificity_of: shares.len(),
        duplicates: count(&|check| check.is_duplicate),
        repeated: own.iter().fold(0.0, |sum, of| sum + of.check.repeated),
        loops: count(&|check| check.loops),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_the_user_with_its_words() {
        let vocabulary = Vocabulary::of(&[], []);
        let profile = |genre: &str| format!("Likes {genre} and films.");
        let users: Vec<Ground> = ["westerns", "musicals", "westerns", ""]
            .iter()
            .map(|genre| match *genre {
                "" => Ground::of_user(&vocabulary, "", &[]),
                genre => Ground::of_user(&vocabulary, &profile(genre), &[]),
            })
            .collect();
        let audience = Audience::of(&users);
        let specificity = |user: u32, text: &str| {
            audience.user_specificity(UserIx(user), &without(text, &Title::of("")))
        };
        assert_eq!(specificity(0, "A western."), Some(0.75));
        assert_eq!(specificity(1, "A musical, with songs."), Some(1.0));
        assert_eq!(specificity(1, "A western."), Some(0.0));
        // A text that fits all users equally is not specific; without data there is no value.
        assert_eq!(specificity(1, "You like films."), Some(0.5));
        assert_eq!(specificity(3, "A western."), None);
    }

    #[test]
    fn the_title_is_removed() {
        let own = Title::of("Heat (1995)");
        assert_eq!(without("Heat (1995) is hot. I like Heat", &own), ["is", "hot", "i", "like"]);
    }
}
