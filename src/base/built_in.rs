//! Files that come with the program: settings of baselines, published tables, manifests, the sample data set.
//!
//! They are used if a file is not found on disk, so an installed program needs no checkout.

use std::path::{Component, Path, PathBuf};

/// Path in the repository, and content; written by build.rs.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// Prefix of the paths of built-in files in messages and records.
const PREFIX: &str = "built-in:";

/// The content of a file, by its path in the repository (`baselines/als.yaml`).
pub fn find(path: &Path) -> Option<&'static str> {
    let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    FILES.iter().find(|(known, _)| Path::new(known) == plain).map(|(_, text)| *text)
}

/// The files directly in a directory, by name.
pub fn in_directory(dir: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter_map(move |(path, text)| {
        let name = path.strip_prefix(dir)?.strip_prefix('/')?;
        (!name.contains('/')).then_some((name, *text))
    })
}

/// The name of a built-in file in messages and records: `built-in:baselines/als.yaml`.
pub fn shown(path: &Path) -> PathBuf {
    format!("{PREFIX}{}", path.display()).into()
}

/// The path in the repository of a file with such a name.
pub fn path_of(shown: &Path) -> Option<PathBuf> {
    Some(shown.to_str()?.strip_prefix(PREFIX)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_files_are_found_by_their_paths() {
        let als = find(Path::new("baselines/als.yaml")).unwrap();
        assert!(als.contains("model: als") && find(Path::new("./baselines/als.yaml")) == Some(als));
        assert!(find(Path::new("baselines/published/ebrat2025-table1.yaml")).is_some());
        assert_eq!(find(Path::new("baselines/none.yaml")), None);
        assert_eq!(find(Path::new("../baselines/als.yaml")), None);
        let names: Vec<&str> = in_directory("datasets/sample").map(|(name, _)| name).collect();
        assert_eq!(names, ["items.csv", "ratings.csv"]);
        assert!(in_directory("datasets").any(|(name, _)| name == "ml-100k.yaml"));
        let path = Path::new("baselines/als.yaml");
        assert_eq!(path_of(&shown(path)).as_deref(), Some(path));
    }
}
