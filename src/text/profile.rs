//! The profile schema `unified-v1`: Markdown with Overview, Attributes (Genre, Tags), Description and
//! Dislikes, after the published profiles of Ebrat et al. 2025.

use serde::{Deserialize, Serialize};

/// A profile of an item or of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// An item's title; users have none.
    pub title: Option<String>,
    pub overview: String,
    pub genres: Vec<String>,
    pub tags: Vec<String>,
    pub description: String,
    pub dislikes: Vec<String>,
}

/// A repair of a common mistake in a generated profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// The whole response is in a code fence.
    CodeFence,
    /// There is text before the first heading.
    TextBefore,
    /// A heading is bold text or has another level.
    Heading,
    /// Genres or tags are not `- **Genre**: a, b`.
    Attributes,
    /// A list contains an entry twice.
    Repeated,
    /// A section that is not in the schema was removed.
    UnknownSection,
}

impl Repair {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::CodeFence => "code-fence",
            Self::TextBefore => "text-before",
            Self::Heading => "heading",
            Self::Attributes => "attributes",
            Self::Repeated => "repeated",
            Self::UnknownSection => "unknown-section",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Overview,
    Attributes,
    Genres,
    Tags,
    Description,
    Dislikes,
    Unknown,
}

/// Maximum length of a list: some models do not stop.
const LONGEST_LIST: usize = 200;

impl Profile {
    /// Reads a generated profile and repairs common mistakes; an error names the missing parts.
    pub fn parse(text: &str) -> Result<(Self, Vec<Repair>), String> {
        let mut repairs = Vec::new();
        let mut note = |repair: Repair| {
            if !repairs.contains(&repair) {
                repairs.push(repair);
            }
        };
        let text = text.trim();
        let text = match unfenced(text) {
            Some(inner) => {
                note(Repair::CodeFence);
                inner
            }
            None => text,
        };
        let mut profile = Self::default();
        let mut seen = Vec::new();
        let mut section: Option<Section> = None;
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            if let Some((level, name)) = heading(line) {
                let named = section_of(name);
                match named {
                    Some(found) => {
                        if level != Some(2) {
                            note(Repair::Heading);
                        }
                        seen.push(found);
                        section = Some(found);
                        continue;
                    }
                    None if level == Some(1) && profile.title.is_none() => {
                        profile.title = Some(name.to_owned());
                        continue;
                    }
                    None if level.is_some() => {
                        note(Repair::UnknownSection);
                        section = Some(Section::Unknown);
                        continue;
                    }
                    None => {}
                }
            }
            if let Some((label, rest)) = labelled(line) {
                let list = match section_of(label) {
                    Some(Section::Genres) => Some((Section::Genres, &mut profile.genres)),
                    Some(Section::Tags) => Some((Section::Tags, &mut profile.tags)),
                    _ => None,
                };
                if let Some((found, list)) = list {
                    if section != Some(Section::Attributes)
                        && !matches!(section, Some(Section::Genres | Section::Tags))
                    {
                        note(Repair::Attributes);
                    }
                    seen.push(found);
                    list.extend(entries(rest));
                    section = Some(found);
                    continue;
                }
            }
            let join = |to: &mut String, line: &str| {
                if !to.is_empty() {
                    to.push(' ');
                }
                to.push_str(line);
            };
            match section {
                None => note(Repair::TextBefore),
                Some(Section::Overview) => join(&mut profile.overview, line),
                Some(Section::Description) => join(&mut profile.description, line),
                Some(Section::Genres) => {
                    note(Repair::Attributes);
                    profile.genres.extend(entries(line));
                }
                Some(Section::Tags) => {
                    note(Repair::Attributes);
                    profile.tags.extend(entries(line));
                }
                Some(Section::Dislikes) => profile.dislikes.extend(entries(line)),
                Some(Section::Attributes) => note(Repair::Attributes),
                Some(Section::Unknown) => {}
            }
        }
        for list in [&mut profile.genres, &mut profile.tags, &mut profile.dislikes] {
            let before = list.len();
            let mut known = std::collections::HashSet::new();
            list.retain(|entry| known.insert(entry.to_lowercase()));
            if list.len() < before {
                note(Repair::Repeated);
            }
            list.truncate(LONGEST_LIST);
        }
        let missing: Vec<&str> = [
            ("Overview", profile.overview.is_empty()),
            ("Attributes: Genre", profile.genres.is_empty()),
            ("Attributes: Tags", profile.tags.is_empty()),
            ("Description", profile.description.is_empty()),
            ("Dislikes", !seen.contains(&Section::Dislikes)),
        ]
        .into_iter()
        .filter_map(|(name, missing)| missing.then_some(name))
        .collect();
        match missing.is_empty() {
            true => Ok((profile, repairs)),
            false => Err(format!("nothing was found for {}", missing.join(", "))),
        }
    }

    /// The profile as Markdown in the schema.
    pub fn markdown(&self) -> String {
        let title = self.title.as_ref().map(|title| format!("# {title}\n\n")).unwrap_or_default();
        format!(
            "{title}## Overview\n{}\n\n## Attributes\n- **Genre**: {}\n- **Tags**: {}\n\n## \
             Description\n{}\n\n## Dislikes:\n{}\n",
            self.overview,
            self.genres.join(", "),
            self.tags.join(", "),
            self.description,
            self.dislikes.join(", ")
        )
    }
}

