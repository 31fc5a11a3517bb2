//! What an explanation names, and whether that stands in what is known of the item and the user.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::words::{Title, Token, flat, has, stem, stems, tokens};
use crate::text::{ItemFacts, Profile};

/// What can be named: titles and genres of the catalogue.
pub struct Vocabulary {
    /// By their first word, the longest first.
    titles: HashMap<String, Vec<Vec<String>>>,
    /// Stems, the longest first.
    genres: Vec<Vec<String>>,
}

/// Words that are small in titles.
const SMALL: [&str; 14] =
    ["of", "the", "and", "in", "a", "an", "to", "for", "on", "at", "with", "from", "or", "by"];

impl Vocabulary {
    /// All that a catalogue names.
    pub fn of(facts: &[ItemFacts]) -> Self {
        let mut titles: HashMap<String, Vec<Vec<String>>> = HashMap::new();
        let mut genres = BTreeSet::new();
        for fact in facts {
            for genre in fact.genres.iter().filter(|genre| *genre != "unknown") {
                genres.insert(tokens(genre).iter().map(|token| stem(&token.word)).collect());
            }
            let Some(name) = &fact.title else { continue };
            let words = Title::of(name).short;
            let is_number = words.iter().all(|word| word.bytes().all(|c| c.is_ascii_digit()));
            if let Some(first) = words.first().filter(|_| !is_number) {
                titles.entry(first.clone()).or_default().push(words);
            }
        }
        let longest_first = |a: &Vec<String>, b: &Vec<String>| b.len().cmp(&a.len()).then(a.cmp(b));
        for titles in titles.values_mut() {
            titles.sort_by(longest_first);
            titles.dedup();
        }
        let mut genres: Vec<Vec<String>> =
            genres.into_iter().filter(|of: &Vec<String>| !of.is_empty()).collect();
        genres.sort_by(longest_first);
        Self { titles, genres }
    }
}

/// What may be named of one item or of one user.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    words: String,
    stems: String,
    years: HashSet<u32>,
    /// Stems of genres and tags.
    lists: Vec<String>,
    /// Single words of those.
    list_words: HashSet<String>,
}

impl Ground {
    /// From texts, with genres and tags that may be named in any spelling.
    fn of(texts: &[&str], lists: &[&[String]]) -> Self {
        let mut words: Vec<String> = Vec::new();
        for text in texts {
            words.extend(tokens(text).into_iter().map(|token| token.word));
            // Nothing reaches over the end of a text.
            words.push("|".into());
        }
        let years =
            words.iter().filter(|word| word.len() == 4).filter_map(|word| word.parse().ok());
        let lists: Vec<String> =
            lists.iter().flat_map(|list| list.iter()).map(|entry| stems(entry)).collect();
        let list_words =
            lists.iter().flat_map(|entry| entry.split_whitespace()).map(str::to_owned).collect();
        Self {
            years: years.collect(),
            words: flat(words.iter().map(String::as_str)),
            stems: stems(&words.join(" ")),
            lists,
            list_words,
        }
    }

    /// What is known of an item: metadata and profile.
    pub fn of_item(fact: &ItemFacts, profile: &str) -> Self {
        let genres = fact.genres.join(", ");
        let texts = [
            fact.title.as_deref().unwrap_or_default(),
            &genres,
            fact.overview.as_deref().unwrap_or_default(),
            profile,
        ];
        let profile = Profile::parse(profile).map(|(profile, _)| profile).unwrap_or_default();
        Self::of(&texts, &[&fact.genres, &profile.genres, &profile.tags])
    }

    /// What is known of a user: profile, and titles and genres of what she rated last.
    pub fn of_user(profile: &str, rated: &[&ItemFacts]) -> Self {
        let genres: Vec<String> = rated.iter().flat_map(|fact| fact.genres.clone()).collect();
        let of_rated = genres.join(", ");
        let mut texts = vec![profile, &of_rated];
        texts.extend(rated.iter().filter_map(|fact| fact.title.as_deref()));
        let profile = Profile::parse(profile).map(|(profile, _)| profile).unwrap_or_default();
        Self::of(&texts, &[&profile.genres, &profile.tags, &profile.dislikes, &genres])
    }

    /// The stems of all its words.
    pub fn stems(&self) -> &str {
        &self.stems
    }

    fn names(&self, phrase: &[String]) -> bool {
        has(&self.words, &flat(phrase.iter().map(String::as_str)))
    }

    fn has_decade(&self, decade: &str) -> bool {
        let Ok(number) = decade.trim_end_matches('s').parse::<u32>() else { return false };
        self.names(&[decade.to_owned()])
            || self.years.iter().any(|year| match number {
                0..100 => year % 100 / 10 * 10 == number,
                _ => year / 10 * 10 == number,
            })
    }
}

