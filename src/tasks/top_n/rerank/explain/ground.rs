//! The names in an explanation, and whether they occur in the data of the item and the user.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::words::{Title, Token, flat, has, stem, stems, tokens};
use crate::text::{ItemFacts, Profile};

/// Titles and genres of the catalogue, and ordinary words, which are no names.
pub struct Vocabulary {
    /// Titles by their first word, the longest first.
    titles: HashMap<String, Vec<Vec<String>>>,
    /// Genres as stems, the longest first.
    genres: Vec<Vec<String>>,
    /// Words that also occur in lower case: with a capital letter they are not necessarily names.
    ordinary: HashSet<String>,
}

/// Words that are lower case in titles, and no names by themselves.
const SMALL: [&str; 14] =
    ["of", "the", "and", "in", "a", "an", "to", "for", "on", "at", "with", "from", "or", "by"];

/// Words that always have a capital letter in English.
const CALENDAR: [&str; 19] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

impl Vocabulary {
    /// The vocabulary of a catalogue; `texts` show which words occur in lower case.
    pub fn of<'a>(facts: &'a [ItemFacts], texts: impl IntoIterator<Item = &'a str>) -> Self {
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
        let overviews = facts.iter().filter_map(|fact| fact.overview.as_deref());
        let ordinary = overviews
            .chain(texts)
            .flat_map(tokens)
            .filter(|token| !token.capital)
            .map(|token| token.word)
            .collect();
        Self { titles, genres, ordinary }
    }

    fn is_ordinary(&self, word: &str) -> bool {
        SMALL.contains(&word) || CALENDAR.contains(&word) || self.ordinary.contains(word)
    }

    /// The title of the catalogue that begins at a word of a text, if it is written like a title.
    fn title_at(&self, tokens: &[Token], at: usize) -> Option<&Vec<String>> {
        let is_number = |token: &Token| token.word.starts_with(|c: char| c.is_ascii_digit());
        let begins = tokens[at].capital || is_number(&tokens[at]);
        let first = begins.then(|| self.titles.get(&tokens[at].word))??;
        first.iter().find(|words| {
            let Some(found) = tokens.get(at..at + words.len()) else { return false };
            let spelt = |token: &Token| {
                token.capital || is_number(token) || SMALL.contains(&&token.word[..])
            };
            found.iter().zip(words.iter()).all(|(token, word)| token.word == *word && spelt(token))
                && (words.len() > 1 || self.is_title_alone(tokens, at))
        })
    }

    /// Whether a single word is a title: it has no other reason for a capital letter, and is no part of a longer name.
    fn is_title_alone(&self, tokens: &[Token], at: usize) -> bool {
        let token = &tokens[at];
        let word = &token.word;
        if token.quoted {
            return true;
        }
        let is_genre = self.genres.iter().any(|genre| genre[..] == [stem(word)]);
        let after = tokens.get(at + 1).is_some_and(|next| next.joined && next.capital);
        let before = at > 0 && token.joined && tokens[at - 1].capital && !tokens[at - 1].starts;
        let by_place = token.starts && self.is_ordinary(word);
        !is_genre && !after && !before && !by_place && !CALENDAR.contains(&&word[..])
    }

    /// All titles of the catalogue in a text, with their positions.
    fn titles_in<'a>(&'a self, tokens: &[Token]) -> Vec<(usize, &'a Vec<String>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            match self.title_at(tokens, at) {
                Some(words) => {
                    found.push((at, words));
                    at += words.len();
                }
                None => at += 1,
            }
        }
        found
    }
}

/// The data of one item or one user, from which an explanation may name things.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    words: String,
    stems: String,
    years: HashSet<u32>,
    /// Complete titles in it: a part of a title may be another title.
    titles: HashSet<Vec<String>>,
    /// Stems of genres and tags.
    lists: Vec<String>,
    /// Their single words.
    list_words: HashSet<String>,
}

