//! Limits of a program, with their units: its time and its memory.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// A time with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub(super) struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let units = [("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];
        let seconds = number_with_unit(&text, &units)
            .filter(|seconds| *seconds > 0.0 && *seconds < 1e9)
            .ok_or_else(|| format!("`{text}` is no time; expected one such as 90s, 30m or 2h"))?;
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

/// An amount of memory with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub(super) struct Bytes(pub u64);

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let units = [("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];
        let binary = [("MiB", 1024f64.powi(2)), ("GiB", 1024f64.powi(3))];
        let bytes = number_with_unit(&text, &binary)
            .or_else(|| number_with_unit(&text, &units))
            .filter(|bytes| *bytes >= 1.0 && *bytes < 1e18)
            .ok_or_else(|| {
                format!("`{text}` is no amount of memory; expected one such as 500MB or 8GB")
            })?;
        Ok(Self(bytes as u64))
    }
}

fn number_with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let number = number.trim_end();
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    Some(number.parse::<f64>().ok().filter(|_| is_plain)? * factor)
}

#[cfg(test)]
mod tests {
    use crate::tasks::top_n::command::tests::command;

    #[test]
    fn times_and_amounts_have_units() {
        let limits = |timeout: &str, memory: &str| {
            let of =
                command(&format!("{{run: 'm {{out}}', timeout: {timeout}, memory: {memory}}}"));
            let of = of.unwrap();
            (of.timeout().unwrap().as_secs_f64(), of.memory().unwrap())
        };
        assert_eq!(limits("2h", "8GB"), (7200.0, 8_000_000_000));
        assert_eq!(limits("1.5 m", "1.5 GiB"), (90.0, 3 << 29));
        assert_eq!(limits("90s", "500MB"), (90.0, 500_000_000));
    }
}
