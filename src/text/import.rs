//! Texts from a file: CSV, TSV or Parquet with a column of identifiers.

use std::path::PathBuf;

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
    /// Looked for beside the experiment file, then in the data directories.
    pub file: String,
    /// The column of identifiers.
    pub id: String,
    /// The column of texts.
    pub text: String,
    /// Where the experiment file lies.
    #[serde(skip)]
    pub(crate) directory: PathBuf,
}

impl FileSpec {
    /// Where it lies.
    pub fn locate(&self, dirs: &DataDirs) -> Result<PathBuf, DataError> {
        locate(&self.file, &self.directory, dirs)
    }

    /// Texts in the order of `ids`, and how many rows are about nobody of them.
    pub(super) fn read(
        &self,
        ids: &Ids,
        dirs: &DataDirs,
    ) -> Result<(Vec<Option<String>>, usize), DataError> {
        let table = read_table(&self.locate(dirs)?)?;
        column(&table, &self.id, &self.text, ids)
    }
}

/// Reads a table by the ending of its name.
pub(super) fn read_table(path: &std::path::Path) -> Result<TextTable, DataError> {
    let separator = usual_separator(path);
    TextTable::read(path, &Layout { separator, header: true, encoding: None, quotes: true })
}

/// One column by identifier. An identifier that stands twice is an error.
pub(super) fn column(
    table: &TextTable,
    id: &str,
    text: &str,
    ids: &Ids,
) -> Result<(Vec<Option<String>>, usize), DataError> {
    let (mut texts, mut strangers) = (vec![None; ids.len()], 0);
    let mut seen = vec![false; ids.len()];
    let (names, _) = table.id_texts(id)?;
    let cells = table.optional_texts(text)?;
    for (row, (name, cell)) in names.iter().zip(cells).enumerate() {
        let Some(at) = ids.index_of(name.trim()) else {
            strangers += 1;
            continue;
        };
        if std::mem::replace(&mut seen[at as usize], true) {
            return Err(table.wrong(
                row,
                id,
                &format!("`{name}` is given twice"),
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
    if strangers == names.len() {
        return Err(DataError::File {
            path: table.path().to_owned(),
            problem: format!(
                "none of its {strangers} identifiers in the column `{id}` occurs in this data set"
            ),
            help: format!("it has e.g. `{}`; the data set has e.g. `{}`", names[0], ids.name(0)),
        });
    }
    Ok((texts, strangers))
}
