//! The tidy table: one row per value.

use crate::analysis::{ResultRow, SearchRow};

/// CSV with a header; numbers in full precision, empty without a value.
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

/// Trials of searches as CSV with a header.
pub fn trials_csv(rows: &[SearchRow]) -> String {
    let mut text = String::from(
        "experiment,system,fold,trial,settings,metric,k,validation,epochs,chosen,failed\n",
    );
    for row in rows {
        let fields = [
            quoted(&row.experiment),
            quoted(&row.system),
            quoted(&row.fold),
            row.trial.to_string(),
            quoted(&row.settings_text()),
            row.metric.clone(),
            row.k.to_string(),
            row.validation.map(|value| value.to_string()).unwrap_or_default(),
            row.epochs.map(|epochs| epochs.to_string()).unwrap_or_default(),
            row.chosen.to_string(),
            quoted(row.failed.as_deref().unwrap_or_default()),
        ];
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

/// A JSON array with one object per line.
pub fn json(rows: &[impl serde::Serialize]) -> serde_json::Result<String> {
    let lines: Vec<String> = rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// System names may hold commas: `als[factors=32,alpha=1]`.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// CSV without formulas: a text that starts like one is prefixed with `'`. Numbers do not change.
pub fn for_spreadsheets(csv: &str) -> String {
    let mut out = String::with_capacity(csv.len());
    let mut rest = csv;
    while !rest.is_empty() {
        let is_quoted = rest.starts_with('"');
        let end = match is_quoted {
            true => end_of_quoted(rest),
            false => rest.find([',', '\n']).unwrap_or(rest.len()),
        };
        let cell = &rest[usize::from(is_quoted)..end];
        let is_number = cell.trim_end_matches(['"', '\r']).parse::<f64>().is_ok();
        if is_quoted {
            out.push('"');
        }
        if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number {
            out.push('\'');
        }
        let next = rest[end..].chars().next().map_or(end, |c| end + c.len_utf8());
        out.push_str(&rest[usize::from(is_quoted)..next]);
        rest = &rest[next..];
    }
    out
}

/// Where a cell in quotes ends, its last quote included.
fn end_of_quoted(text: &str) -> usize {
    let mut at = 1;
    while let Some(found) = text[at..].find('"') {
        at += found + 1;
        match text[at..].strip_prefix('"') {
            Some(_) => at += 1,
            None => return at,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_like_formulas_are_changed() {
        let csv = "system,value\n=1+1,-0.5\n\"=HYPERLINK(\"\"a,b\"\")\",+3\n@x,-\nals,\n\"a,\n=b\",1e-3\n";
        assert_eq!(
            for_spreadsheets(csv),
            "system,value\n'=1+1,-0.5\n\"'=HYPERLINK(\"\"a,b\"\")\",+3\n'@x,'-\nals,\n\"a,\n=b\",1e-3\n"
        );
    }
}
