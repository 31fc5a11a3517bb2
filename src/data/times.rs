//! Points in time: what files write for them, and the one form in which they are kept.

use std::{cmp::Ordering, fmt};

use chrono::{NaiveDate, NaiveTime};
use serde::{Serialize, Serializer};

/// Seconds since 1970, or a number on a scale of the file's own; 0 where the data set has no times.
///
/// Fractions are kept: two events within one second have an order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Time(f64);

impl Time {
    /// A finite number of seconds.
    pub fn seconds(seconds: f64) -> Self {
        // -0 and 0 are one moment.
        Self(seconds + 0.0)
    }

    /// As a number.
    pub fn as_seconds(self) -> f64 {
        self.0
    }

    /// The whole seconds, where it is no fraction.
    pub fn whole(self) -> Option<i64> {
        let is_whole = self.0.fract() == 0.0 && self.0.abs() < 9e15;
        is_whole.then_some(self.0 as i64)
    }

    /// What hashes are made of. Whole seconds are written as they were before there were fractions, so that
    /// the hashes of such data stay.
    pub(super) fn bytes(self) -> [u8; 8] {
        match self.whole() {
            Some(seconds) => seconds.to_le_bytes(),
            None => self.0.to_le_bytes(),
        }
    }
}

impl Eq for Time {}

impl Ord for Time {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<i64> for Time {
    fn from(seconds: i64) -> Self {
        Self::seconds(seconds as f64)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.whole() {
            Some(seconds) => serializer.serialize_i64(seconds),
            None => serializer.serialize_f64(self.0),
        }
    }
}

/// What a column of times can hold, for errors.
pub(super) const EXPECTED: &str = "a time: a number (seconds, milliseconds, microseconds or nanoseconds since \
                                   1970, or any scale of its own), or a date such as 2021-03-04, 2021-03-04 \
                                   05:06:07.5 or 2021-03-04T05:06:07+01:00";

/// One cell.
#[derive(Clone, Copy)]
enum Raw {
    Whole(i64),
    Fraction(f64),
    /// Seconds since 1970.
    Date(f64),
}

/// Why a column of times cannot be read: the row and what is wrong with it.
pub(super) struct Unreadable {
    pub row: usize,
    pub found: String,
    pub expected: String,
}

/// Reads a column of times. Numbers of 10^11 and more are no seconds (they would lie after the year 5138):
/// they are milliseconds, from 10^14 on microseconds, from 10^17 on nanoseconds. What is smaller is kept as
/// it is, so that a scale of the file's own (0 to 1) stays.
pub(super) fn read<'a>(
    cells: impl Iterator<Item = Option<&'a str>>,
) -> Result<Vec<Time>, Unreadable> {
    let mut raw = Vec::new();
    let wrong = |row: usize, found: String, expected: &str| Unreadable {
        row,
        found,
        expected: expected.to_owned(),
    };
    for (row, cell) in cells.enumerate() {
        let Some(cell) = cell.map(str::trim).filter(|cell| !cell.is_empty()) else {
            return Err(wrong(row, "nothing".into(), EXPECTED));
        };
        let read = match cell.parse::<i64>() {
            Ok(number) => Some(Raw::Whole(number)),
            Err(_) => match cell.parse::<f64>() {
                Ok(number) => Some(Raw::Fraction(number)).filter(|_| number.is_finite()),
                Err(_) => date(cell).map(Raw::Date),
            },
        };
        let Some(read) = read else { return Err(wrong(row, format!("`{cell}`"), EXPECTED)) };
        if let Some(first) = raw.first()
            && matches!(first, Raw::Date(_)) != matches!(read, Raw::Date(_))
        {
            let expected = match first {
                Raw::Date(_) => "a date, as in the first row",
                _ => "a number, as in the first row",
            };
            return Err(wrong(row, format!("`{cell}`"), expected));
        }
        raw.push(read);
    }
    let size = |raw: &Raw| match *raw {
        Raw::Whole(number) => number.unsigned_abs() as f64,
        Raw::Fraction(number) => number.abs(),
        Raw::Date(_) => 0.0,
    };
    let largest = raw.iter().map(size).fold(0.0, f64::max);
    let per_second: i64 = match largest {
        ..1e11 => 1,
        1e11..1e14 => 1_000,
        1e14..1e17 => 1_000_000,
        _ => 1_000_000_000,
    };
    // 1990 to 2100 in seconds: in another unit they would be the first weeks of 1970.
    if per_second > 1
        && let Some(row) = raw.iter().position(|raw| (6.3e8..4.1e9).contains(&size(raw)))
    {
        let value = raw[row];
        let found = match value {
            Raw::Whole(number) => format!("`{number}`, which would be seconds"),
            Raw::Fraction(number) | Raw::Date(number) => {
                format!("`{number}`, which would be seconds")
            }
        };
        return Err(wrong(
            row,
            found,
            "one unit in the whole column: other rows hold milli-, micro- or nanoseconds",
        ));
    }
    Ok(raw
        .into_iter()
        .map(|raw| match raw {
            // Whole seconds and the rest apart: together they have more digits than a float.
            Raw::Whole(number) => {
                let (whole, rest) = (number.div_euclid(per_second), number.rem_euclid(per_second));
                Time::seconds(whole as f64 + rest as f64 / per_second as f64)
            }
            Raw::Fraction(number) => Time::seconds(number / per_second as f64),
            Raw::Date(seconds) => Time::seconds(seconds),
        })
        .collect())
}

