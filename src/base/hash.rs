//! BLAKE3 hashes of files, data and keys of steps.

use std::{fmt, fs::File, io, path::Path};

use serde::{Deserialize, Serialize};

use super::files::{open_own, open_plain};

/// A BLAKE3 hash, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hash of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(*blake3::hash(bytes.as_ref()).as_bytes())
    }

    /// Hash of a value's canonical JSON (`serde_json`, fields in declaration order).
    pub fn of_json(value: &impl Serialize) -> Self {
        // invariant: the types hashed here have string keys, so they always serialise
        Self::of(serde_json::to_vec(value).expect("a plain value serialises"))
    }

    /// Hash of a file's content.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Self::of_content(open_plain(path)?)
    }

    /// Hash of the content of a file that assay wrote: see [`open_own`].
    pub fn of_own_file(path: &Path) -> io::Result<Self> {
        Self::of_content(open_own(path)?)
    }

    fn of_content(file: File) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?;
        Ok(Self::from_blake3(hasher.finalize()))
    }

    /// The hash of an incremental BLAKE3 hasher.
    pub fn from_blake3(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }

    /// The first 8 bytes as a number, for seeds.
    pub fn as_u64(&self) -> u64 {
        self.0[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The first 12 digits, for messages.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: String = digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect();
        f.write_str(&text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = blake3::Hash::from_hex(&text)
            .map_err(|error| format!("not a BLAKE3 hash: {text:?} ({error})"))?;
        Ok(Self::from_blake3(parsed))
    }
}
