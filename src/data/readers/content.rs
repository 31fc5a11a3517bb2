//! From a file to its text: compression, byte order marks, encodings, line ends.

use std::{fs, io::Read, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::DataError;

/// How the letters of a text file are written.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
pub enum Encoding {
    #[serde(rename = "utf-8")]
    #[value(name = "utf-8")]
    Utf8,
    /// ISO 8859-1.
    #[serde(rename = "latin-1")]
    #[value(name = "latin-1")]
    Latin1,
    /// Latin-1 with letters and signs in place of control characters.
    #[serde(rename = "windows-1252")]
    #[value(name = "windows-1252")]
    Windows1252,
    /// With a byte order mark it is recognised; without one it must be named.
    #[serde(rename = "utf-16")]
    #[value(name = "utf-16")]
    Utf16,
}

/// What a file holds, unpacked.
pub(crate) enum Content {
    Parquet(Vec<u8>),
    Text(Vec<u8>),
}

/// What 0x80 to 0x9f are in Windows-1252; 0 where they are nothing.
const WINDOWS: [u16; 32] = [
    0x20ac, 0, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152,
    0, 0x17d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161,
    0x203a, 0x153, 0, 0x17e, 0x178,
];

/// Reads a file: unpacked where it is compressed, as UTF-8 text with `\n` at line ends where it is text.
pub(crate) fn read(path: &Path, encoding: Option<Encoding>) -> Result<Content, DataError> {
    let bytes = fs::read(path).map_err(|error| DataError::io(path, error))?;
    let bytes = unpack(path, bytes)?;
    match bytes.starts_with(b"PAR1") {
        true => Ok(Content::Parquet(bytes)),
        false => Ok(Content::Text(text(path, bytes, encoding)?)),
    }
}

/// Opens gzip and Zstandard, by the first bytes.
fn unpack(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, DataError> {
    let broken = |error: std::io::Error| DataError::File {
        path: path.to_owned(),
        problem: format!("the compressed file cannot be unpacked: {error}"),
        help: "it may be cut off: copy or export it again".into(),
    };
    let packed_as = |kind: &str, tool: &str| DataError::File {
        path: path.to_owned(),
        problem: format!("it is {kind}"),
        help: format!("unpack it first (`{tool}`); gzip and Zstandard files are read as they are"),
    };
    match &bytes[..] {
        [0x1f, 0x8b, ..] => {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::MultiGzDecoder::new(&bytes[..]);
            decoder.read_to_end(&mut plain).map_err(broken)?;
            Ok(plain)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::stream::decode_all(&bytes[..]).map_err(broken),
        [b'P', b'K', 3, 4, ..] => Err(packed_as("a ZIP archive", "unzip")),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(packed_as("a bzip2 file", "bunzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(packed_as("an xz file", "unxz")),
        _ => Ok(bytes),
    }
}

/// The text in UTF-8, without a byte order mark.
pub(super) fn text(
    path: &Path,
    bytes: Vec<u8>,
    encoding: Option<Encoding>,
) -> Result<Vec<u8>, DataError> {
    let text = match (&bytes[..], encoding) {
        ([0xff, 0xfe, rest @ ..], _) => utf16(path, rest, u16::from_le_bytes)?,
        ([0xfe, 0xff, rest @ ..], _) => utf16(path, rest, u16::from_be_bytes)?,
        ([0xef, 0xbb, 0xbf, rest @ ..], None | Some(Encoding::Utf8)) => utf8(path, rest.to_vec())?,
        (_, None | Some(Encoding::Utf8)) => {
            if let Some(order) = looks_like_utf16(&bytes) {
                return Err(DataError::File {
                    path: path.to_owned(),
                    problem: format!("it looks like UTF-16 ({order}) without a byte order mark"),
                    help: "say so with `--encoding utf-16` (in an experiment file: `encoding: utf-16`)"
                        .into(),
                });
            }
            utf8(path, bytes)?
        }
        (_, Some(Encoding::Latin1)) => {
            bytes.iter().map(|byte| *byte as char).collect::<String>().into_bytes()
        }
        (_, Some(Encoding::Windows1252)) => windows1252(path, &bytes)?,
        // Separators and line ends have a 0 in UTF-16: a file without one is not in it. The encoding is named for
        // all files of a call, some of which may be UTF-8.
        (_, Some(Encoding::Utf16)) if !bytes.contains(&0) => utf8(path, bytes)?,
        (_, Some(Encoding::Utf16)) => match looks_like_utf16(&bytes) {
            Some("big-endian") => utf16(path, &bytes, u16::from_be_bytes)?,
            _ => utf16(path, &bytes, u16::from_le_bytes)?,
        },
    };
    Ok(plain_line_ends(text))
}

fn line_of(bytes: &[u8]) -> usize {
    1 + bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn utf8(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, DataError> {
    let Err(error) = std::str::from_utf8(&bytes) else { return Ok(bytes) };
    if bytes.contains(&0) {
        return Err(DataError::File {
            path: path.to_owned(),
            problem: "a binary file".into(),
            help: "tables are read from CSV, TSV, Parquet and other text files".into(),
        });
    }
    let at = error.valid_up_to();
    Err(DataError::Line {
        path: path.to_owned(),
        line: line_of(&bytes[..at]),
        problem: "not UTF-8 text".into(),
        found: format!("the byte 0x{:02x}", bytes[at]),
        expected: "a text table in UTF-8, or a Parquet file; for other texts add `--encoding latin-1` (or \
                   windows-1252, utf-16; in an experiment file: `encoding: latin-1`)"
            .into(),
    })
}

/// In UTF-16 every second byte of Latin letters and digits is 0.
fn looks_like_utf16(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(4096) / 2 * 2];
    let zeros = |first: usize| start.iter().skip(first).step_by(2).filter(|b| **b == 0).count();
    let (even, odd, half) = (zeros(0), zeros(1), start.len() / 2);
    match () {
        _ if half < 4 => None,
        _ if odd * 10 >= half * 9 && even == 0 => Some("little-endian"),
        _ if even * 10 >= half * 9 && odd == 0 => Some("big-endian"),
        _ => None,
    }
}

fn utf16(path: &Path, bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Vec<u8>, DataError> {
    let wrong = |problem: &str| DataError::File {
        path: path.to_owned(),
        problem: problem.into(),
        help: "it may be cut off or in another encoding: export it again, in UTF-8 if you can"
            .into(),
    };
    if bytes.len() % 2 == 1 {
        return Err(wrong("it is UTF-16 with an odd number of bytes"));
    }
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    Ok(text.map_err(|_| wrong("it is not valid UTF-16"))?.into_bytes())
}

fn windows1252(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    let mut text = String::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        let letter = match byte {
            0x80..=0x9f => {
                let code = u32::from(WINDOWS[usize::from(byte - 0x80)]);
                char::from_u32(code).filter(|_| code > 0)
            }
            byte => Some(*byte as char),
        };
        text.push(letter.ok_or_else(|| DataError::Line {
            path: path.to_owned(),
            line: line_of(&bytes[..at]),
            problem: "not Windows-1252 text".into(),
            found: format!("the byte 0x{byte:02x}"),
            expected: "text in the encoding that was named".into(),
        })?);
    }
    Ok(text.into_bytes())
}

/// `\r\n`, and `\r` alone where there is no `\n`, as `\n`.
fn plain_line_ends(mut text: Vec<u8>) -> Vec<u8> {
    if !text.contains(&b'\r') {
        return text;
    }
    if !text.contains(&b'\n') {
        text.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
        return text;
    }
    let mut plain = Vec::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        if *byte != b'\r' || text.get(at + 1).is_some_and(|next| *next != b'\n') {
            plain.push(*byte);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8], encoding: Option<Encoding>) -> Result<String, String> {
        let text = text(Path::new("x"), bytes.to_vec(), encoding);
        text.map(|text| String::from_utf8(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn encodings_are_read_by_mark_or_by_name() {
        let le: Vec<u8> = "a,é\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = "a,é\n1,2\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = [&[0xff, 0xfe], &le[..]].concat();
        for (bytes, encoding) in [
            (&marked[..], None),
            (&le[..], Some(Encoding::Utf16)),
            (&be[..], Some(Encoding::Utf16)),
            ("\u{feff}a,é\r\n1,2\r\n".as_bytes(), None),
            ("a,é\r1,2\r".as_bytes(), None),
            (b"a,\xe9\n1,2\n", Some(Encoding::Latin1)),
            (b"a,\xe9\n1,2\n", Some(Encoding::Windows1252)),
        ] {
            assert_eq!(of(bytes, encoding).unwrap(), "a,é\n1,2\n");
        }
        assert_eq!(of("a,é\n1,2\n".as_bytes(), Some(Encoding::Utf16)).unwrap(), "a,é\n1,2\n");
        assert_eq!(of(b"\x80\x92", Some(Encoding::Windows1252)).unwrap(), "€’");
        assert!(of(&le, None).unwrap_err().contains("--encoding utf-16"));
        assert!(of(b"a\nb\xe9", None).unwrap_err().contains("x:2"));
        assert!(of(b"\x81", Some(Encoding::Windows1252)).is_err());
    }
}
