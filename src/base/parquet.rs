//! Parquet files of our own: written the same way each time, so that the same rows give the same bytes.

use std::{fs::File, io, path::Path};

use polars::prelude::*;

use super::files::open_own;

/// Writes `frame` to `path`.
pub fn write(path: &Path, frame: &mut DataFrame) -> io::Result<()> {
    let file = File::create(path)?;
    // One row group and no parallel encoding: bytes must not depend on threads.
    let rows = frame.height().max(1);
    ParquetWriter::new(&file)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(rows))
        .set_parallel(false)
        .finish(frame)
        .map_err(to_io)?;
    file.sync_all()
}

/// Writes a file frame by frame, each a row group of its own, so that they need not fit the memory together.
pub struct Writer {
    batches: polars::io::parquet::write::BatchedWriter<File>,
    file: File,
}

impl Writer {
    /// A file whose frames have this schema.
    pub fn new(path: &Path, schema: &Schema) -> io::Result<Self> {
        let file = File::create(path)?;
        let batches = ParquetWriter::new(file.try_clone()?)
            .with_compression(ParquetCompression::Zstd(None))
            .set_parallel(false)
            .batched(schema)
            .map_err(to_io)?;
        Ok(Self { batches, file })
    }

    /// Adds a frame; an empty one leaves no trace.
    pub fn add(&mut self, frame: &DataFrame) -> io::Result<()> {
        match frame.height() {
            0 => Ok(()),
            _ => self.batches.write_batch(frame).map_err(to_io),
        }
    }

    /// Closes the file.
    pub fn finish(self) -> io::Result<()> {
        self.batches.finish().map_err(to_io)?;
        self.file.sync_all()
    }
}

/// Reads the file at `path` row group by row group.
pub fn row_groups(path: &Path) -> io::Result<impl Iterator<Item = io::Result<DataFrame>>> {
    let mut reader = ParquetReader::new(File::open(path)?);
    let metadata = reader.get_metadata().map_err(to_io)?.clone();
    let path = path.to_owned();
    let mut first = 0;
    Ok((0..metadata.row_groups.len()).map(move |group| {
        let rows = metadata.row_groups[group].num_rows();
        let reader = ParquetReader::new(File::open(&path)?).read_parallel(ParallelStrategy::None);
        let frame = reader.with_slice(Some((first, rows))).finish().map_err(to_io);
        first += rows;
        frame
    }))
}

/// Reads the file at `path`.
pub fn read(path: &Path) -> io::Result<DataFrame> {
    ParquetReader::new(open_own(path)?)
        .read_parallel(ParallelStrategy::None)
        .finish()
        .map_err(to_io)
}

/// A polars error as an input or output error.
pub fn to_io(error: PolarsError) -> io::Error {
    match error {
        PolarsError::IO { error, .. } => io::Error::new(error.kind(), error.to_string()),
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}
