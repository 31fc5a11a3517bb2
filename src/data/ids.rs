//! Dense indices of users and items, and the table that maps them to the identifiers of the data set.

use std::{cmp::Ordering, collections::HashMap};

/// Row of a user in every matrix of one data set, `0..n_users`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserIx(pub u32);

/// Column of an item in every matrix of one data set, `0..n_items`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemIx(pub u32);

impl UserIx {
    /// The index as a `usize`, for slices.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

impl ItemIx {
    /// The index as a `usize`, for slices.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// The identifiers of one kind (users or items) in index order.
///
/// They are in [`id_order`], so "the lower item id first", the tie rule of every ranking, is the order
/// of the indices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ids {
    names: Vec<String>,
    index: Index,
}

/// From names to indices.
#[derive(Clone, Debug, PartialEq)]
enum Index {
    /// Whole numbers that lie close together: the index stands at the number's place.
    Numbers(Vec<u32>),
    Names(HashMap<String, u32>),
}

impl Default for Index {
    fn default() -> Self {
        Self::Numbers(Vec::new())
    }
}

/// Stands at numbers that are no identifier.
const NONE: u32 = u32::MAX;

impl Ids {
    /// Sorts and deduplicates `names`.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<String> = names.into_iter().collect();
        let all_numbers = names.iter().all(|name| whole_number(name).is_some());
        if all_numbers {
            names.sort_by_cached_key(|n| whole_number(n));
        } else {
            names.sort_by(|a, b| id_order(a, b));
        }
        names.dedup();
        Self::of_ordered(names)
    }

    /// Takes names over in the order they are in; none where that is not the order of identifiers, or
    /// a name is there twice.
    pub fn in_order(names: Vec<String>) -> Option<Self> {
        let ascends = names.windows(2).all(|pair| id_order(&pair[0], &pair[1]).is_lt());
        ascends.then(|| Self::of_ordered(names))
    }

    fn of_ordered(names: Vec<String>) -> Self {
        let all_numbers = names.iter().all(|name| whole_number(name).is_some());
        let highest = names.last().and_then(|name| whole_number(name)).unwrap_or(0);
        let index = if all_numbers && highest <= 16 * names.len() as u64 + 1024 {
            let mut places = vec![NONE; highest as usize + 1];
            for (ix, name) in names.iter().enumerate() {
                if let Some(number) = whole_number(name) {
                    places[number as usize] = ix as u32;
                }
            }
            Index::Numbers(places)
        } else {
            let pairs = names.iter().enumerate().map(|(ix, name)| (name.clone(), ix as u32));
            Index::Names(pairs.collect())
        };
        Self { names, index }
    }

    /// How many identifiers there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The index of `name`, if it is known.
    pub fn index_of(&self, name: &str) -> Option<u32> {
        match &self.index {
            Index::Numbers(places) => {
                let place = places.get(usize::try_from(whole_number(name)?).ok()?)?;
                Some(*place).filter(|place| *place != NONE)
            }
            Index::Names(index) => index.get(name).copied(),
        }
    }

    /// The identifier at `index`. Panics when it is out of range: indices only come from this table.
    pub fn name(&self, index: u32) -> &str {
        &self.names[index as usize]
    }

    /// All identifiers in index order.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// The order of identifiers, which breaks ties: identifiers of digits alone come first, as numbers
/// (`9` before `10`; of one value the shorter first, `7` before `007`), then all others by their bytes.
///
/// It looks at the two identifiers alone, so the order of two items never depends on which others a file
/// holds.
pub fn id_order(a: &str, b: &str) -> Ordering {
    match (digits(a), digits(b)) {
        (Some(x), Some(y)) => x.len().cmp(&y.len()).then(x.cmp(y)).then(a.len().cmp(&b.len())),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// The digits of an identifier that holds nothing else, without leading zeros.
fn digits(text: &str) -> Option<&str> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.trim_start_matches('0'))
}

/// `"007"` and `"+7"` are no numbers that an index can stand for: they would not come back as they were.
fn whole_number(text: &str) -> Option<u64> {
    let digits = text.as_bytes();
    if digits.is_empty() || digits.len() > 18 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_ids_are_ordered_as_numbers() {
        let ids = Ids::new(["10", "9", "2", "9"].map(String::from));
        assert_eq!(ids.names(), ["2", "9", "10"]);
        assert_eq!(ids.index_of("10"), Some(2));
        for other in ["", "3", "02", "+2", "2.0", "x", "11", "99999999999999999999"] {
            assert_eq!(ids.index_of(other), None, "{other}");
        }
        let wide = Ids::new(["7", "90000000000"].map(String::from));
        assert_eq!((wide.index_of("7"), wide.index_of("90000000000")), (Some(0), Some(1)));
        assert_eq!(Ids::default().index_of("0"), None);
    }

    #[test]
    fn numbers_come_before_texts_and_are_numbers_among_texts_too() {
        let ids = Ids::new(
            ["b", "10", "9", "007", "7", "-3", "00", "99999999999999999999", "B0"]
                .map(String::from),
        );
        let ordered = ["00", "7", "007", "9", "10", "99999999999999999999", "-3", "B0", "b"];
        assert_eq!(ids.names(), ordered);
        assert_eq!(ids.index_of("007"), Some(2));
        let again = Ids::in_order(ordered.map(String::from).to_vec());
        assert_eq!(again, Some(ids));
        for wrong in [["10", "9"], ["a", "1"], ["7", "7"]] {
            assert_eq!(Ids::in_order(wrong.map(String::from).to_vec()), None, "{wrong:?}");
        }
    }
}
