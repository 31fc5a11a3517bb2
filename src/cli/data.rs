//! `assay data`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{CliError, print, print_json, progress::bytes_bar};
use crate::{
    base::terminal::tell,
    base::{exit::Exit, interrupt::Interrupt},
    data::{DataDirs, DataSource, DatasetStats, FileState, Manifests, fetch, sample},
};

/// List, fetch, verify and describe data sets
///
/// assay looks for data under ASSAY_DATA (default: `datasets/`).
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay data list
  assay data fetch ml-100k
  assay data verify ml-100k
  assay data stats ml-100k --json")]
pub struct Data {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the data sets that have a manifest, and where they are
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download a data set from its publisher; resumes an interrupted download
    Fetch {
        /// Name of the data set
        name: String,
    },
    /// Check the files of a data set against the hashes of its manifest; exit code 1 if one differs
    Verify {
        /// Name of the data set
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print statistics: users, items, interactions and more
    Stats {
        /// Name of the data set
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Generate the synthetic sample data set
    Sample {
        /// Directory of the files
        #[arg(long, value_name = "DIR", default_value = "datasets/sample")]
        out: PathBuf,
        /// Random seed
        #[arg(long, default_value_t = sample::SEED)]
        seed: u64,
    },
}

impl Data {
    pub fn run(self) -> Result<Exit, CliError> {
        let dirs = DataDirs::from_env();
        match self.verb {
            Verb::List { json } => list(&dirs, json),
            Verb::Fetch { name } => get(&dirs, &name),
            Verb::Verify { name, json } => verify(&dirs, &name, json),
            Verb::Stats { name, json } => stats(&dirs, name, json),
            Verb::Sample { out, seed } => {
                sample::write(seed, &out)?;
                print(&format!("written: {}\n", out.display()))?;
                Ok(Exit::Pass)
            }
        }
    }
}

fn list(dirs: &DataDirs, json: bool) -> Result<Exit, CliError> {
    let manifests = Manifests::read(dirs)?;
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["name", "title", "where"]);
    let mut list = Vec::new();
    for manifest in manifests.iter() {
        let folder = manifest.locate(dirs).ok().map(|folder| folder.display().to_string());
        let place = match (&folder, &manifest.about.archive) {
            (Some(folder), _) => folder.clone(),
            (None, Some(_)) => format!("not found: assay data fetch {}", manifest.about.name),
            (None, None) => "not found, no download".into(),
        };
        table.add_row([&manifest.about.name, &manifest.about.title, &place]);
        list.push(json!({"manifest": manifest, "folder": folder}));
    }
    match json {
        true => print_json(&list)?,
        false => print(&format!("{table}\n"))?,
    }
    for why in manifests.strays() {
        tell!("warning: no manifest, and left out: {why}");
    }
    Ok(Exit::Pass)
}

fn get(dirs: &DataDirs, name: &str) -> Result<Exit, CliError> {
    let manifests = Manifests::read(dirs)?;
    let manifest = manifests.get(name)?;
    tell!("{}\nlicence: {}", manifest.about.title, manifest.about.licence);
    if let Some(archive) = &manifest.about.archive {
        let size = archive.bytes.map(|bytes| format!(" ({:.1} MB)", bytes as f64 / 1e6));
        tell!("downloading {}{}", archive.url, size.unwrap_or_default());
    }
    let interrupt = Interrupt::default();
    let raised = interrupt.clone();
    let _ = ctrlc::set_handler(move || raised.raise());
    let bar = bytes_bar(name);
    let folder = fetch::fetch(manifest, dirs.first(), &interrupt, &|done, total| {
        bar.set_length(total.max(done));
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    print(&format!("{}\n", folder.display()))?;
    Ok(Exit::Pass)
}

fn verify(dirs: &DataDirs, name: &str, json: bool) -> Result<Exit, CliError> {
    let manifests = Manifests::read(dirs)?;
    let manifest = manifests.get(name)?;
    let checks = manifest.verify(&manifest.locate(dirs)?)?;
    if json {
        print_json(&checks)?;
    } else {
        for check in &checks {
            let state = match check.state {
                FileState::Matches => "matches",
                FileState::Differs => "DIFFERS",
                FileState::Missing => "MISSING",
                FileState::Unchecked => "unchecked: the manifest gives no hash",
            };
            let hash = check.sha256.as_deref().unwrap_or("-");
            print(&format!("{:<28} {state:<10} {hash}\n", check.file))?;
        }
    }
    let fine = |state| matches!(state, FileState::Matches | FileState::Unchecked);
    Ok(if checks.iter().all(|check| fine(check.state)) { Exit::Pass } else { Exit::GateFailed })
}

fn stats(dirs: &DataDirs, name: String, json: bool) -> Result<Exit, CliError> {
    let data = DataSource::set(name).load(dirs)?;
    let stats = DatasetStats::of(&data);
    if json {
        print_json(&stats)?;
        return Ok(Exit::Pass);
    }
    let five = |values: [usize; 5]| values.map(|value| value.to_string()).join(" · ");
    let ratings: Vec<String> =
        stats.ratings.iter().map(|(rating, count)| format!("{rating}: {count}")).collect();
    let times =
        stats.time_range.map(|(first, last)| format!("{first} to {last} (seconds since 1970)"));
    print(&format!(
        "{}\nusers        {}\nitems        {} ({} without interactions)\ninteractions {}\ndensity      \
         {:.4} %\nper user     {} (minimum, quartiles, maximum)\nper item     {}\nratings      {}\n\
         time         {}\nfolds        {}\ntitles       {}\noverviews    {}\nhash         {}\n",
        stats.name,
        stats.users,
        stats.items,
        stats.items_without_interactions,
        stats.interactions,
        100.0 * stats.density,
        five(stats.per_user),
        five(stats.per_item),
        if ratings.is_empty() { "none".into() } else { ratings.join(", ") },
        times.unwrap_or_else(|| "none".into()),
        if stats.folds.is_empty() { "none".into() } else { stats.folds.join(", ") },
        stats.with_titles,
        stats.with_overviews,
        stats.digest,
    ))?;
    for note in &stats.notes {
        print(&format!("note         {note}\n"))?;
    }
    Ok(Exit::Pass)
}
