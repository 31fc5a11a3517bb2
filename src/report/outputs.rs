//! The tables and figures of a report as files: those that are declared, or the default ones.

use super::{
    Format, TableRequest, default_table,
    figures::{FigureRequest, default_figures},
};
use crate::{
    analysis::{MEAN, Request, ResultRow, later_columns},
    base::files::FileError,
    core::Workspace,
    tasks::{ExperimentRecord, FigureSpec, ReportSpec, Show, TableSpec, read_metric},
};

/// A file of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputFile {
    /// Its path below the directory of the report: `tables/main.tex`.
    pub name: String,
    pub bytes: Vec<u8>,
    /// What it shows.
    pub title: String,
}

/// Formats of a table with their endings.
const FORMATS: [(Format, &str); 4] = [
    (Format::Latex, "tex"),
    (Format::Markdown, "md"),
    (Format::Csv, "csv"),
    (Format::Json, "json"),
];

/// The file that lists the others.
const LIST: &str = "files.md";

/// Also asks for what the declared tables and figures show.
pub fn also_for_tables(request: &mut Request, experiment: &ExperimentRecord) {
    let report = &experiment.report;
    request.later.extend(later_columns(experiment, &declared_metrics(report)));
    for table in report.tables.iter().flatten().filter(|table| table.show == Show::Interval) {
        let folds = table.columns.iter().filter_map(|column| column.fold.clone());
        let own = table.fold.clone().unwrap_or_else(|| MEAN.to_owned());
        for fold in folds.chain([own]) {
            if !request.intervals.contains(&fold) {
                request.intervals.push(fold);
            }
        }
    }
}

/// The metrics with cutoffs that tables and figures name; those without are shown at the main cutoff.
fn declared_metrics(report: &ReportSpec) -> Vec<(String, usize)> {
    let columns = report.tables.iter().flatten().flat_map(|table| &table.columns);
    let of_tables = columns.flat_map(|column| &column.metrics);
    let of_figures = report.figures.iter().flatten().filter_map(|figure| figure.metric.as_ref());
    let read = of_tables.chain(of_figures).filter_map(|text| read_metric(text).ok());
    read.filter_map(|(name, k)| Some((name, k?))).collect()
}

/// The files of the declared tables and figures, or of the default ones, and a list of them.
pub fn paper_files(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    rows: &[ResultRow],
) -> Result<Vec<OutputFile>, FileError> {
    let report = &experiment.report;
    let mut files = Vec::new();
    let mut list = String::from("# Tables and figures\n\n| file | content |\n| --- | --- |\n");
    let line = |name: &str, endings: &[&str], title: &str| {
        let links: Vec<String> =
            endings.iter().map(|ending| format!("[{ending}]({name}.{ending})")).collect();
        let title = super::table::plain_markdown(title);
        format!("| {name} ({}) | {title} |\n", links.join(", "))
    };
    let default: Vec<TableSpec>;
    let tables = match &report.tables {
        Some(tables) => tables,
        None => {
            default = vec![default_table(rows)];
            &default
        }
    };
    for spec in tables {
        let request = TableRequest { spec, report, experiment, workspace, rows };
        let Some(table) = request.table()? else { continue };
        let name = format!("tables/{}", spec.name);
        let title = table.caption.clone().unwrap_or_else(|| table.default_caption());
        for (format, ending) in FORMATS {
            files.push(OutputFile {
                name: format!("{name}.{ending}"),
                bytes: table.write(format).into_bytes(),
                title: title.clone(),
            });
        }
        list += &line(&name, &FORMATS.map(|(_, ending)| ending), &title);
    }
    let default: Vec<FigureSpec>;
    let figures = match &report.figures {
        Some(figures) => figures,
        None => {
            default = default_figures(experiment);
            &default
        }
    };
    for spec in figures {
        let request = FigureRequest { spec, report, experiment, workspace, rows };
        let Some(figure) = request.figure()? else { continue };
        let name = format!("figures/{}", spec.name);
        let title = figure.caption.clone();
        let of = |ending: &str, bytes: Vec<u8>| OutputFile {
            name: format!("{name}.{ending}"),
            bytes,
            title: title.clone(),
        };
        files.push(of("svg", figure.svg().into_bytes()));
        files.push(of("png", figure.png()));
        files.push(of("pdf", figure.pdf()?));
        list += &line(&name, &["svg", "png", "pdf"], &title);
    }
    if !files.is_empty() {
        let title = "a list of the tables and figures".to_owned();
        files.push(OutputFile { name: LIST.into(), bytes: list.into_bytes(), title });
    }
    Ok(files)
}

