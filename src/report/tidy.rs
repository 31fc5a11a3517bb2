//! The tidy long table: one row a value.

use crate::analysis::ResultRow;

/// Comma-separated, with a header; numbers in full precision, nothing where there is no value.
pub fn csv(rows: &[ResultRow]) -> String {
    let mut text = String::from(
        "experiment,system,fold,seed,protocol,convention,slice,metric,k,value,n_users,n_pairs,sd_folds,sd_seeds,fingerprint,low,high,users,tied_users,users_without_history,random_ties\n",
    );
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for row in rows {
        let fields = [
            quoted(&row.experiment),
            quoted(&row.system),
            quoted(&row.fold),
            row.seed.clone(),
            row.protocol.clone(),
            row.convention.clone(),
            quoted(&row.slice),
            row.metric.clone(),
            row.k.to_string(),
            number(row.value),
            row.n_users.to_string(),
            row.n_pairs.to_string(),
            number(row.sd_folds),
            number(row.sd_seeds),
            row.fingerprint.clone(),
            number(row.low),
            number(row.high),
            row.caveats.users.to_string(),
            row.caveats.tied_users.to_string(),
            row.caveats.users_without_history.to_string(),
            number(row.caveats.random_ties),
        ];
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

/// A JSON array with one object a line.
pub fn json(rows: &[ResultRow]) -> serde_json::Result<String> {
    let lines: Vec<String> = rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// System names may hold commas: `als[factors=32,alpha=1]`.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