/// What was found in one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named {
    /// Names, titles, genres and years that are known neither of the item nor of the user.
    pub unfounded: Vec<String>,
    /// Whether something of the item is named beside its title, and something of the user.
    pub item: bool,
    pub user: bool,
}

/// Looks through a text about an item for a user. To name the item's own title, `own` and whole, says
/// nothing of either.
pub fn look(
    text: &str,
    vocabulary: &Vocabulary,
    (item, user): (&Ground, &Ground),
    own: &Title,
) -> Named {
    let tokens = tokens(text);
    let mut used = vec![false; tokens.len()];
    for words in [&own.whole, &own.short] {
        for at in 0..tokens.len() {
            let end = at + words.len();
            let here = tokens.get(at..end).is_some_and(|found| {
                !words.is_empty()
                    && found.iter().zip(words).all(|(token, word)| token.word == *word)
            });
            // A short title is any word where it is not written as one.
            let spelt = tokens[at].capital || words.len() > 1;
            if here && spelt && !used[at..end].contains(&true) {
                used[at..end].fill(true);
            }
        }
    }
    let rest: Vec<String> = tokens
        .iter()
        .zip(&used)
        .map(|(token, used)| if *used { "|".to_owned() } else { stem(&token.word) })
        .collect();
    let rest = flat(rest.iter().map(String::as_str));
    let mut named = Named {
        item: item.lists.iter().any(|entry| has(&rest, entry)),
        user: user.lists.iter().any(|entry| has(&rest, entry)),
        unfounded: Vec::new(),
    };
    titles(&tokens, &mut used, vocabulary, (item, user), &mut named);
    genres(&tokens, &mut used, vocabulary, (item, user), &mut named);
    numbers(&tokens, &used, (item, user), &mut named);
    names(&tokens, &used, (item, user), &mut named);
    named.unfounded.sort();
    named.unfounded.dedup();
    named
}

fn titles(
    tokens: &[Token],
    used: &mut [bool],
    vocabulary: &Vocabulary,
    (item, user): (&Ground, &Ground),
    named: &mut Named,
) {
    let is_at = |used: &[bool], at: usize, words: &[String]| {
        let Some(found) = tokens.get(at..at + words.len()) else { return false };
        let same = found.iter().zip(words).all(|(token, word)| token.word == *word);
        // One word is a title where nothing else makes it a capital.
        let alone = words.len() > 1 || found[0].quoted || !found[0].starts;
        let spelt = |token: &Token| {
            let number = token.word.starts_with(|c: char| c.is_ascii_digit());
            token.capital || number || SMALL.contains(&&token.word[..])
        };
        let only_genre = words.len() == 1
            && !found[0].quoted
            && vocabulary.genres.iter().any(|genre| genre[..] == [stem(&words[0])]);
        let free = !used[at..at + words.len()].contains(&true);
        same && alone && free && found.iter().all(spelt) && found[0].capital && !only_genre
    };
    let mut at = 0;
    while at < tokens.len() {
        let candidates = vocabulary.titles.get(&tokens[at].word);
        let found =
            candidates.and_then(|titles| titles.iter().find(|words| is_at(used, at, words)));
        let Some(words) = found else {
            at += 1;
            continue;
        };
        used[at..at + words.len()].fill(true);
        match (user.names(words), item.names(words)) {
            (true, _) => named.user = true,
            (false, true) => named.item = true,
            (false, false) => named.unfounded.push(spelling(words)),
        }
        at += words.len();
    }
}

fn genres(
    tokens: &[Token],
    used: &mut [bool],
    vocabulary: &Vocabulary,
    (item, user): (&Ground, &Ground),
    named: &mut Named,
) {
    for genre in &vocabulary.genres {
        let phrase = flat(genre.iter().map(String::as_str));
        for at in 0..tokens.len() {
            let Some(found) = tokens.get(at..at + genre.len()) else { break };
            let same = found.iter().zip(genre).all(|(token, word)| stem(&token.word) == *word);
            if !same || used[at..at + genre.len()].contains(&true) {
                continue;
            }
            used[at..at + genre.len()].fill(true);
            let (of_item, of_user) = (has(&item.stems, &phrase), has(&user.stems, &phrase));
            named.item |= of_item;
            named.user |= of_user;
            if !of_item && !of_user {
                named.unfounded.push(spelling(genre));
            }
        }
    }
}