/// A date, with or without a time of day and a time zone, as ISO 8601, pandas and SQL write it. Without a zone
/// it is UTC. The year comes first: which of `03/04/2021` is the month, nothing says.
pub(crate) fn date(text: &str) -> Option<f64> {
    let day = text.get(..10)?.replace('/', "-");
    let day = NaiveDate::parse_from_str(&day, "%Y-%m-%d").ok()?;
    let midnight = day.and_hms_opt(0, 0, 0)?.and_utc().timestamp() as f64;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(midnight);
    }
    let rest = rest.strip_prefix(['T', ' '])?.trim();
    let (clock, offset) = zone(rest)?;
    let clock = ["%H:%M:%S%.f", "%H:%M"]
        .iter()
        .find_map(|format| NaiveTime::parse_from_str(clock, format).ok())?;
    use chrono::Timelike;
    let seconds = f64::from(clock.num_seconds_from_midnight()) - offset;
    Some(midnight + seconds + f64::from(clock.nanosecond()) / 1e9)
}

/// The time of day and the zone's offset in seconds.
fn zone(text: &str) -> Option<(&str, f64)> {
    for utc in ["Z", "z", "UTC", "GMT"] {
        if let Some(clock) = text.strip_suffix(utc) {
            return Some((clock.trim_end(), 0.0));
        }
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0.0)) };
    let sign = if text[at..].starts_with('-') { -1.0 } else { 1.0 };
    let digits: String = text[at + 1..].chars().filter(|c| *c != ':').collect();
    let is_offset = matches!(digits.len(), 2 | 4) && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_offset {
        return None;
    }
    let hours: f64 = digits[..2].parse().ok()?;
    let minutes: f64 = digits.get(2..).filter(|m| !m.is_empty()).unwrap_or("0").parse().ok()?;
    Some((text[..at].trim_end(), sign * (3600.0 * hours + 60.0 * minutes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(cells: &[&str]) -> Vec<f64> {
        let read = read(cells.iter().map(|cell| Some(*cell)));
        read.unwrap_or_else(|e| panic!("{} {}", e.row, e.found)).iter().map(|t| t.0).collect()
    }

    fn refused(cells: &[&str]) -> usize {
        read(cells.iter().map(|cell| Some(*cell))).err().unwrap().row
    }

    /// Values by Python's `datetime.fromisoformat(…).timestamp()`.
    #[test]
    fn dates_are_read_as_iso_and_pandas_write_them() {
        for (text, value) in [
            ("2021-03-04", 1614816000.0),
            ("2021/03/04", 1614816000.0),
            ("2021-03-04 05:06:07", 1614834367.0),
            ("2021-03-04T05:06:07Z", 1614834367.0),
            ("2021-03-04T05:06:07.25", 1614834367.25),
            ("2021-03-04 05:06:07.123456", 1614834367.123456),
            ("2021-03-04T05:06:07+01:00", 1614830767.0),
            ("2021-03-04 05:06:07-0530", 1614854167.0),
            ("2021-03-04 05:06", 1614834360.0),
            ("1969-12-31 23:59:59.5", -0.5),
            ("2021-03-04 05:06:07 UTC", 1614834367.0),
        ] {
            assert_eq!(date(text), Some(value), "{text}");
        }
        for wrong in ["03/04/2021", "2021-13-04", "yesterday", "2021-03-04 25:00", "2021-03", ""] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_keep_fractions_and_are_scaled_to_seconds() {
        assert_eq!(seconds(&["0.75", "0.95", "0"]), [0.75, 0.95, 0.0]);
        assert_eq!(seconds(&["1000.1", "1000.9"]), [1000.1, 1000.9]);
        assert_eq!(seconds(&["881250949"]), [881250949.0]);
        assert_eq!(seconds(&["1614834367250", "1614834367251"]), [1614834367.25, 1614834367.251]);
        assert_eq!(seconds(&["1614834367250001"]), [1614834367.250001]);
        assert_eq!(seconds(&["1614834367250001000"]), [1614834367.250001]);
        assert_eq!(seconds(&["1.614834367e9"]), [1614834367.0]);
        assert_eq!(refused(&["1", "2", ""]), 2);
        assert_eq!(refused(&["1", "soon"]), 1);
        assert_eq!(refused(&["1614834367250", "1614834367"]), 1);
        assert_eq!(refused(&["2021-03-04", "1614834367"]), 1);
        assert_eq!(refused(&["1", "NaN"]), 1);
    }
}
