//! What the cells of one column hold: identifiers, lists.

use std::borrow::Cow;

use polars::prelude::StringChunked;

/// Begins a cell that is a list of a Parquet file, and stands between its values.
pub(crate) const LIST: char = '\u{1f}';

/// What the identifiers of a column look like, to compare the files of a split.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum IdLook {
    /// There are none.
    #[default]
    Nothing,
    /// Whole numbers, without leading zeros.
    Numbers { example: String },
    /// Others; the first that is no whole number.
    Texts { example: String },
}

impl IdLook {
    /// What to say where identifiers are whole numbers in one file and not in the other.
    pub fn differs(
        &self,
        file: &str,
        other: &Self,
        other_file: &str,
        what: &str,
    ) -> Option<String> {
        let said = |numbers: &str, number: &str, texts: &str, text: &str| {
            format!(
                "the {what} ids of {numbers} are all whole numbers (e.g. `{number}`) and those of {texts} are \
                 not (e.g. `{text}`): ids are compared as text"
            )
        };
        match (self, other) {
            (Self::Numbers { example: number }, Self::Texts { example: text }) => {
                Some(said(file, number, other_file, text))
            }
            (Self::Texts { example: text }, Self::Numbers { example: number }) => {
                Some(said(other_file, number, file, text))
            }
            _ => None,
        }
    }
}

/// An identifier that was written as a floating-point number and may have lost digits.
pub(crate) struct LostDigits {
    pub row: usize,
    pub cell: String,
}

/// A column of identifiers in the one form that all files are compared in: text, without blanks around it; in
/// a column that was written as floating-point numbers (every cell is a whole number, and some are written
/// `1.0` or `1e5`) the whole numbers.
pub(crate) fn ids(cells: &StringChunked) -> Result<(Cow<'_, StringChunked>, IdLook), LostDigits> {
    let (mut floats, mut text, mut number) = (false, None, None);
    for cell in cells.iter().flatten() {
        // Most columns are of this kind, and long.
        if is_plain_number(cell) {
            number = number.or(Some(cell));
            continue;
        }
        let id = cell.trim();
        let bytes = id.as_bytes();
        if id.is_empty() || is_plain_number(id) {
            number = number.or(Some(id));
        } else if is_whole_float(id) {
            floats |= !bytes.iter().all(u8::is_ascii_digit);
            text = text.or(Some((id, bytes.iter().all(u8::is_ascii_digit))));
        } else {
            let look = IdLook::Texts { example: id.to_owned() };
            return Ok((Cow::Borrowed(cells), look));
        }
    }
    // Leading zeros make a text of an id.
    if let (Some((example, true)), false) = (text, floats) {
        return Ok((Cow::Borrowed(cells), IdLook::Texts { example: example.to_owned() }));
    }
    if !floats {
        let look = match number.filter(|number| !number.is_empty()) {
            Some(example) => IdLook::Numbers { example: example.to_owned() },
            None => IdLook::Nothing,
        };
        return Ok((Cow::Borrowed(cells), look));
    }
    let mut whole: Vec<Option<String>> = Vec::with_capacity(cells.len());
    let mut look = IdLook::Nothing;
    for (row, cell) in cells.iter().enumerate() {
        let Some(id) = cell.map(str::trim).filter(|id| !id.is_empty()) else {
            whole.push(None);
            continue;
        };
        let value = match id.bytes().all(|byte| byte.is_ascii_digit()) {
            true => id.to_owned(),
            // From 2^53 on not every whole number is a float.
            false => match id.parse::<f64>() {
                Ok(value) if value.abs() < 9_007_199_254_740_992.0 => format!("{}", value as i64),
                _ => return Err(LostDigits { row, cell: id.to_owned() }),
            },
        };
        if look == IdLook::Nothing {
            look = IdLook::Numbers { example: value.clone() };
        }
        whole.push(Some(value));
    }
    let whole = whole.iter().map(Option::as_deref).collect();
    Ok((Cow::Owned(whole), look))
}

/// Digits alone, without leading zeros.
fn is_plain_number(id: &str) -> bool {
    let bytes = id.as_bytes();
    let starts_well = bytes.first().is_some_and(|first| *first != b'0') || bytes == b"0";
    starts_well && bytes.iter().all(u8::is_ascii_digit)
}

/// `12`, `12.0`, `3e3`: a number as floats are written, which is whole.
fn is_whole_float(text: &str) -> bool {
    let is_written_so = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && text.bytes().any(|b| b.is_ascii_digit());
    is_written_so && text.parse::<f64>().is_ok_and(|number| number.fract() == 0.0)
}

/// How the lists of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListForm {
    /// `[1, 2, 3]`, `['a', 'b']`, `["a", "b"]`, `[1 2 3]` or a list of a Parquet file.
    Brackets,
    /// `1 2 3`
    Blanks,
    /// `1,2,3` or with another sign between.
    Joined(char),
}

