//! The metadata of a bundle: RO-Crate 1.1, <https://www.researchobject.org/ro-crate/specification/1.1/>.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{About, CASSETTE, EXPERIMENT, REPORT, content, readme};
use crate::base::files::FileError;

/// Its name, which the specification sets.
pub const FILE: &str = "ro-crate-metadata.json";
const SPECIFICATION: &str = "https://w3id.org/ro/crate/1.1";

/// The metadata of the files of a bundle.
pub fn metadata(about: &About, root: &Path, files: &[String]) -> Result<Value, FileError> {
    let record = about.record;
    let mut graph = vec![json!({
        "@id": FILE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": SPECIFICATION},
    })];
    let mut parts = Vec::new();
    let mut described = Vec::new();
    for name in files.iter().filter(|name| *name != FILE) {
        let bytes = content(root, name)?;
        let hash: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push(json!({"@id": id(name)}));
        let mut file = json!({
            "@id": id(name),
            "@type": "File",
            "name": name,
            "contentSize": bytes.len().to_string(),
            "encodingFormat": format_of(name),
            "sha256": hash,
        });
        if let Some(what) = what(name, about) {
            file["description"] = json!(what);
        }
        described.push(file);
    }
    let describe = match record.describe.is_empty() {
        true => format!("Results of the experiment {}", record.name),
        false => record.describe.clone(),
    };
    let (licence, of_licence) = licence(about.licence);
    let data = if about.with_data { "with" } else { "without" };
    graph.push(json!({
        "@id": "./",
        "@type": "Dataset",
        "name": record.name,
        "description": format!("{describe} (a bundle of assay, {data} data)"),
        "datePublished": about.date,
        "license": {"@id": licence},
        "hasPart": parts,
        "mentions": {"@id": "#run"},
    }));
    graph.push(of_licence);
    graph.push(json!({
        "@id": "#assay",
        "@type": "SoftwareApplication",
        "name": "assay",
        "url": "https://pypi.org/project/rec-assay/",
        "version": about.run.map_or(env!("CARGO_PKG_VERSION"), |run| run.machine.assay.as_str()),
    }));
    graph.push(json!({
        "@id": "#run",
        "@type": "CreateAction",
        "name": format!("assay run {}", record.path),
        "instrument": {"@id": "#assay"},
        "object": {"@id": id(&record.path)},
        "result": {"@id": id(&format!("{REPORT}/results.csv"))},
    }));
    graph.extend(described);
    // The context of the specification has no `sha256`.
    let context =
        json!([format!("{SPECIFICATION}/context"), {"sha256": "https://schema.org/sha256"}]);
    Ok(json!({"@context": context, "@graph": graph}))
}

/// The licence's id, and what it is.
fn licence(of: Option<&str>) -> (String, Value) {
    let (id, name, about) = match of {
        Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
            (url.to_owned(), url, "The licence of this bundle.")
        }
        Some(name) => ("#licence".to_owned(), name, "The licence of this bundle."),
        None => (
            "#licence".to_owned(),
            "No licence stated",
            "The authors of this bundle state no licence. Data sets have licences of their own.",
        ),
    };
    let entity = json!({"@id": id, "@type": "CreativeWork", "name": name, "description": about});
    (id, entity)
}

/// A path as a URI reference.
fn id(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./~+=".contains(&byte);
    name.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

fn format_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "json" => "application/json",
        "csv" => "text/csv",
        "md" => "text/markdown",
        "html" => "text/html",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "pdf" => "application/pdf",
        "tex" => "application/x-tex",
        "yaml" | "yml" => "application/yaml",
        "parquet" => "application/vnd.apache.parquet",
        "gz" => "application/gzip",
        _ => "application/octet-stream",
    }
}

fn what(name: &str, about: &About) -> Option<&'static str> {
    if name == about.record.path {
        return Some("the experiment");
    }
    if name == CASSETTE {
        return Some("requests to language models, and their responses");
    }
    if name == readme::FILE {
        return Some("what is in the bundle, and how to check it");
    }
    if name.starts_with(EXPERIMENT) {
        return Some("a file that the experiment includes");
    }
    let end = name.rsplit('/').next().unwrap_or_default();
    match (name, end) {
        (_, "record.json") => Some("settings, inputs, checksums and time of a step"),
        (_, "experiment.json") => Some("the record from which results are read"),
        (_, "run.json") => Some("the record of the run"),
        (_, "means.json") => Some("the means of the run"),
        _ if name.contains("/steps/predict/") || name.contains("/steps/rerank/") => {
            Some("rankings")
        }
        _ if name.contains("/steps/evaluate/") => Some("values of metrics, by user and as means"),
        _ if name == format!("{REPORT}/index.html") => Some("the report"),
        _ if name == format!("{REPORT}/results.csv") => Some("every value, one a row"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uri_references() {
        assert_eq!(id("experiment/a b%é.yaml"), "experiment/a%20b%25%C3%A9.yaml");
        assert_eq!(id("report/index.html"), "report/index.html");
    }
}
