//! Parquet files: written in a fixed way, so that the same rows give the same bytes.

use std::{
    fs::File,
    io::{self, Cursor, Seek, SeekFrom, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use polars::prelude::*;

use super::{files::open_own, panics::reading};

/// A file that stores its write error: polars reports a full disk as an error of the format.
#[derive(Clone)]
struct Remembering {
    file: Arc<File>,
    problem: Arc<Mutex<Option<io::Error>>>,
}

impl Remembering {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Arc::new(File::create(path)?), problem: Arc::default() })
    }

    fn note<T>(&self, written: io::Result<T>) -> io::Result<T> {
        written.inspect_err(|error| {
            let copy = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
            problem.get_or_insert(copy);
        })
    }

    /// The write error of the underlying file, if there was one.
    fn or_own(&self, error: PolarsError) -> io::Error {
        let own = self.problem.lock().unwrap_or_else(PoisonError::into_inner).take();
        own.unwrap_or_else(|| to_io(error))
    }
}

impl Write for Remembering {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&*self.file).write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = (&*self.file).flush();
        self.note(flushed)
    }
}

impl Seek for Remembering {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self.file).seek(to)
    }
}

/// Writes `frame` to `path`.
pub fn write(path: &Path, frame: &mut DataFrame) -> io::Result<()> {
    let file = Remembering::create(path)?;
    // One row group and no parallel encoding: bytes must not depend on threads.
    let rows = frame.height().max(1);
    ParquetWriter::new(file.clone())
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(rows))
        .set_parallel(false)
        .finish(frame)
        .map_err(|error| file.or_own(error))?;
    file.file.sync_all()
}

/// A file with `frame` as bytes.
pub fn bytes(frame: &mut DataFrame) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let rows = frame.height().max(1);
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(rows))
        .set_parallel(false)
        .finish(frame)
        .map_err(to_io)?;
    Ok(bytes)
}

/// Writes a file frame by frame, each as a row group, so that not all need to fit into memory.
pub struct Writer {
    batches: polars::io::parquet::write::BatchedWriter<Remembering>,
    file: Remembering,
}

impl Writer {
    /// A file whose frames have this schema.
    pub fn new(path: &Path, schema: &Schema) -> io::Result<Self> {
        let file = Remembering::create(path)?;
        let batches = ParquetWriter::new(file.clone())
            .with_compression(ParquetCompression::Zstd(None))
            .set_parallel(false)
            .batched(schema)
            .map_err(|error| file.or_own(error))?;
        Ok(Self { batches, file })
    }

    /// Adds a frame; an empty one is skipped.
    pub fn add(&mut self, frame: &DataFrame) -> io::Result<()> {
        match frame.height() {
            0 => Ok(()),
            _ => self.batches.write_batch(frame).map_err(|error| self.file.or_own(error)),
        }
    }

    /// Closes the file.
    pub fn finish(self) -> io::Result<()> {
        self.batches.finish().map_err(|error| self.file.or_own(error))?;
        self.file.file.sync_all()
    }
}

/// Rows that are read at once.
const ROWS: usize = 1 << 20;

/// Reads the file at `path` in parts of whole row groups, as many of them at once as have a million rows: each part opens the
/// file again.
pub fn parts(path: &Path) -> io::Result<impl Iterator<Item = io::Result<DataFrame>>> {
    parts_of(path, ROWS)
}

fn parts_of(
    path: &Path,
    rows: usize,
) -> io::Result<impl Iterator<Item = io::Result<DataFrame>> + use<>> {
    let mut reader = ParquetReader::new(File::open(path)?);
    let metadata = reading(|| reader.get_metadata().map_err(to_io).cloned())?;
    let groups: Vec<usize> = metadata.row_groups.iter().map(|of| of.num_rows()).collect();
    let path = path.to_owned();
    let mut first = 0;
    Ok(sums_up_to(groups, rows).into_iter().map(move |rows| {
        let reader = ParquetReader::new(File::open(&path)?).read_parallel(ParallelStrategy::None);
        let frame = reading(|| reader.with_slice(Some((first, rows))).finish().map_err(to_io));
        first += rows;
        frame
    }))
}

/// Sums of successive numbers, each as large as `most` allows, and of one number at least.
fn sums_up_to(numbers: impl IntoIterator<Item = usize>, most: usize) -> Vec<usize> {
    let mut sums: Vec<usize> = Vec::new();
    for number in numbers {
        match sums.last_mut() {
            Some(last) if *last + number <= most => *last += number,
            _ => sums.push(number),
        }
    }
    sums
}