impl ListForm {
    /// The form that the cells of a column have beyond doubt: brackets around each, or several numbers in some.
    pub fn of(cells: &StringChunked) -> Option<Self> {
        let mut first = cells.iter().flatten().map(str::trim).filter(|cell| !cell.is_empty());
        if first.next()?.starts_with(['[', LIST]) {
            let is_list = |cell: &str| is_bracketed(cell.trim());
            return cells.iter().flatten().all(is_list).then_some(Self::Brackets);
        }
        let has_blank = |cell: &str| cell.bytes().any(|byte| byte.is_ascii_whitespace());
        let has_inner_blank = |cell: &str| has_blank(cell) && has_blank(cell.trim());
        let are_numbers = |cell: &str| {
            cell.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace())
        };
        let several = cells.iter().flatten().any(has_inner_blank);
        (several && cells.iter().flatten().all(are_numbers)).then_some(Self::Blanks)
    }

    /// The values of one cell.
    pub fn split(self, cell: &str) -> Vec<&str> {
        let cell = cell.trim();
        match self {
            Self::Blanks => cell.split_ascii_whitespace().collect(),
            Self::Brackets => bracketed(cell),
            Self::Joined(sign) => {
                cell.split(sign).map(str::trim).filter(|value| !value.is_empty()).collect()
            }
        }
    }
}

fn is_bracketed(cell: &str) -> bool {
    cell.is_empty() || cell.starts_with(LIST) || (cell.starts_with('[') && cell.ends_with(']'))
}

fn bracketed(cell: &str) -> Vec<&str> {
    if let Some(list) = cell.strip_prefix(LIST) {
        return list.split(LIST).filter(|value| !value.is_empty()).collect();
    }
    let inner = cell.strip_prefix('[').and_then(|cell| cell.strip_suffix(']')).unwrap_or(cell);
    let (mut values, mut rest) = (Vec::new(), inner.trim());
    while let Some(first) = rest.chars().next() {
        let value;
        (value, rest) = match first {
            '"' | '\'' => {
                let within = &rest[1..];
                // A quote within the value is followed by more of the value.
                let end = within.match_indices(first).map(|(at, _)| at).find(|at| {
                    let after = within[at + 1..].trim_start();
                    after.is_empty() || after.starts_with([',', '"', '\''])
                });
                let end = end.unwrap_or(within.len());
                (&within[..end], within.get(end + 1..).unwrap_or_default())
            }
            _ => {
                let by_comma = inner.contains(',');
                let is_end = |c: char| if by_comma { c == ',' } else { c.is_whitespace() };
                let end = rest.find(is_end).unwrap_or(rest.len());
                (rest[..end].trim(), &rest[end..])
            }
        };
        if !value.is_empty() {
            values.push(value);
        }
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    values
}

/// The values of a catalogue's field: a list in brackets, or values joined by `|` or commas.
pub(crate) fn field_values(cell: &str) -> Vec<&str> {
    let cell = cell.trim();
    if cell.starts_with(LIST) || (cell.starts_with('[') && cell.ends_with(']')) {
        return bracketed(cell);
    }
    cell.split(['|', ',']).map(str::trim).filter(|value| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(cells: &[&str]) -> Vec<String> {
        let cells: StringChunked = cells.iter().map(|cell| Some(*cell)).collect();
        let Ok((ids, _)) = ids(&cells) else { panic!("lost digits") };
        ids.iter().map(|id| id.unwrap_or("-").trim().to_owned()).collect()
    }

    #[test]
    fn a_column_of_floats_holds_whole_numbers_and_other_columns_hold_texts() {
        assert_eq!(canonical(&["1.0", "20.0"]), ["1", "20"]);
        assert_eq!(canonical(&["99999", "1e+05", " 7"]), ["99999", "100000", "7"]);
        assert_eq!(canonical(&["3e3", "1.50e1"]), ["3000", "15"]);
        assert_eq!(canonical(&["1.0", "1.5"]), ["1.0", "1.5"]);
        assert_eq!(canonical(&["3e3", "a77"]), ["3e3", "a77"]);
        assert_eq!(canonical(&["01", "1"]), ["01", "1"]);
        assert_eq!(canonical(&["v1.0", "1.0"]), ["v1.0", "1.0"]);
        let wide: StringChunked = [Some("1e17")].into_iter().collect();
        assert!(ids(&wide).is_err());
    }

    #[test]
    fn lists_are_split_as_they_are_written() {
        let form = |cells: &[&str]| {
            let cells: StringChunked = cells.iter().map(|cell| Some(*cell)).collect();
            ListForm::of(&cells)
        };
        assert_eq!(form(&["[1, 2]", "[3]"]), Some(ListForm::Brackets));
        assert_eq!(form(&["1", "2 3"]), Some(ListForm::Blanks));
        assert_eq!(form(&["1", "2"]), None);
        assert_eq!(form(&["Toy Story", "2 3"]), None);
        assert_eq!(form(&["[REC]", "x"]), None);
        let split = |cell| ListForm::Brackets.split(cell);
        assert_eq!(split("[1, 2,3]"), ["1", "2", "3"]);
        assert_eq!(split("[1 2\n 3]"), ["1", "2", "3"]);
        assert_eq!(split("['a b', \"c's\", 'it's']"), ["a b", "c's", "it's"]);
        assert_eq!(split("[]"), Vec::<&str>::new());
        assert_eq!(split("\u{1f}a b\u{1f}c"), ["a b", "c"]);
        assert_eq!(field_values("Action|Sci-Fi"), ["Action", "Sci-Fi"]);
        assert_eq!(field_values("['Action', 'Sci-Fi']"), ["Action", "Sci-Fi"]);
        assert_eq!(field_values("Action, Crime"), ["Action", "Crime"]);
    }
}
