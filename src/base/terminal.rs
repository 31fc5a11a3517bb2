//! All output to the terminal: it contains no control sequences.
//!
//! Names, ids, titles, messages of endpoints and other text from untrusted files and servers may contain escape sequences,
//! which move the cursor, write the clipboard or hide text. They are written as `\u{1b}`.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io::{self, Write as _},
};

/// Maximum number of characters of an untrusted value in a message.
const MOST_SHOWN: usize = 80;
/// Maximum number of characters of a line on standard error.
const MOST_OF_LINE: usize = 4000;

/// Characters on a line of standard output: those of the terminal, or of `COLUMNS`. None if it has no lines, as a file.
pub fn width() -> Option<usize> {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let set = set.filter(|width: &usize| *width > 0);
    set.or_else(|| comfy_table::Table::new().width().map(usize::from))
}

/// Whether a character can control a terminal or the layout: control characters (C0 except line break and tabulator, DEL,
/// C1), marks that change the direction of text, and line separators.
pub fn is_control(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => true,
        // Tags: invisible copies of ASCII.
        '\u{e0000}'..='\u{e007f}' => true,
        _ => c.is_control(),
    }
}

/// A text in which controls are written as `\u{1b}`. Line breaks and tabulators stay.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escape_with(text, &|c, out| {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    })
}

/// The same for JSON, which keeps its value: `\u001b`.
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    escape_with(json, &|c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn escape_with<'a>(text: &'a str, write: &dyn Fn(char, &mut String)) -> Cow<'a, str> {
    if !text.contains(is_control) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_control(c) {
            true => write(c, &mut out),
            false => out.push(c),
        }
    }
    out.into()
}

/// A text on one line: line breaks and tabulators are written as `\n` and `\t`.
pub fn on_one_line(text: &str) -> String {
    escaped(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// An untrusted value for messages: on one line, and at most 80 characters.
pub fn shown(text: &str) -> String {
    shown_up_to(text, MOST_SHOWN)
}

/// The same with another limit, for values that are messages.
pub fn shown_up_to(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => on_one_line(text),
        Some((end, _)) => {
            format!("{}… ({} characters)", on_one_line(&text[..end]), text.chars().count())
        }
    }
}

/// Writes a line to standard error. A closed pipe or a full disk is ignored.
pub fn write_line(line: fmt::Arguments) {
    let text: String = line.to_string().split('\n').map(|line| cut_line(line) + "\n").collect();
    let _ = io::stderr().lock().write_all(escaped(&text).as_bytes());
}

/// A line, shortened to the maximum length.
fn cut_line(line: &str) -> Cow<'_, str> {
    match line.char_indices().nth(MOST_OF_LINE) {
        None => line.into(),
        Some((end, _)) => format!("{}… ({} bytes)", &line[..end], line.len()).into(),
    }
}

/// Writes a line to standard error, like `eprintln!`, with control characters escaped.
macro_rules! tell {
    ($($argument:tt)*) => { $crate::base::terminal::write_line(format_args!($($argument)*)) };
}

pub(crate) use tell;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let hostile = "a\u{1b}]52;c;AAAA\u{7}\r\0\u{9b}\u{202e}\u{2066}b\n\tc";
        assert_eq!(
            escaped(hostile),
            "a\\u{1b}]52;c;AAAA\\u{7}\\u{d}\\u{0}\\u{9b}\\u{202e}\\u{2066}b\n\tc"
        );
        assert_eq!(escaped("Amélie 4 ≥ 3"), "Amélie 4 ≥ 3");
        assert_eq!(on_one_line("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(100)), format!("{}… (100 characters)", "x".repeat(80)));
    }

    proptest! {
        #[test]
        fn printing_any_string_emits_no_control_character(text: String) {
            for printed in [escaped(&text), escaped_json(&text), on_one_line(&text).into(), shown(&text).into()] {
                prop_assert!(!printed.contains(is_control), "{printed:?}");
            }
            prop_assert!(!shown(&text).contains('\n'));
            prop_assert!(shown(&text).chars().count() <= 80 * 10 + 40);
        }

        #[test]
        fn escaped_json_is_json_of_the_same_value(text: String) {
            let json = serde_json::to_string(&text).unwrap();
            let back: String = serde_json::from_str(&escaped_json(&json)).unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
