//! Words of a text for the checks of explanations.

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// In lower case, without a possessive ending.
    pub word: String,
    pub capital: bool,
    /// Whether it is the first word of a sentence, where a capital letter means nothing.
    pub starts: bool,
    /// Whether it follows an opening quotation mark.
    pub quoted: bool,
    /// Whether only blanks or hyphens separate it from the previous word.
    pub joined: bool,
    /// Whether `%` follows it.
    pub percent: bool,
}

/// After these, and after an initial, a full stop does not end a sentence.
const ABBREVIATED: [&str; 8] = ["dr", "mr", "mrs", "ms", "st", "jr", "sr", "vs"];

/// Characters after which a sentence, or a part that may have a capital letter, begins.
const STARTERS: [char; 14] =
    ['.', '!', '?', ':', ';', '\n', '•', '…', '(', '[', '–', '—', '"', '“'];

/// The words of a text. Hyphens separate words; apostrophes within words do not.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let (mut gap, mut word) = (String::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let inside = !word.is_empty() && chars.peek().is_some_and(|next| next.is_alphanumeric());
        if c.is_alphanumeric() {
            word.push(c);
        } else if matches!(c, '\'' | '’') && inside {
            word.push('\'');
        } else {
            end(&mut tokens, &mut gap, &mut word, c == '%');
            gap.push(c);
        }
    }
    end(&mut tokens, &mut gap, &mut word, false);
    tokens
}

fn end(tokens: &mut Vec<Token>, gap: &mut String, word: &mut String, percent: bool) {
    if word.is_empty() {
        return;
    }
    let before = tokens.last().map(|token| &token.word[..]);
    let initial = |word: &str| word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    let short = before.is_some_and(|word| initial(word) || ABBREVIATED.contains(&word));
    let between = match short {
        true => gap.strip_prefix('.').unwrap_or(gap),
        false => &gap[..],
    };
    let small = word.to_lowercase();
    let small = match small.strip_suffix("'s") {
        // `the 1990's`
        Some(number) if number.bytes().all(|c| c.is_ascii_digit()) => format!("{number}s"),
        Some(of) => of.to_owned(),
        None => small,
    };
    tokens.push(Token {
        capital: word.starts_with(char::is_uppercase),
        starts: before.is_none() || between.contains(STARTERS),
        quoted: gap.ends_with(['"', '“', '‘', '\'', '«', '*', '_']),
        joined: before.is_some() && between.chars().all(|c| c == ' ' || c == '-'),
        percent,
        word: small,
    });
    gap.clear();
    word.clear();
}

/// A word without its plural ending.
pub fn stem(word: &str) -> String {
    let long = word.chars().count() > 3;
    match (word.strip_suffix("ies"), word.strip_suffix('s')) {
        (Some(of), _) if long => format!("{of}y"),
        (_, Some(of)) if long && !of.ends_with('s') => of.to_owned(),
        _ => word.to_owned(),
    }
}

/// Words between blanks, to search for whole phrases with [`has`].
pub fn flat<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::from(" ");
    for word in words {
        text.push_str(word);
        text.push(' ');
    }
    text
}

/// Whether a text contains a phrase; both come from [`flat`].
pub fn has(text: &str, phrase: &str) -> bool {
    phrase.len() > 1 && text.contains(phrase)
}

/// The stems of a text, joined by [`flat`].
pub fn stems(text: &str) -> String {
    let stems: Vec<String> = tokens(text).iter().map(|token| stem(&token.word)).collect();
    flat(stems.iter().map(String::as_str))
}

/// Articles that catalogues write after a title: `Godfather, The`.
const ARTICLES: [&str; 26] = [
    "the", "a", "an", "das", "der", "die", "il", "la", "le", "les", "el", "los", "las", "l", "lo",
    "i", "gli", "un", "une", "een", "het", "de", "den", "det", "o", "os",
];

/// The words of a title.
pub struct Title {
    /// The title without brackets and without an article at either end.
    pub short: Vec<String>,
    /// All its spellings, the longest first: with or without article and year.
    pub forms: Vec<Vec<String>>,
}

