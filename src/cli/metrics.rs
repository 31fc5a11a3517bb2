//! Metrics on the command line, as papers write them: `--metric nDCG@10`.

use super::CliError;
use crate::{base::terminal::tell, ranking::Spelling};

/// The names of metrics, and the cutoff behind `@`, which must be that of `-k`. What is no spelling stays as it is: the
/// command knows which metrics an experiment has.
pub fn spelled(
    given: &[String],
    k: Option<usize>,
) -> Result<(Vec<String>, Option<usize>), CliError> {
    let (mut names, mut read) = (Vec::new(), Vec::new());
    for text in given {
        let Ok(of) = text.parse::<Spelling>() else {
            names.push(text.clone());
            continue;
        };
        if let Some(note) = &of.note {
            tell!("note: {note}");
        }
        let name = of.metric.name().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
        read.push(of);
    }
    let cutoffs = Spelling::cutoffs(&read, k.as_slice()).map_err(CliError::Usage)?;
    match &cutoffs[..] {
        [] => Ok((names, None)),
        [k] => Ok((names, Some(*k))),
        several => Err(CliError::Usage(format!(
            "the metrics have several cutoffs: {}\n  = help: give one, or run the command once for each",
            several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ))),
    }
}
