//! The figures of a report on the page: those that the experiment declares, or the default ones.

use serde::Serialize;

use super::Source;
use crate::{
    analysis::MEAN,
    base::text::distinct,
    report::{OutputFile, default_figures, metric_against_k},
    tasks::{FigureKind, FigureSpec},
};

/// A figure with its words.
#[derive(Clone, Serialize)]
pub struct Figure {
    pub place: Place,
    /// The name of its file, without the ending.
    pub name: String,
    pub title: String,
    /// What it shows, for those who do not see it.
    pub alt: String,
    pub svg: String,
}

/// The section that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    Results,
    Training,
    LanguageModels,
}

/// The figures among the files of a report.
pub fn figures(source: &Source, files: &[OutputFile]) -> Vec<Figure> {
    let default: Vec<FigureSpec>;
    let specs = match &source.experiment.report.figures {
        Some(specs) => specs,
        None => {
            default = default_figures(source.experiment);
            &default
        }
    };
    let figures = specs.iter().filter_map(|spec| {
        let name = format!("figures/{}.svg", spec.name);
        let file = files.iter().find(|file| file.name == name)?;
        Some(Figure {
            place: match spec.kind {
                FigureKind::Training => Place::Training,
                FigureKind::Reranking | FigureKind::Cost => Place::LanguageModels,
                _ => Place::Results,
            },
            name: spec.name.clone(),
            title: file.title.clone(),
            alt: format!("{}; the numbers are in the tables of results", file.title),
            svg: String::from_utf8(file.bytes.clone()).ok()?,
        })
    });
    figures.collect()
}

/// nDCG and recall by cutoff, for every protocol, convention and slice: name of the file, and SVG.
pub fn by_cutoff(source: &Source) -> Vec<(String, String)> {
    let rows = &source.collected.rows;
    let of_mean = rows.iter().filter(|row| row.fold == MEAN);
    let settings =
        distinct(of_mean.map(|row| format!("{}\n{}\n{}", row.protocol, row.convention, row.slice)));
    let mut figures = Vec::new();
    for setting in &settings {
        let parts: Vec<&str> = setting.split('\n').collect();
        let [protocol, convention, slice] = parts[..] else { continue };
        for metric in ["ndcg", "recall"] {
            if let Some((svg, _)) = metric_against_k(rows, protocol, convention, slice, metric) {
                let slice = slice.replace('<', "-under-");
                figures
                    .push((format!("figures/{metric}-{protocol}-{convention}-{slice}.svg"), svg));
            }
        }
    }
    figures
}
