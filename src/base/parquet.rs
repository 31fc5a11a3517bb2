//! Parquet files of our own: written the same way each time, so that the same rows give the same bytes.

use std::{fs::File, io, path::Path};

use polars::prelude::*;

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

/// Reads the file at `path`.
pub fn read(path: &Path) -> io::Result<DataFrame> {
    ParquetReader::new(File::open(path)?)
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
