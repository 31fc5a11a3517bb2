//! Words of a text, as the checks of explanations see them.

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// In small letters, without a possessive ending.
    pub word: String,
    pub capital: bool,
    /// The first of a sentence: a capital says nothing there.
    pub starts: bool,
    /// Stands after an opening quotation mark.
    pub quoted: bool,
    /// Only blanks or hyphens stand between it and the word before.
    pub joined: bool,
}

/// After these a full stop ends no sentence.
const ABBREVIATED: [&str; 8] = ["dr", "mr", "mrs", "ms", "st", "jr", "sr", "vs"];

/// The words of a text. Hyphens part words; apostrophes inside do not.
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
            end(&mut tokens, &mut gap, &mut word);
            gap.push(c);
        }
    }
    end(&mut tokens, &mut gap, &mut word);
    tokens
}

fn end(tokens: &mut Vec<Token>, gap: &mut String, word: &mut String) {
    if word.is_empty() {
        return;
    }
    let before = tokens.last().map(|token| &token.word[..]);
    let short = before.is_some_and(|word| word.len() == 1 || ABBREVIATED.contains(&word));
    let between = match short {
        true => gap.strip_prefix('.').unwrap_or(gap),
        false => &gap[..],
    };
    let small = word.to_lowercase();
    let small = small.strip_suffix("'s").unwrap_or(&small).to_owned();
    tokens.push(Token {
        capital: word.starts_with(char::is_uppercase),
        starts: before.is_none() || between.contains(['.', '!', '?', ':', ';', '\n', '•', '…']),
        quoted: gap.ends_with(['"', '“', '‘', '\'', '«', '*', '_']),
        joined: before.is_some() && between.chars().all(|c| c == ' ' || c == '-'),
        word: small,
    });
    gap.clear();
    word.clear();
}

/// A word without the ending of a plural.
pub fn stem(word: &str) -> String {
    let long = word.chars().count() > 3;
    match (word.strip_suffix("ies"), word.strip_suffix('s')) {
        (Some(of), _) if long => format!("{of}y"),
        (_, Some(of)) if long && !of.ends_with('s') => of.to_owned(),
        _ => word.to_owned(),
    }
}

/// Words between blanks, for phrases to be looked for whole: see [`has`].
pub fn flat<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::from(" ");
    for word in words {
        text.push_str(word);
        text.push(' ');
    }
    text
}

/// Whether a phrase, made by [`flat`], stands in a text made by it.
pub fn has(text: &str, phrase: &str) -> bool {
    phrase.len() > 1 && text.contains(phrase)
}

/// The stems of a text, made by [`flat`].
pub fn stems(text: &str) -> String {
    let stems: Vec<String> = tokens(text).iter().map(|token| stem(&token.word)).collect();
    flat(stems.iter().map(String::as_str))
}

/// The words of a title.
pub struct Title {
    pub whole: Vec<String>,
    /// What it is known by: without what stands in brackets, and without an article at either end.
    pub short: Vec<String>,
}

impl Title {
    /// Takes a title apart.
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
        let mut short = words(&plain);
        let article = |word: &String| matches!(&word[..], "the" | "a" | "an");
        // `Godfather, The`
        if short.len() > 1 && plain.contains(',') && short.last().is_some_and(article) {
            short.pop();
        }
        if short.len() > 1 && short.first().is_some_and(article) {
            short.remove(0);
        }
        Self { whole: words(title), short }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_their_places() {
        let found = tokens("Mr. Holland’s film-noir. “Heat” isn't it? J. Doe");
        let words: Vec<&str> = found.iter().map(|token| &token.word[..]).collect();
        assert_eq!(words, ["mr", "holland", "film", "noir", "heat", "isn't", "it", "j", "doe"]);
        let starts: Vec<&str> =
            found.iter().filter(|token| token.starts).map(|token| &token.word[..]).collect();
        assert_eq!(starts, ["mr", "heat", "j"]);
        assert!(found[4].quoted && found[1].joined && found[3].joined && found[8].joined);
    }

    #[test]
    fn titles_lose_brackets_and_articles() {
        let title = |text: &str| Title::of(text).short;
        assert_eq!(title("Godfather, The (1972)"), ["godfather"]);
        assert_eq!(title("The Lion King (1994)"), ["lion", "king"]);
        assert_eq!(title("Shanghai Triad (Yao a yao) (1995)"), ["shanghai", "triad"]);
        assert_eq!(title("Heat"), ["heat"]);
        assert_eq!(title("(1995)"), [""; 0]);
    }

    #[test]
    fn plurals_and_singulars_are_one_word() {
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