/// A file that is not what the results produce.
#[derive(Clone, Debug, PartialEq)]
pub struct Differs {
    pub path: String,
    /// What differs, in a sentence.
    pub how: String,
}

/// Compares files, by name or the end of their path, with what the results produce. Returns the names of those that
/// were compared, and those that differ.
pub fn compare_files(
    produced: &[OutputFile],
    found: &[(String, Vec<u8>)],
) -> (Vec<String>, Vec<Differs>) {
    let (mut compared, mut differs) = (Vec::new(), Vec::new());
    for (path, bytes) in found {
        let base = path.rsplit('/').next().unwrap_or(path);
        let is_whole =
            |file: &&OutputFile| path == &file.name || path.ends_with(&format!("/{}", file.name));
        let is_named = |file: &&OutputFile| file.name.rsplit('/').next() == Some(base);
        let file = produced.iter().find(is_whole).or_else(|| produced.iter().find(is_named));
        let Some(file) = file.filter(|file| file.name != LIST) else { continue };
        compared.push(path.clone());
        if let Some(how) = difference(bytes, &file.bytes) {
            differs.push(Differs { path: path.clone(), how });
        }
    }
    (compared, differs)
}

/// What differs between a file and what is produced; none if nothing does. Ends of lines do not count.
fn difference(found: &[u8], produced: &[u8]) -> Option<String> {
    if found == produced {
        return None;
    }
    let texts = std::str::from_utf8(found).ok().zip(std::str::from_utf8(produced).ok());
    let Some((found, produced)) = texts else {
        return Some(format!(
            "the image differs ({} bytes, and {} from the results)",
            found.len(),
            produced.len()
        ));
    };
    let (a, b): (Vec<&str>, Vec<&str>) = (found.lines().collect(), produced.lines().collect());
    let at = (0..a.len().max(b.len())).find(|at| a.get(*at) != b.get(*at))?;
    let line = |lines: &[&str]| {
        let text = lines.get(at).map(|line| line.trim());
        text.map_or("nothing".into(), |text| format!("`{}`", window(text, &a, &b, at)))
    };
    Some(format!("line {}: found {}, the results give {}", at + 1, line(&a), line(&b)))
}

/// The part of a line around the first difference.
fn window(line: &str, a: &[&str], b: &[&str], at: usize) -> String {
    const SHOWN: usize = 70;
    let letters = |lines: &[&str]| -> Vec<char> {
        lines.get(at).map(|line| line.trim().chars().collect()).unwrap_or_default()
    };
    let (a, b) = (letters(a), letters(b));
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(SHOWN / 2);
    let text: String = line.chars().skip(from).take(SHOWN).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if line.chars().count() > from + SHOWN { "…" } else { "" };
    format!("{before}{text}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_different_line_is_named() {
        let file = |name: &str, text: &str| OutputFile {
            name: name.into(),
            bytes: text.as_bytes().to_vec(),
            title: String::new(),
        };
        let produced =
            [file("tables/main.tex", "a\nals & 0.2146\n"), file("figures/k.png", "\u{0}")];
        let found = |path: &str, text: &[u8]| (path.to_owned(), text.to_vec());
        let of = |all: &[(String, Vec<u8>)]| compare_files(&produced, all);
        assert_eq!(of(&[found("paper/main.tex", b"a\r\nals & 0.2146\r\n")]).1, []);
        let (compared, differs) =
            of(&[found("main.tex", b"a\nals & 0.2246\n"), found("x.tex", b"")]);
        assert_eq!(compared, ["main.tex"]);
        assert_eq!(differs[0].how, "line 2: found `als & 0.2246`, the results give `als & 0.2146`");
        // The list of files is not compared, and is not taken for a table of its name.
        let named = [file("tables/files.md", "a\n"), file(LIST, "list\n")];
        let both = [found("tables/files.md", b"a\n"), found("files.md", b"list\n")];
        assert_eq!(compare_files(&named, &both), (vec!["tables/files.md".to_owned()], vec![]));
        assert!(of(&[found("k.png", &[255, 1])]).1[0].how.contains("image"));
        assert!(of(&[found("main.tex", b"a\n")]).1[0].how.contains("found nothing"));
    }
}