impl Ground {
    /// From texts and titles, with genres and tags in any spelling.
    fn of(vocabulary: &Vocabulary, texts: &[&str], titles: &[&str], lists: &[&[String]]) -> Self {
        let mut words: Vec<String> = Vec::new();
        let mut named: HashSet<Vec<String>> = HashSet::new();
        for text in texts {
            let tokens = tokens(text);
            named.extend(vocabulary.titles_in(&tokens).into_iter().map(|(_, title)| title.clone()));
            words.extend(tokens.into_iter().map(|token| token.word));
            // A separator, so that no phrase spans two texts.
            words.push("|".into());
        }
        for name in titles {
            let title = Title::of(name);
            for form in title.forms {
                words.extend(form);
                words.push("|".into());
            }
            named.insert(title.short);
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
            stems: flat(
                words.iter().map(|word| stem(word)).collect::<Vec<_>>().iter().map(String::as_str),
            ),
            titles: named,
            lists,
            list_words,
        }
    }

    /// The data of an item: metadata and profile.
    pub fn of_item(vocabulary: &Vocabulary, fact: &ItemFacts, text: &str) -> Self {
        let genres = fact.genres.join(", ");
        let texts = [&genres, fact.overview.as_deref().unwrap_or_default(), text];
        let profile = Profile::parse(text).map(|(profile, _)| profile).unwrap_or_default();
        let title: Vec<&str> = fact.title.as_deref().into_iter().collect();
        Self::of(vocabulary, &texts, &title, &[&fact.genres, &profile.genres, &profile.tags])
    }

    /// The data of a user: profile, and titles and genres of their latest ratings.
    pub fn of_user(vocabulary: &Vocabulary, text: &str, rated: &[&ItemFacts]) -> Self {
        let genres: Vec<String> = rated.iter().flat_map(|fact| fact.genres.clone()).collect();
        let of_rated = genres.join(", ");
        let titles: Vec<&str> = rated.iter().filter_map(|fact| fact.title.as_deref()).collect();
        let profile = Profile::parse(text).map(|(profile, _)| profile).unwrap_or_default();
        let lists = [&profile.genres[..], &profile.tags, &profile.dislikes, &genres];
        Self::of(vocabulary, &[text, &of_rated], &titles, &lists)
    }

    /// The stems of all its words, each once, in order.
    pub fn stems(&self) -> BTreeSet<&str> {
        self.stems.split_whitespace().filter(|word| *word != "|").collect()
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

/// The names in one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named {
    /// Names, titles, genres and years that occur neither in the data of the item nor in those of the user.
    pub ungrounded: Vec<String>,
    /// Whether something from the data of the item (other than its title), and of the user, is named.
    pub item: bool,
    pub user: bool,
}

impl Named {
    fn note(&mut self, of_item: bool, of_user: bool, words: &[String]) {
        self.item |= of_item;
        self.user |= of_user;
        if !of_item && !of_user {
            self.ungrounded.push(words.join(" "));
        }
    }
}

/// Finds the names in a text about an item for a user. The title of the item does not count for either.
pub fn find_names(
    text: &str,
    vocabulary: &Vocabulary,
    (item, user): (&Ground, &Ground),
    own: &Title,
) -> Named {
    let tokens = tokens(text);
    let mut used = vec![false; tokens.len()];
    for place in own.places(&tokens) {
        used[place].fill(true);
    }
    let mut named = Named::default();
    for (at, words) in vocabulary.titles_in(&tokens) {
        let place = at..at + words.len();
        if !used[place.clone()].contains(&true) {
            used[place].fill(true);
            named.note(item.titles.contains(words), user.titles.contains(words), words);
        }
    }
    let rest: Vec<String> = tokens
        .iter()
        .zip(&used)
        .map(|(token, used)| if *used { "|".to_owned() } else { stem(&token.word) })
        .collect();
    let rest = flat(rest.iter().map(String::as_str));
    named.item |= item.lists.iter().any(|entry| has(&rest, entry));
    named.user |= user.lists.iter().any(|entry| has(&rest, entry));
    genres(&tokens, &mut used, vocabulary, (item, user), &mut named);
    numbers(&tokens, &used, (item, user), &mut named);
    names(&tokens, &used, vocabulary, (item, user), &mut named);
    named.ungrounded.sort();
    named.ungrounded.dedup();
    named
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
            let place = at..at + genre.len();
            let Some(found) = tokens.get(place.clone()) else { break };
            let same = found.iter().zip(genre).all(|(token, word)| stem(&token.word) == *word);
            if same && !used[place.clone()].contains(&true) {
                used[place].fill(true);
                named.note(has(&item.stems, &phrase), has(&user.stems, &phrase), genre);
            }
        }
    }
}

