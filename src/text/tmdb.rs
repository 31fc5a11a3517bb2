//! Overviews from The Movie Database.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GenerationContext, ItemFacts, TextError, TmdbStats};
use crate::{
    data::Ids,
    llm::{EndpointSpec, Price},
};

/// Access to The Movie Database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TmdbSpec {
    /// The environment variable that holds the API read access token.
    pub key_env: String,
    /// Address of the API.
    pub base_url: String,
    /// Language of titles and overviews.
    pub language: String,
}

impl Default for TmdbSpec {
    fn default() -> Self {
        Self {
            key_env: "TMDB_API_KEY".into(),
            base_url: "https://api.themoviedb.org/3".into(),
            language: "en-US".into(),
        }
    }
}

impl TmdbSpec {
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        self.endpoint().validate()
    }

    /// The settings as an endpoint, for the same journal, limits and retries.
    pub(crate) fn endpoint(&self) -> EndpointSpec {
        EndpointSpec {
            base_url: self.base_url.clone(),
            model: "tmdb".into(),
            key_env: Some(self.key_env.clone()),
            // The limit of TMDB is about 40 requests per second.
            concurrency: 8,
            price: Some(Price { input: 0.0, output: 0.0, cached: None }),
            ..EndpointSpec::default()
        }
    }

    /// Adds missing overviews, and counts them.
    pub(super) fn fill(
        &self,
        facts: &mut [ItemFacts],
        ids: &Ids,
        context: &GenerationContext,
        responses: &mut Vec<String>,
    ) -> Result<TmdbStats, TextError> {
        (context.log)(NOTICE);
        let llm = (context.llm)()?;
        let session = llm.session("tmdb", &self.endpoint());
        let open: Vec<usize> = facts
            .iter()
            .enumerate()
            .filter(|(_, fact)| fact.overview.is_none() && fact.title.is_some())
            .map(|(at, _)| at)
            .collect();
        let found = session.each(open.len(), context.progress, &|n| {
            let fact = &facts[open[n]];
            let (title, year) = plain(fact.title.as_deref().unwrap_or_default());
            let mut query =
                vec![("query".to_owned(), title), ("language".to_owned(), self.language.clone())];
            if let Some(year) = year {
                query.push(("year".to_owned(), year.to_string()));
            }
            let about = format!("overview of item {}", ids.name(open[n] as u32));
            let found = session.get("/search/movie", &query, &about)?;
            let overview = found["results"][0]["overview"].as_str().unwrap_or_default().trim();
            Ok((!overview.is_empty()).then(|| overview.to_owned()))
        })?;
        let n_found = found.iter().flatten().count();
        for (at, overview) in open.iter().zip(found) {
            facts[*at].overview = overview;
        }
        responses.extend(session.tally().keys());
        Ok(TmdbStats {
            requested: open.len(),
            found: n_found,
            not_found: open.len() - n_found,
            notice: NOTICE.to_owned(),
        })
    }
}

/// The notice that the terms of TMDB require.
pub const NOTICE: &str = "This product uses the TMDB API but is not endorsed or certified by TMDB.";

/// `Postman, The (1997)` → (`The Postman`, 1997).
fn plain(title: &str) -> (String, Option<u32>) {
    let (name, year) = match title.trim_end().strip_suffix(')').and_then(|t| t.rsplit_once(" (")) {
        Some((name, year)) if year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()) => {
            (name, year.parse().ok())
        }
        _ => (title, None),
    };
    // A title in another language follows in brackets.
    let name = match name.split_once(" (") {
        Some((first, _)) => first,
        None => name,
    };
    for article in ["The", "A", "An"] {
        if let Some(rest) = name.strip_suffix(&format!(", {article}")) {
            return (format!("{article} {rest}"), year);
        }
    }
    (name.to_owned(), year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_are_moved_to_the_front_and_years_removed() {
        assert_eq!(plain("Postman, The (1997)"), ("The Postman".into(), Some(1997)));
        let french = "City of Lost Children, The (Cité des enfants perdus, La) (1995)";
        assert_eq!(plain(french), ("The City of Lost Children".into(), Some(1995)));
        assert_eq!(plain("Heat"), ("Heat".into(), None));
    }
}
