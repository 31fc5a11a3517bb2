//! `assay compare --across`

use std::path::Path;

use comfy_table::CellAlignment;
use serde_json::json;

use super::{Compare, sides::Side, text::p_text};
use crate::{
    analysis::{ALPHA, Across, Block, MEAN},
    base::{
        exit::Exit, file_names::file_name, output::OutputDir, terminal::tell, text::plain_table,
    },
    cli::{CliError, print, print_json, results::warn_of_missing},
    report::{Figure, critical_difference},
};

/// Over fewer data sets the χ² distribution is a rough one (Demšar 2006: over 10 data sets and over 5 systems).
const FEW_BLOCKS: usize = 11;

impl Compare {
    /// Ranks systems over the data sets of several experiments.
    pub fn over_data_sets(&self) -> Result<Exit, CliError> {
        if let Some(fold) = self.fold.as_ref().filter(|fold| *fold != MEAN) {
            return Err(CliError::Usage(format!(
                "--fold {fold} with --across: data sets are compared by their means over folds"
            )));
        }
        let sides = self.sides()?;
        let asked = self.asked(&sides[0].record)?;
        let mut tests: Vec<Across> = Vec::new();
        for slice in &asked.slices {
            for key in &asked.keys {
                let of = |side: &Side| Block::of(&side.record, &side.collected, key, slice);
                let blocks: Vec<Block> = sides.iter().flat_map(of).collect();
                let is_asked = |name: &str| {
                    self.systems.is_empty() || self.systems.iter().any(|of| of == name)
                };
                let test = Across::new((key, slice), &blocks, &is_asked, ALPHA);
                tests.push(test.map_err(|why| {
                    CliError::NoResults(format!(
                        "{}@{} under {} and {}, slice {slice}: {why}",
                        key.metric, key.k, key.protocol, key.convention
                    ))
                })?);
            }
        }
        if let Some(dir) = &self.figures {
            write_figures(dir, &tests, self.overwrite)?;
        }
        match self.json {
            true => print_json(&json!({"tests": tests}))?,
            false => {
                print(&tests.iter().map(text).collect::<Vec<_>>().join("\n"))?;
            }
        }
        let exits: Vec<Exit> = sides.iter().map(|side| warn_of_missing(&side.collected)).collect();
        Ok(exits.into_iter().find(|exit| *exit != Exit::Pass).unwrap_or(Exit::Pass))
    }
}

/// A diagram of each test; the first slice has the plain name.
fn write_figures(dir: &Path, tests: &[Across], overwrite: bool) -> Result<(), CliError> {
    let figures: Vec<Figure> = tests.iter().map(critical_difference).collect();
    let Some(first) = figures.first() else { return Ok(()) };
    let first = format!("{}.svg", first.name);
    let mut out = OutputDir::open(dir, &first, overwrite)?;
    let mut names: Vec<String> = Vec::new();
    for (test, figure) in tests.iter().zip(&figures) {
        let mut name = figure.name.clone();
        if names.contains(&name) {
            let of = &test.key;
            name = file_name(&format!("{name}-{}-{}-{}", of.protocol, of.convention, test.slice));
        }
        out.write(&format!("{name}.svg"), figure.svg().as_bytes())?;
        out.write(&format!("{name}.pdf"), &figure.pdf()?)?;
        let path = out.write(&format!("{name}.png"), &figure.png())?;
        tell!("{}: {}", path.with_extension("svg").display(), figure.caption);
        names.push(name);
    }
    Ok(())
}

fn text(of: &Across) -> String {
    let Across { key, slice, data, systems, friedman, critical_difference: cd, .. } = of;
    let mut text = format!(
        "{}@{}, {}, {}, slice {slice}: {} systems over {} data sets\n\n",
        key.metric,
        key.k,
        key.protocol,
        key.convention,
        systems.len(),
        data.len()
    );
    let mut table = plain_table();
    let head = ["system".to_owned(), "average rank".into()].into_iter().chain(data.iter().cloned());
    table.set_header(head);
    for (name, rank) in cd.systems.iter().zip(&cd.ranks) {
        let at = systems.iter().position(|of| of == name).unwrap_or_default();
        let mut row = vec![name.clone(), format!("{rank:.2}")];
        row.extend(of.values.iter().map(|values| format!("{:.4}", values[at])));
        table.add_row(row);
    }
    for at in 1..data.len() + 2 {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().for_each(|line| text += &format!("{}\n", line.trim_end()));
    text += &format!(
        "Friedman: χ² = {:.3} with {} degrees of freedom, p {}.",
        friedman.chi_square,
        systems.len() - 1,
        equals(friedman.p)
    );
    match (friedman.f, friedman.p_f) {
        (Some(f), Some(p)) => {
            text += &format!(" Iman and Davenport: F = {f:.3}, p {}.\n", equals(p));
        }
        _ => text += " All data sets give the same order.\n",
    }
    if let Some(p) = friedman.p_exact {
        text += &format!(
            "Exact, by all orders of the ranks: p {}. The other p are approximations for many data sets.\n",
            equals(p)
        );
    }
    text += &format!(
        "Nemenyi: systems whose average ranks differ by more than {:.3} are told apart (α = {:.2}, for all pairs \
         together).\n",
        cd.cd, of.alpha
    );
    for (first, last) in &cd.groups {
        text += &format!("Not told apart: {}.\n", cd.systems[*first..=*last].join(", "));
    }
    if cd.groups.is_empty() {
        text += "All systems are told apart.\n";
    }
    if !of.left_out.is_empty() {
        text += &format!("Left out, as not all data sets have them: {}.\n", of.left_out.join(", "));
    }
    if let Some(least) = of.least_p().filter(|p| *p >= of.alpha) {
        text += &format!(
            "So few data sets cannot give less than p = {}, whatever the ranks.\n",
            p_text(least)
        );
    }
    if data.len() < FEW_BLOCKS && friedman.p_exact.is_none() {
        text += "The distributions of both tests are approximations for more than 10 data sets.\n";
    }
    text
}

/// `= .0123`, or `< .0001`.
fn equals(p: f64) -> String {
    let text = p_text(p);
    if text.starts_with('<') { text } else { format!("= {text}") }
}
