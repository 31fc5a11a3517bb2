//! Names that an experiment has, and the levels of swept settings in names of systems.

use crate::{
    base::text::distinct,
    tasks::{ExperimentRecord, names_system},
};

/// The fold name of means over folds.
const MEAN: &str = "mean";

/// Names that an experiment has, as far as results can have them.
pub struct Known {
    pub systems: Vec<String>,
    pub metrics: Vec<String>,
    pub cutoffs: Vec<String>,
    pub protocols: Vec<String>,
    pub conventions: Vec<String>,
    pub slices: Vec<String>,
    pub folds: Vec<String>,
    /// Names of swept settings.
    pub swept: Vec<String>,
}

impl Known {
    pub fn of(record: &ExperimentRecord) -> Self {
        let variants = || record.variants.iter();
        let of = || variants().flat_map(|of| &of.evaluations);
        let systems = distinct(record.trials.iter().map(|trial| trial.name.as_str()));
        let levels = systems.iter().flat_map(|name| levels(name).1);
        let swept = distinct(levels.map(|(field, _)| field));
        let mut folds = distinct(record.trials.iter().map(|trial| trial.fold.as_str()));
        folds.push(MEAN.to_owned());
        Self {
            metrics: distinct(variants().flat_map(|of| &of.metrics)),
            cutoffs: distinct(of().map(|of| of.k.to_string())),
            protocols: distinct(of().map(|of| of.protocol.as_str())),
            conventions: distinct(of().map(|of| of.convention.as_str())),
            slices: distinct(variants().flat_map(|of| &of.slices)),
            systems,
            folds,
            swept,
        }
    }

    /// The systems that a name stands for.
    pub fn systems_of(&self, name: &str) -> Vec<String> {
        self.systems.iter().filter(|full| names_system(name, full)).cloned().collect()
    }
}

/// A system's name before its levels, and its levels: `als[factors=32]` is `als` with `factors` 32. A value may have
/// commas and brackets of its own.
pub fn levels(name: &str) -> (&str, Vec<(&str, &str)>) {
    let whole = (name, Vec::new());
    let Some(start) = name.find('[') else { return whole };
    // A variant's levels stand behind those of the system: `als[factors=32][seed=1]`.
    let (mut parts, mut depth, mut from): (Vec<(usize, usize)>, i32, usize) = (vec![], 0, start);
    for (at, letter) in name[start..].char_indices().map(|(at, letter)| (start + at, letter)) {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' => {}
            _ if depth == 0 => return whole,
            _ => continue,
        }
        let is_end = depth == 0 || (letter == ',' && depth == 1);
        if letter == '[' && depth == 1 {
            from = at + 1;
        } else if is_end {
            // A comma that no `name=` follows is part of the value.
            match parts.last_mut() {
                Some(last) if !name[from..at].contains('=') && last.1 + 1 == from => last.1 = at,
                _ => parts.push((from, at)),
            }
            from = at + 1;
        }
    }
    if depth != 0 {
        return whole;
    }
    let levels = parts.into_iter().map(|(from, to)| name[from..to].split_once('='));
    let levels: Option<Vec<(&str, &str)>> = levels.collect();
    levels.map_or(whole, |levels| (&name[..start], levels))
}

/// A system's name without the level of one setting.
pub fn without_level(name: &str, field: &str) -> String {
    let (base, levels) = levels(name);
    let rest: Vec<String> = levels
        .iter()
        .filter(|(of, _)| *of != field)
        .map(|(of, level)| format!("{of}={level}"))
        .collect();
    match rest.is_empty() {
        true => base.to_owned(),
        false => format!("{base}[{}]", rest.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_from_names_of_systems() {
        assert_eq!(levels("als"), ("als", vec![]));
        assert_eq!(levels("als[factors=32,alpha=on]").1, [("factors", "32"), ("alpha", "on")]);
        assert_eq!(levels("als[a=1][seed=2]").1, [("a", "1"), ("seed", "2")]);
        assert_eq!(levels("odd [name]"), ("odd [name]", vec![]));
        assert_eq!(levels("als[a=low, usual,b=1]").1, [("a", "low, usual"), ("b", "1")]);
        assert_eq!(levels("als[f=1,a=[2,3]]").1, [("f", "1"), ("a", "[2,3]")]);
        assert_eq!(levels("als[a=2][relevant=>= 4]").1, [("a", "2"), ("relevant", ">= 4")]);
        assert_eq!(levels("als[a=1"), ("als[a=1", vec![]));
        assert_eq!(without_level("als[factors=32,alpha=on]", "factors"), "als[alpha=on]");
        assert_eq!(without_level("als[factors=32]", "factors"), "als");
    }
}