fn numbers(tokens: &[Token], used: &[bool], (item, user): (&Ground, &Ground), named: &mut Named) {
    for (token, _) in tokens.iter().zip(used).filter(|(token, used)| !**used && !token.percent) {
        let digits = token.word.bytes().take_while(u8::is_ascii_digit).count();
        let number = std::slice::from_ref(&token.word);
        let known = |ground: &Ground| match &token.word[digits..] {
            "" if digits >= 3 => Some(ground.names(number)),
            "s" if digits == 2 || digits == 4 => Some(ground.has_decade(&token.word)),
            _ => None,
        };
        if let (Some(of_item), Some(of_user)) = (known(item), known(user)) {
            named.note(of_item, of_user, number);
        }
    }
}

/// Sequences of words with capital letters that do not begin a sentence.
fn names(
    tokens: &[Token],
    used: &[bool],
    vocabulary: &Vocabulary,
    (item, user): (&Ground, &Ground),
    named: &mut Named,
) {
    let is_name = |at: usize| {
        let token = &tokens[at];
        let word = &token.word;
        token.capital && !used[at] && word.chars().count() > 1 && !word.starts_with("i'")
    };
    let mut at = 0;
    while at < tokens.len() {
        if !is_name(at) {
            at += 1;
            continue;
        }
        let from = at;
        at += 1;
        while at < tokens.len() && is_name(at) && tokens[at].joined {
            at += 1;
        }
        let words: Vec<String> = tokens[from..at].iter().map(|token| token.word.clone()).collect();
        let mut run = &words[..];
        // The first word of a sentence may be any word; an article is no part of a name.
        while let Some(first) = run.first() {
            let begins = run.len() == words.len() && tokens[from].starts;
            let alone = run.len() == 1 && begins;
            match SMALL.contains(&&first[..]) || alone || (begins && vocabulary.is_ordinary(first))
            {
                true => run = &run[1..],
                false => break,
            }
        }
        // A single word that also occurs in lower case is not counted as a name.
        if run.is_empty() || (run.len() == 1 && vocabulary.is_ordinary(&run[0])) {
            continue;
        }
        let known = |ground: &Ground| {
            let listed = |word: &String| ground.list_words.contains(&stem(word));
            ground.names(run) || run.iter().all(listed)
        };
        named.note(known(item), known(user), run);
    }
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

    fn catalogue() -> Vec<ItemFacts> {
        vec![
            fact(
                "Heat (1995)",
                &["Crime", "Thriller"],
                "A thief in Los Angeles is hunted by Vincent Hanna.",
            ),
            fact(
                "Godfather, The (1972)",
                &["Crime", "Drama"],
                "What a speed, here in the heat of all that is dark.",
            ),
            fact("Star Wars (1977)", &["Sci-Fi", "Action"], ""),
            fact("Lion King, The (1994)", &["Musical"], ""),
            fact("Speed (1994)", &["Action"], ""),
            fact("Batman & Robin (1997)", &["Action"], ""),
            fact("Batman (1989)", &["Action"], ""),
            fact("Michael (1996)", &["Comedy"], ""),
            fact("Braveheart (1995)", &["War"], ""),
            fact("Lost World: Jurassic Park, The (1997)", &["Action"], ""),
            fact("Boot, Das (1981)", &["War"], ""),
            fact("Friday (1995)", &["Comedy"], ""),
            fact("2 Days in the Valley (1996)", &["Crime"], ""),
        ]
    }

    const PROFILE: &str = "## Overview\nLikes tension.\n\n## Attributes\n- **Genre**: Crime, Film-Noir\n- \
                           **Tags**: heist\n\n## Description\nDark streets.\n\n## Dislikes:\nMusical\n";

    #[test]
    fn names_outside_the_data_of_item_and_user_are_ungrounded() {
        let facts = catalogue();
        let vocabulary = Vocabulary::of(&facts, ["its pace, you expect it now and loved the like"]);
        let item = Ground::of_item(&vocabulary, &facts[0], "");
        let rated: Vec<&ItemFacts> = [1, 5, 9, 10].map(|at| &facts[at]).to_vec();
        let user = Ground::of_user(&vocabulary, PROFILE, &rated);
        let own = Title::of("Heat (1995)");
        let find = |text: &str| super::find_names(text, &vocabulary, (&item, &user), &own);
        for (text, ungrounded, of_item, of_user) in [
            // The title itself does not count as data of the item.
            ("You will love Heat (1995). Heat is it.", &[][..], false, false),
            ("Heat is a crime film from the 1990s.", &[], true, true),
            ("Vincent Hanna hunts a thief in Los Angeles.", &[], true, false),
            ("Like The Godfather, which you loved, it is dark.", &[], false, true),
            ("No musicals here, just heists: a film noir of 1995.", &[], true, true),
            ("You enjoyed The Lost World and Das Boot.", &[], false, true),
            ("You rated it 4 of 5. Here is a 100% match. (Expect speed.)", &[], false, false),
            ("Now: Its pace is a MUST on a Friday night in the 1990's.", &["must"], true, true),
            ("It has 2 Days in the Valley in it.", &["2 days in the valley"], false, false),
            ("As in Star Wars, there is a chase.", &["star wars"], false, false),
            ("A Batman fan? You loved Batman & Robin.", &["batman"], false, true),
            ("It is dark. Braveheart was one of yours.", &["braveheart"], false, false),
            (
                "Directed by Michael Mann, it won an Oscar in 1996.",
                &["1996", "michael mann", "oscar"],
                false,
                false,
            ),
            ("Michael Hanna hunts.", &["michael hanna"], false, false),
            ("A romance? No: a Sci-Fi tale for drama lovers.", &["sci fi"], false, true),
            ("Michael Mann made it in the 60s.", &["60s", "michael mann"], false, false),
            (
                "I think I'm sure that the speed is high in Angeles Los!",
                &["angeles los"],
                false,
                false,
            ),
            ("Its pace recalls Speed.", &["speed"], false, false),
            ("The Lion King it is not.", &["lion king"], false, false),
        ] {
            let named = find(text);
            assert_eq!(named.ungrounded, ungrounded, "{text}");
            assert_eq!((named.item, named.user), (of_item, of_user), "{text}");
        }
    }

    #[test]
    fn a_title_with_an_article_is_found_in_every_spelling() {
        let facts = [
            fact("Rock, The (1996)", &["Action"], ""),
            fact("Usual Suspects, The (1995)", &["Crime"], ""),
        ];
        let vocabulary = Vocabulary::of(&facts, []);
        let item = Ground::of_item(&vocabulary, &facts[0], "");
        let user = Ground::of_user(&vocabulary, "", &[&facts[1]]);
        for text in
            ["I recommend The Rock (1996) to you.", "Rock, The (1996) it is.", "You need The Rock!"]
        {
            let named =
                find_names(text, &vocabulary, (&item, &user), &Title::of("Rock, The (1996)"));
            assert_eq!(named, Named::default(), "{text}");
        }
    }
}
