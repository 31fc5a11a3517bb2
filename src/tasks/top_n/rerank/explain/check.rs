//! Checks of explanations that need no judge: are they grounded, specific to the user, and do they repeat
//! themselves? The words are those of English; other languages are hardly checked for names.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    Explanation,
    ground::{Ground, Vocabulary, look},
    words::{Title, stem, tokens},
};
use crate::{data::UserIx, tasks::top_n::rerank::Knowledge, text::ItemFacts};

/// What was found of one explanation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Names, titles, genres and years that are known neither of the item nor of the user.
    pub unfounded: Vec<String>,
    /// Whether it names something of the item beside its title, and something of the user.
    pub names_item: bool,
    pub names_user: bool,
    /// The share of other users whom it fits less, by the words it shares with what is known of them
    /// (cosine of tf-idf); a tie is half. One half: no relation to the user.
    pub told_apart: Option<f64>,
    /// Whether the same was said before of another item or to another user, but for the title.
    pub said_before: bool,
    /// The share of its runs of three words that an earlier explanation for the same user has.
    pub repeated: f64,
    /// Whether a run of four words stands in it twice.
    pub loops: bool,
    pub words: usize,
}

/// Checks all explanations of a fold, which are sorted by user and place.
pub fn check(explained: &mut [Explanation], knows: &Knowledge) {
    let vocabulary = Vocabulary::of(knows.facts, explained.iter().map(|of| &of.text[..]));
    let mut items: HashMap<u32, Ground> = HashMap::new();
    let users: Vec<Ground> = (0..knows.users.len() as u32)
        .map(|user| ground_of(UserIx(user), &vocabulary, knows))
        .collect();
    let audience = Audience::of(&users);
    let mut said = HashSet::new();
    let mut of_user: (Option<UserIx>, HashSet<String>) = (None, HashSet::new());
    for of in explained.iter_mut() {
        if of_user.0 != Some(of.user) {
            of_user = (Some(of.user), HashSet::new());
        }
        let fact = &knows.facts[of.item as usize];
        let item = items
            .entry(of.item)
            .or_insert_with(|| Ground::of_item(&vocabulary, fact, knows.item_profile(of.item)));
        let own = Title::of(knows.name(of.item));
        let named = look(&of.text, &vocabulary, (item, &users[of.user.at()]), &own);
        let words = without(&of.text, &own);
        let runs = |n: usize| words.windows(n).map(|run| run.join(" ")).collect::<Vec<String>>();
        let threes = runs(3);
        let known = threes.iter().filter(|run| of_user.1.contains(*run)).count();
        let fours = runs(4);
        of.check = Check {
            unfounded: named.unfounded,
            names_item: named.item,
            names_user: named.user,
            told_apart: audience.told_apart(of.user, &words),
            said_before: !said.insert(words.join(" ")),
            repeated: known as f64 / threes.len().max(1) as f64,
            loops: fours.iter().collect::<HashSet<_>>().len() < fours.len(),
            words: tokens(&of.text).len(),
        };
        of_user.1.extend(threes);
    }
}

fn ground_of(user: UserIx, vocabulary: &Vocabulary, knows: &Knowledge) -> Ground {
    let rated: Vec<&ItemFacts> =
        knows.recent(user).into_iter().map(|(item, _)| &knows.facts[item as usize]).collect();
    Ground::of_user(vocabulary, knows.profile(user), &rated)
}

/// The words of a text, with the item's own title taken out.
fn without(text: &str, own: &Title) -> Vec<String> {
    let tokens = tokens(text);
    let places = own.places(&tokens);
    let is_title = |at: usize| places.iter().any(|place| place.contains(&at));
    let rest = tokens.into_iter().enumerate().filter(|(at, _)| !is_title(*at));
    rest.map(|(_, token)| token.word).collect()
}

/// All users by the words known of them.
struct Audience {
    /// Users who have the word, by word, and its weight.
    words: HashMap<String, (f64, Vec<u32>)>,
    /// Length of each user's vector; 0 where nothing is known.
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
        // In the order of words: sums must not depend on a hash map's.
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

    fn told_apart(&self, user: UserIx, words: &[String]) -> Option<f64> {
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

/// Unfounded names that a record keeps, the most frequent first.
const MOST_NAMES: usize = 200;

/// What a step's record says of the explanations that it made. All but the first two are of those that
/// nothing stands in for; sums, for means over several steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainChecks {
    pub explanations: usize,
    /// Rule-based, because the judge gave none.
    pub stand_ins: usize,
    /// Those that nothing stands in for.
    pub checked: usize,
    pub words: usize,
    /// Those without an unfounded name.
    pub grounded: usize,
    pub unfounded: usize,
    /// The most frequent unfounded names.
    pub unfounded_names: Vec<(String, usize)>,
    pub name_item: usize,
    pub name_user: usize,
    /// Sum of the shares of other users whom an explanation fits less, and of how many explanations.
    pub told_apart: f64,
    pub told_apart_of: usize,
    pub said_before: usize,
    /// Sum of the shares of runs of three words that an earlier explanation for the same user has.
    pub repeated: f64,
    pub loops: usize,
}

/// Counts for a step's record, over the explanations that nothing stands in for.
pub fn summary(explained: &[Explanation]) -> ExplainChecks {
    let own: Vec<&Explanation> = explained.iter().filter(|of| !of.stands_in).collect();
    let mut names: BTreeMap<&String, usize> = BTreeMap::new();
    for name in own.iter().flat_map(|of| &of.check.unfounded) {
        *names.entry(name).or_default() += 1;
    }
    let mut most: Vec<(String, usize)> =
        names.into_iter().map(|(name, count)| (name.clone(), count)).collect();
    most.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    most.truncate(MOST_NAMES);
    let count = |is: &dyn Fn(&Check) -> bool| own.iter().filter(|of| is(&of.check)).count();
    let apart: Vec<f64> = own.iter().filter_map(|of| of.check.told_apart).collect();
    ExplainChecks {
        explanations: explained.len(),
        stand_ins: explained.len() - own.len(),
        checked: own.len(),
        words: own.iter().map(|of| of.check.words).sum::<usize>(),
        grounded: count(&|check| check.unfounded.is_empty()),
        unfounded: own.iter().map(|of| of.check.unfounded.len()).sum::<usize>(),
        unfounded_names: most,
        name_item: count(&|check| check.names_item),
        name_user: count(&|check| check.names_user),
        told_apart: apart.iter().fold(0.0, |sum, of| sum + of),
        told_apart_of: apart.len(),
        said_before: count(&|check| check.said_before),
        repeated: own.iter().fold(0.0, |sum, of| sum + of.check.repeated),
        loops: count(&|check| check.loops),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_the_user_whose_words_it_has() {
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
        let apart = |user: u32, text: &str| {
            audience.told_apart(UserIx(user), &without(text, &Title::of("")))
        };
        assert_eq!(apart(0, "A western."), Some(0.75));
        assert_eq!(apart(1, "A musical, with songs."), Some(1.0));
        assert_eq!(apart(1, "A western."), Some(0.0));
        // What fits all users alike, or nobody, tells nobody apart.
        assert_eq!(apart(1, "You like films."), Some(0.5));
        assert_eq!(apart(3, "A western."), None);
    }

    #[test]
    fn a_title_is_taken_out() {
        let own = Title::of("Heat (1995)");
        assert_eq!(without("Heat (1995) is hot. I like Heat", &own), ["is", "hot", "i", "like"]);
    }
}