/// The content of a text that is one code fence.
fn unfenced(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("```")?;
    let (_, inner) = inner.split_once('\n')?;
    let end = inner.rfind("```")?;
    Some(inner[..end].trim())
}

/// `## Name`, `**Name**` or `Name:` alone on its line: the level, if it has one, and the name.
fn heading(line: &str) -> Option<(Option<usize>, &str)> {
    let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
    if (1..=6).contains(&hashes) {
        let name = line[hashes..].trim().trim_matches('*').trim_end_matches(':');
        return Some((Some(hashes), name.trim_matches('*').trim()));
    }
    let bold = line.strip_prefix("**").and_then(|rest| {
        let rest = rest.trim_end_matches(':').trim_end();
        Some(rest.strip_suffix("**")?.trim_end_matches(':').trim())
    });
    if let Some(name) = bold {
        return Some((None, name));
    }
    line.strip_suffix(':').filter(|name| section_of(name).is_some()).map(|name| (None, name.trim()))
}

fn section_of(name: &str) -> Option<Section> {
    let name: String =
        name.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    Some(match name.as_str() {
        "overview" | "summary" => Section::Overview,
        "attributes" | "attribute" => Section::Attributes,
        "genre" | "genres" => Section::Genres,
        "tags" | "tag" | "keywords" => Section::Tags,
        "description" => Section::Description,
        "dislikes" | "dislike" | "userdislikes" => Section::Dislikes,
        _ => return None,
    })
}

/// `- **Genre**: a, b` and similar lines.
fn labelled(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches(['-', '*', '•', ' ']);
    let (label, rest) = line.split_once(':')?;
    Some((label.trim_matches(['*', ' ']), rest.trim_start_matches(['*', ' '])))
}

/// Entries of a list on one line, separated by commas or semicolons outside of brackets, without bullets and dots.
fn entries(line: &str) -> Vec<String> {
    let line = line.trim_start_matches(['-', '*', '•', ' ']);
    let (mut entries, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in line.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' | ';' if depth == 0 => {
                entries.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    entries.push(&line[start..]);
    let clean = |entry: &str| {
        entry.trim().trim_matches(['*', '"', '`']).trim_end_matches('.').trim().to_owned()
    };
    entries.into_iter().map(clean).filter(|entry| !entry.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = "# Heat\n\n## Overview\nA thief and a detective.\n\n## Attributes\n\
        - **Genre**: Crime, Drama\n- **Tags**: Heist, Police (LAPD, 1990s)\n\n## Description\n\
        Slow and tense.\n\n## Dislikes:\nComedy, Musical\n";

    #[test]
    fn a_profile_in_the_schema_is_read_unchanged() {
        let (profile, repairs) = Profile::parse(PLAIN).unwrap();
        assert_eq!(repairs, []);
        assert_eq!(profile.tags, ["Heist", "Police (LAPD, 1990s)"]);
        assert_eq!(profile.markdown(), PLAIN);
    }

    #[test]
    fn common_mistakes_are_repaired_and_named() {
        let written = "Sure, here it is:\n**Overview:**\nA thief.\n### Attributes\nGenres: Crime; \
            crime\n- **Tags**:\n  - Heist\n  - \"Police\"\n## Trivia\nShot in LA.\n## Description\n\
            Slow.\n## Dislikes\n- Comedy\n- Musical.";
        let fenced = format!("```markdown\n{written}\n```");
        let (profile, mut repairs) = Profile::parse(&fenced).unwrap();
        repairs.sort();
        assert_eq!(
            repairs,
            [
                Repair::CodeFence,
                Repair::TextBefore,
                Repair::Heading,
                Repair::Attributes,
                Repair::Repeated,
                Repair::UnknownSection
            ]
        );
        assert_eq!(profile.genres, ["Crime"]);
        assert_eq!(profile.tags, ["Heist", "Police"]);
        assert_eq!(profile.dislikes, ["Comedy", "Musical"]);
        assert_eq!(profile.description, "Slow.");
    }

    #[test]
    fn missing_parts_are_named() {
        let error = Profile::parse("I cannot help with that.").unwrap_err();
        assert!(error.contains("Overview") && error.contains("Dislikes"), "{error}");
        assert!(Profile::parse("").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(?s)[#*:`, \n\\-a-eGOTDé]{0,200}") {
            let _ = Profile::parse(&text);
        }
    }
}
