//! Training histories as event files of TensorBoard.
//!
//! An event file is a sequence of records, each with its length and two checksums (TensorFlow's TFRecord), and a record is an
//! `Event` message of protocol buffers. Six fields of it are needed, so it is written here, without a library.

use serde_json::{Map, Value};

use crate::{
    base::files::read_json,
    core::Workspace,
    tasks::{ExperimentRecord, shared::HISTORY},
};

/// An event file.
pub struct EventFile {
    /// Its path below the log directory: one directory for each trial.
    pub name: String,
    pub bytes: Vec<u8>,
    pub epochs: usize,
}

/// An event file for each trial that was trained in epochs, once for each model.
pub fn event_files(experiment: &ExperimentRecord, workspace: &Workspace) -> Vec<EventFile> {
    let mut known = Vec::new();
    let mut files = Vec::new();
    for trial in &experiment.trials {
        // A reranker shares the network of its base.
        let is_own = experiment.system(trial).reranks.is_none();
        let Some(fit) = trial.fit.filter(|fit| is_own && !known.contains(fit)) else { continue };
        let path = experiment.dir(workspace, fit).join(HISTORY);
        let Ok(epochs) = read_json::<Vec<Map<String, Value>>>(&path) else { continue };
        let Ok(record) = experiment.record(workspace, fit) else { continue };
        known.push(fit);
        files.push(EventFile {
            name: format!("{}/events.out.tfevents.{}.assay", trial.file_name, record.finished),
            bytes: events(&epochs, record.finished as f64),
            epochs: epochs.len(),
        });
    }
    files
}

/// The records of a history. All have the time at which the step finished: times of epochs are not recorded.
fn events(epochs: &[Map<String, Value>], time: f64) -> Vec<u8> {
    let mut out = Vec::new();
    // `file_version`, which has to come first.
    record(&mut out, &event(time, None, &bytes_field(3, b"brain.Event:2")));
    for (at, epoch) in epochs.iter().enumerate() {
        let step = epoch.get("epoch").and_then(Value::as_i64).unwrap_or(at as i64);
        let numbers = epoch.iter().filter(|(name, _)| *name != "epoch");
        let numbers = numbers.filter_map(|(name, value)| Some((name, value.as_f64()?)));
        let values: Vec<u8> = numbers.flat_map(|(name, value)| scalar(name, value)).collect();
        record(&mut out, &event(time, Some(step), &bytes_field(5, &values)));
    }
    out
}

/// An `Event`: `wall_time`, `step`, and one more field.
fn event(time: f64, step: Option<i64>, what: &[u8]) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(time.to_le_bytes());
    if let Some(step) = step {
        event.push(2 << 3);
        event.extend(varint(step as u64));
    }
    event.extend(what);
    event
}

/// A `Summary.Value` in a `Summary`: `tag` and `simple_value`.
fn scalar(tag: &str, value: f64) -> Vec<u8> {
    let mut of = bytes_field(1, tag.as_bytes());
    of.push(2 << 3 | 5);
    of.extend((value as f32).to_le_bytes());
    bytes_field(1, &of)
}

/// A field of a length and bytes.
fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(content.len() as u64));
    field.extend(content);
    field
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A record: length, its checksum, content, its checksum.
fn record(out: &mut Vec<u8>, content: &[u8]) {
    let length = (content.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked(crc32c(&length)).to_le_bytes());
    out.extend(content);
    out.extend(masked(crc32c(content)).to_le_bytes());
}

/// As TFRecord stores checksums, because a checksum of bytes with checksums is a weak one.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: histories are small.
fn crc32c(bytes: &[u8]) -> u32 {
    let of_byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, of_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn numbers_take_seven_bits_a_byte() {
        assert_eq!(varint(1), [1]);
        assert_eq!(varint(300), [0xac, 2]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }

    /// Worked out by hand from the definitions of the messages.
    #[test]
    fn an_event_has_the_bytes_of_its_message() {
        let bytes = event(0.5, Some(3), &bytes_field(5, &scalar("a", 1.0)));
        let time = [0, 0, 0, 0, 0, 0, 0xe0, 0x3f];
        let value = [0x0a, 1, b'a', 0x15, 0, 0, 0x80, 0x3f];
        let expected = [&[9][..], &time, &[0x10, 3], &[0x2a, 10], &[0x0a, 8], &value].concat();
        assert_eq!(bytes, expected);
    }
}