fn numbers(tokens: &[Token], used: &[bool], (item, user): (&Ground, &Ground), named: &mut Named) {
    for (token, _) in tokens.iter().zip(used).filter(|(_, used)| !**used) {
        let digits = token.word.bytes().take_while(u8::is_ascii_digit).count();
        let known = |ground: &Ground| match &token.word[digits..] {
            "" if digits >= 3 => Some(ground.names(std::slice::from_ref(&token.word))),
            "s" if digits == 2 || digits == 4 => Some(ground.has_decade(&token.word)),
            _ => None,
        };
        let (Some(of_item), Some(of_user)) = (known(item), known(user)) else { continue };
        named.item |= of_item;
        named.user |= of_user;
        if !of_item && !of_user {
            named.unfounded.push(token.word.clone());
        }
    }
}

/// Runs of words with capitals, where no sentence begins.
fn names(tokens: &[Token], used: &[bool], (item, user): (&Ground, &Ground), named: &mut Named) {
    let is_name = |at: usize| {
        let token = &tokens[at];
        let word = &token.word;
        token.capital && !used[at] && word.len() > 1 && !word.starts_with("i'")
    };
    let mut at = 0;
    while at < tokens.len() {
        if !is_name(at) {
            at += 1;
            continue;
        }
        let mut to = at + 1;
        while to < tokens.len() && is_name(to) && tokens[to].joined {
            to += 1;
        }
        let run: Vec<String> = tokens[at..to].iter().map(|token| token.word.clone()).collect();
        // The first word of a sentence may be any word.
        let rest = &run[usize::from(tokens[at].starts)..];
        at = to;
        if rest.is_empty() {
            continue;
        }
        let known = |ground: &Ground| {
            let listed = |word: &String| ground.list_words.contains(&stem(word));
            ground.names(&run) || ground.names(rest) || rest.iter().all(listed)
        };
        let (of_item, of_user) = (known(item), known(user));
        named.item |= of_item;
        named.user |= of_user;
        if !of_item && !of_user {
            named.unfounded.push(spelling(&run));
        }
    }
}

fn spelling(words: &[String]) -> String {
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(title: &str, genres: &[&str], overview: &str) -> ItemFacts {
        ItemFacts {
            title: Some(title.into()),
            genres: genres.iter().map(|genre| (*genre).to_owned()).collect(),
            overview: Some(overview.into()),
        }
    }

    #[test]
    fn only_what_is_known_of_item_and_user_may_be_named() {
        let facts = [
            fact(
                "Heat (1995)",
                &["Crime", "Thriller"],
                "A thief in Los Angeles is hunted by Vincent Hanna.",
            ),
            fact("Godfather, The (1972)", &["Crime", "Drama"], ""),
            fact("Star Wars (1977)", &["Sci-Fi", "Action"], ""),
            fact("Lion King, The (1994)", &["Musical"], ""),
            fact("Speed (1994)", &["Action"], ""),
        ];
        let vocabulary = Vocabulary::of(&facts);
        let item = Ground::of_item(&facts[0], "");
        let profile = "## Overview\nLikes tension.\n\n## Attributes\n- **Genre**: Crime, Film-Noir\n- \
                       **Tags**: heist\n\n## Description\nDark streets.\n\n## Dislikes:\nMusical\n";
        let user = Ground::of_user(profile, &[&facts[1]]);
        let own = Title::of("Heat (1995)");
        let look = |text: &str| super::look(text, &vocabulary, (&item, &user), &own);
        for (text, unfounded, of_item, of_user) in [
            // Its own title is nothing of the item's yet.
            ("You will love Heat (1995). Heat is it.", &[][..], false, false),
            ("Heat is a crime film from the 1990s.", &[], true, true),
            ("Vincent Hanna hunts a thief in Los Angeles.", &[], true, false),
            ("Like The Godfather, which you loved, it is dark.", &[], false, true),
            ("No musicals here, just heists: a film noir of 1995.", &[], true, true),
            ("As in Star Wars, there is a chase.", &["star wars"], false, false),
            (
                "Directed by Michael Mann, it won an Oscar in 1996.",
                &["1996", "michael mann", "oscar"],
                false,
                false,
            ),
            ("A romance? No: a Sci-Fi tale for drama lovers.", &["sci fi"], false, true),
            ("Michael Mann made it in the 80s.", &["80s", "michael mann"], false, false),
            (
                "I think I'm sure that the speed is high in Angeles Los!",
                &["angeles los"],
                false,
                false,
            ),
            ("Its pace recalls Speed.", &["speed"], false, false),
            ("The Lion King it is not.", &["lion king"], false, false),
        ] {
            let named = look(text);
            assert_eq!(named.unfounded, unfounded, "{text}");
            assert_eq!((named.item, named.user), (of_item, of_user), "{text}");
        }
    }
}
