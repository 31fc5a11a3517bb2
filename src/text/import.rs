//! Texts from a file: CSV, TSV or Parquet with a column of identifiers.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::spec::locate;
use crate::data::{
    DataDirs, DataError, Ids,
    delimited::{Layout, TextTable, usual_separator},
};

/// A file of texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Looked for next to the experiment file, then in the data directories.
    pub file: String,
    /// The column of identifiers.
    pub id: String,
    /// The column of texts.
    pub text: String,
    /// The directory of the experiment file.
    #[serde(skip)]
    pub(crate) directory: PathBuf,
}

impl FileSpec {
    /// The same for an experiment file in this directory.
    pub fn beside(&self, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..self.clone() }
    }

    /// Its path.
    pub fn locate(&self, dirs: &DataDirs) -> Result<PathBuf, DataError> {
        locate(&self.file, &self.directory, dirs)
    }

    /// Texts in the order of `ids`, and the number of rows with unknown ids.
    pub fn read(
        &self,
        ids: &Ids,
        dirs: &DataDirs,
    ) -> Result<(Vec<Option<String>>, usize), DataError> {
        let table = read_table(&self.locate(dirs)?)?;
        column(&table, &self.id, &self.text, ids)
    }
}

/// Reads a table; its format follows from the file extension.
pub(super) fn read_table(path: &Path) -> Result<TextTable, DataError> {
    let separator = usual_separator(path);
    TextTable::read(path, &Layout { separator, header: true, encoding: None, quotes: true })
}

/// A column by identifier, and the number of rows with unknown ids. A repeated identifier is an error.
pub(super) fn column(
    table: &TextTable,
    id: &str,
    text: &str,
    ids: &Ids,
) -> Result<(Vec<Option<String>>, usize), DataError> {
    let (mut texts, mut unknown_ids) = (vec![None; ids.len()], 0);
    let mut seen = vec![false; ids.len()];
    let (names, _) = table.id_texts(id)?;
    let cells = table.optional_texts(text)?;
    for (row, (name, cell)) in names.iter().zip(cells).enumerate() {
        let Some(at) = ids.index_of(name.trim()) else {
            unknown_ids += 1;
            continue;
        };
        if std::mem::replace(&mut seen[at as usize], true) {
            return Err(table.wrong(
                row,
                id,
                &format!("`{name}` occurs twice"),
                "one row for each identifier",
            ));
        }
        texts[at as usize] =
            cell.map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty());
    }
    if names.is_empty() {
        return Err(DataError::File {
            path: table.path().to_owned(),
            problem: "it has a header but no rows".into(),
            help: "export it again".into(),
        });
    }
    if unknown_ids == names.len() {
        return Err(DataError::File {
            path: table.path().to_owned(),
            problem: format!(
                "none of its {unknown_ids} identifiers in the column `{id}` occurs in this data set"
            ),
            help: format!("it has e.g. `{}`; the data set has e.g. `{}`", names[0], ids.name(0)),
        });
    }
    Ok((texts, unknown_ids))
}