/// Reads the file at `path`.
pub fn read(path: &Path) -> io::Result<DataFrame> {
    let reader = ParquetReader::new(open_own(path)?).read_parallel(ParallelStrategy::None);
    reading(|| reader.finish().map_err(to_io))
}

/// Reads those columns of the file at `path` whose names `is_wanted` accepts.
pub fn read_columns(path: &Path, is_wanted: &dyn Fn(&str) -> bool) -> io::Result<DataFrame> {
    reading(|| {
        let mut reader = ParquetReader::new(open_own(path)?).read_parallel(ParallelStrategy::None);
        let schema = reader.schema().map_err(to_io)?;
        let names = schema.iter_names().map(|name| name.to_string());
        let wanted: Vec<String> = names.filter(|name| is_wanted(name)).collect();
        reader.with_columns(Some(wanted)).finish().map_err(to_io)
    })
}

/// Names of the columns of an untrusted file, and its number of rows.
pub fn foreign_columns(bytes: &[u8]) -> io::Result<(Vec<String>, usize)> {
    reading(|| {
        let mut reader = ParquetReader::new(Cursor::new(bytes));
        let schema = reader.schema().map_err(to_io)?;
        let names = schema.iter_names().map(|name| name.to_string()).collect();
        Ok((names, reader.num_rows().map_err(to_io)?))
    })
}

/// A column of an untrusted file with so many rows.
pub fn foreign_column(bytes: &[u8], name: &str, height: usize) -> io::Result<Series> {
    let series = reading(|| {
        let reader = ParquetReader::new(Cursor::new(bytes));
        let frame = reader.with_columns(Some(vec![name.to_owned()])).finish().map_err(to_io)?;
        Ok(frame.column(name).map_err(to_io)?.as_materialized_series().clone())
    })?;
    // Inconsistent numbers of rows are found here and not later.
    match series.len() == height {
        true => Ok(series),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its columns have different numbers of rows",
        )),
    }
}

/// A polars error as an input or output error.
pub fn to_io(error: PolarsError) -> io::Error {
    match error {
        PolarsError::IO { error, .. } => io::Error::new(error.kind(), error.to_string()),
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::panics::caught;

    /// Row groups of 3, 1, 4, 1, 5 and 2 rows.
    #[test]
    fn parts_have_all_rows_in_their_order_however_many_are_read_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.parquet");
        let of = |rows: std::ops::Range<u32>| {
            let column = Column::new("row".into(), rows.collect::<Vec<u32>>());
            DataFrame::new(column.len(), vec![column]).unwrap()
        };
        let mut writer = Writer::new(&path, of(0..0).schema()).unwrap();
        let ends = [0, 3, 4, 8, 9, 14, 16];
        ends.windows(2).for_each(|ends| writer.add(&of(ends[0]..ends[1])).unwrap());
        writer.finish().unwrap();
        let heights = |most: usize| {
            let parts: Vec<DataFrame> =
                parts_of(&path, most).unwrap().collect::<io::Result<_>>().unwrap();
            let rows = |part: &DataFrame| {
                part.column("row").unwrap().u32().unwrap().into_no_null_iter().collect::<Vec<_>>()
            };
            let all: Vec<u32> = parts.iter().flat_map(rows).collect();
            assert_eq!(all, (0..16).collect::<Vec<u32>>(), "{most}");
            parts.iter().map(DataFrame::height).collect::<Vec<_>>()
        };
        assert_eq!(heights(1), [3, 1, 4, 1, 5, 2]);
        assert_eq!(heights(4), [4, 4, 1, 5, 2]);
        assert_eq!(heights(8), [8, 8]);
        assert_eq!(heights(ROWS), [16]);
    }

    /// Polars panics on some of these files; the functions for untrusted files return an error instead.
    #[test]
    fn a_changed_footer_is_an_error_and_not_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.parquet");
        let users: Vec<u32> = (0..50).collect();
        let mut frame =
            df!("user" => users, "item" => vec!["a"; 50], "score" => vec![0.5f64; 50]).unwrap();
        write(&path, &mut frame).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let footer = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
        let mut gave_up = 0;
        for at in bytes.len() - 8 - footer..bytes.len() {
            for bit in [0, 3, 6] {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let read = caught(|| {
                    let (names, height) = foreign_columns(&changed)?;
                    assert!(height <= 1 << 20, "{height}");
                    names
                        .iter()
                        .try_for_each(|name| foreign_column(&changed, name, height).map(drop))
                });
                match read.expect("no panic gets out") {
                    Err(error) if error.to_string().contains("gave up") => gave_up += 1,
                    Err(_) | Ok(()) => {}
                }
            }
        }
        assert!(gave_up > 0, "none of them makes polars panic: nothing was tested");
    }
}