impl Title {
    /// The words and spellings of a title.
    pub fn of(title: &str) -> Self {
        let words =
            |text: &str| tokens(text).into_iter().map(|token| token.word).collect::<Vec<String>>();
        let mut depth = 0;
        let outside = |c: &char| {
            depth += i32::from(*c == '(');
            let outside = depth <= 0;
            depth -= i32::from(*c == ')');
            outside
        };
        let plain: String = title.chars().filter(outside).collect();
        let is_article = |word: &String| ARTICLES.contains(&&word[..]);
        let (mut short, mut article) = (words(&plain), None);
        let behind = plain.rsplit_once(',').map(|(_, behind)| words(behind));
        if short.len() > 1 && behind.is_some_and(|of| of.len() == 1 && is_article(&of[0])) {
            article = short.pop();
        } else if short.len() > 1 && matches!(&short[0][..], "the" | "a" | "an") {
            article = Some(short.remove(0));
        }
        let year = title.trim_end().strip_suffix(')').and_then(|of| of.rsplit_once('('));
        let year = year.map(|(_, year)| words(year)).filter(|year| year.len() == 1);
        let mut forms = vec![words(title)];
        let led: Option<Vec<String>> =
            article.map(|article| std::iter::once(article).chain(short.clone()).collect());
        for form in led.into_iter().chain([short.clone()]) {
            if let Some(year) = &year {
                forms.push(form.iter().chain(year).cloned().collect());
            }
            forms.push(form);
        }
        forms.retain(|form| !form.is_empty());
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { short, forms }
    }

    /// Positions of the title in a text, as ranges of words.
    pub fn places(&self, tokens: &[Token]) -> Vec<std::ops::Range<usize>> {
        let mut places = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let is_here = |form: &&Vec<String>| {
                let found = tokens.get(at..at + form.len());
                let same = |found: &[Token]| {
                    found.iter().zip(form.iter()).all(|(token, word)| token.word == *word)
                };
                // A single word in lower case is not a title.
                found.is_some_and(same) && (form.len() > 1 || tokens[at].capital)
            };
            match self.forms.iter().find(is_here) {
                Some(form) => {
                    places.push(at..at + form.len());
                    at += form.len();
                }
                None => at += 1,
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_properties() {
        let found = tokens("Mr. Holland’s film-noir. “Heat” isn't it? J. Doe rated 4. His 80's!");
        let words: Vec<&str> = found.iter().map(|token| &token.word[..]).collect();
        let all = "mr holland film noir heat isn't it j doe rated 4 his 80s";
        assert_eq!(words.join(" "), all);
        let starts: Vec<&str> =
            found.iter().filter(|token| token.starts).map(|token| &token.word[..]).collect();
        assert_eq!(starts, ["mr", "heat", "j", "his"]);
        assert!(found[4].quoted && found[1].joined && found[3].joined && found[8].joined);
        assert!(tokens("a 100% match")[1].percent);
    }

    #[test]
    fn titles_lose_brackets_and_articles() {
        let title = |text: &str| Title::of(text).short.join(" ");
        assert_eq!(title("Godfather, The (1972)"), "godfather");
        assert_eq!(title("The Lion King (1994)"), "lion king");
        assert_eq!(title("Boot, Das (1981)"), "boot");
        assert_eq!(title("Paris, Texas (1984)"), "paris texas");
        assert_eq!(title("Shanghai Triad (Yao a yao) (1995)"), "shanghai triad");
        assert_eq!(title("Heat"), "heat");
        assert_eq!(title("(1995)"), "");
        assert_eq!(title(""), "");
    }

    #[test]
    fn a_title_is_found_in_every_spelling() {
        let places = |title: &str, text: &str| -> usize {
            Title::of(title)
                .places(&tokens(text))
                .iter()
                .map(std::iter::ExactSizeIterator::len)
                .sum()
        };
        let rock = "Rock, The (1996)";
        assert_eq!(places(rock, "See The Rock (1996), Rock, The (1996) and the Rock."), 8);
        assert_eq!(places(rock, "a rock from 1996"), 0);
        assert_eq!(places("Boot, Das (1981)", "Das Boot is dark"), 2);
        assert_eq!(places("", "anything"), 0);
    }

    #[test]
    fn plurals_and_singulars_have_the_same_stem() {
        for (word, is) in [
            ("comedies", "comedy"),
            ("thrillers", "thriller"),
            ("suspenseless", "suspenseless"),
            ("war", "war"),
            ("ss", "ss"),
        ] {
            assert_eq!(stem(word), is);
        }
    }
}
