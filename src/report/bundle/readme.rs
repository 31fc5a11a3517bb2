//! The README of a bundle.

use std::path::Path;

use super::{About, CASSETTE, EXPERIMENT, REPORT, WORKSPACE};
use crate::base::{built_in, terminal::on_one_line, text::shell_word};

/// Its name in the archive.
pub const FILE: &str = "README.md";

pub fn text(about: &About) -> String {
    let record = about.record;
    let name = shell_word(&on_one_line(record.slot()));
    let title = on_one_line(&record.name);
    let describe = match record.describe.is_empty() {
        true => String::new(),
        false => format!("{}\n\n", on_one_line(&record.describe)),
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut content = vec![
        (format!("`{REPORT}/index.html`"), "the report: open it in a browser; it loads nothing".to_owned()),
        (format!("`{REPORT}/results.csv`"), "every value in full precision".into()),
        (format!("`{REPORT}/tables/`, `{REPORT}/figures/`"), "the tables and figures".into()),
        (format!("`{EXPERIMENT}/`"), "the experiment file, and the files that it includes".into()),
        (
            format!("`{WORKSPACE}/`"),
            "rankings (`steps/predict`, `steps/rerank`), values of every user (`steps/evaluate`), and the record of \
             every step: settings, inputs, checksums, warnings, time"
                .into(),
        ),
    ];
    if about.responses > 0 {
        content.push((
            format!("`{CASSETTE}`"),
            format!(
                "the {} requests to language models and their responses; prompts may quote titles and ratings",
                about.responses
            ),
        ));
    }
    content.push((
        "`ro-crate-metadata.json`".into(),
        "what each file is, for programs (RO-Crate 1.1)".into(),
    ));
    let rows: String =
        content.iter().map(|(file, what)| format!("| {file} | {what} |\n")).collect();
    let import = match about.responses {
        0 => String::new(),
        _ => format!(
            "assay cache import {CASSETTE} --workspace {WORKSPACE}   # for the checks of language models\n"
        ),
    };
    let omitted = match about.with_data {
        true => "It has the folds with all interactions, fitted models and texts.".to_owned(),
        false => "It has no data: no interactions, no folds, no fitted models, no texts that were made of interactions. \
                  Checks of `assay audit` that need folds say that they were not made. The record of each step has the \
                  checksums of its files, so whoever has the data can compare."
            .to_owned(),
    };
    let anonymous = match about.is_anonymous {
        true => {
            "\nNames of machines and users, absolute paths, e-mail addresses and addresses and revisions of \
                 repositories were removed; records were sealed again after that.\n"
        }
        false => "",
    };
    let files: String = record
        .sources
        .iter()
        .map(|(path, _)| match built_in::path_of(Path::new(path)) {
            Some(path) => format!("- `{}` comes with assay\n", path.display()),
            None => format!("- `{path}`\n"),
        })
        .collect();
    let inputs: String = about
        .run
        .iter()
        .flat_map(|run| &run.files)
        .map(|file| format!("- {}: BLAKE3 `{}`\n", on_one_line(&file.what), file.digest))
        .collect();
    let inputs = match inputs.is_empty() {
        true => String::new(),
        false => format!("\nTo run it again, these are needed, too:\n\n{inputs}"),
    };
    format!(
        "# {title}\n\n{describe}Results of an experiment with [assay](https://pypi.org/project/rec-assay/) {version}, of \
         {date}.\n\n| file | content |\n| --- | --- |\n{rows}\n{omitted}\n{anonymous}\n## Check it\n\nUnpack it into a \
         directory of its own (`unzip FILE.zip -d bundle`), and run these commands there. They read the files of this \
         directory alone; none needs the data or the network.\n\n```\n{import}assay results {name} --workspace {WORKSPACE}\n\
         assay compare {name} --workspace {WORKSPACE}\nassay audit {name} --workspace {WORKSPACE}\nassay report {name} \
         --workspace {WORKSPACE} --check {REPORT}   # are tables and figures those of the results?\nassay report {name} \
         --workspace {WORKSPACE} --out again\n```\n\n`assay run {path} --workspace other` runs it again, with the data. \
         Read the experiment file first: it names what is read and run.\n\n## Files of the experiment\n\n{files}{inputs}",
        date = about.date,
        path = shell_word(&on_one_line(&record.path)),
    )
}
