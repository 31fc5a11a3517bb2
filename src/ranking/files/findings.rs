//! What is odd about somebody else's rankings: counted, not silently mended.

use serde::{Deserialize, Serialize};

/// Counts of oddities in one file of rankings, and how each was dealt with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// Rows of the file, and lists of users of the data set.
    pub rows: usize,
    pub lists: usize,
    /// Users that the data set does not have, and their rows; left out.
    pub unknown_users: usize,
    pub unknown_user_rows: usize,
    /// Recommended items that the data set does not have; they keep their place and are no hits.
    pub unknown_items: usize,
    pub unknown_item_rows: usize,
    /// What was decided while reading, a sentence each.
    pub notes: Vec<String>,
    /// Rows with the score −∞ or NaN, which stand for what is not recommended; left out.
    pub not_recommended: usize,
    /// Rows that repeat an item of their list, and such lists; the later row is left out.
    pub repeated_items: usize,
    pub lists_with_repeated_items: usize,
    /// Lists with two items at one rank; the higher score goes first, then the tie rule decides.
    pub lists_with_equal_ranks: usize,
    /// Lists whose ranks start at 0 (or below); only their order counts.
    pub lists_from_rank_zero: usize,
    /// Lists that the scores would put in another order than the ranks.
    pub lists_with_disagreeing_scores: usize,
    /// Lists ordered by scores of which some are equal.
    pub lists_with_equal_scores: usize,
    /// Recommendations of what the user has in training, and such lists.
    pub seen_items: usize,
    pub lists_with_seen_items: usize,
    /// Whether they were left out.
    pub seen_dropped: bool,
    /// Which fold the rankings fit, where that is known and another one.
    pub fits: Option<String>,
    /// Whether the lower rank goes first where scores are equal.
    pub ranks_break_ties: bool,
    /// Whether the file has ranks, and whether they decide the order; else scores or the rows' order.
    pub ordered_by: String,
    /// Some of the unknown, for people to look up.
    pub unknown_user_names: Vec<String>,
    pub unknown_item_names: Vec<String>,
}

impl Findings {
    /// Adds the counts of one more list.
    pub(super) fn add(mut self, other: &Self) -> Self {
        self.not_recommended += other.not_recommended;
        self.repeated_items += other.repeated_items;
        self.lists_with_repeated_items += other.lists_with_repeated_items;
        self.lists_with_equal_ranks += other.lists_with_equal_ranks;
        self.lists_from_rank_zero += other.lists_from_rank_zero;
        self.lists_with_disagreeing_scores += other.lists_with_disagreeing_scores;
        self.lists_with_equal_scores += other.lists_with_equal_scores;
        self.seen_items += other.seen_items;
        self.lists_with_seen_items += other.lists_with_seen_items;
        self
    }

    /// The share of lists without an item that the user has in training.
    pub fn avoiding_training(&self) -> f64 {
        1.0 - self.lists_with_seen_items as f64 / self.lists.max(1) as f64
    }

    /// Whether most lists repeat what the user has in training. Most tools leave that out, so the rankings may
    /// have been made for another fold.
    pub fn repeat_training(&self) -> bool {
        2 * self.lists_with_seen_items > self.lists
    }

    /// Whether that is to be said: who drops what was seen knows that it is there.
    fn may_be_of_another_fold(&self) -> bool {
        self.repeat_training() && (self.fits.is_some() || !self.seen_dropped)
    }

    /// One sentence for each oddity.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.notes.clone();
        let mut warn = |found: bool, text: String| {
            if found {
                warnings.push(text);
            }
        };
        let examples = |names: &[String]| match names {
            [] => String::new(),
            names => format!(" (e.g. {})", names.join(", ")),
        };
        warn(
            self.seen_items > 0,
            format!(
                "{} already in the user's training part, in {}: {}",
                count_are(self.seen_items, "recommended item"),
                count(self.lists_with_seen_items, "list"),
                if self.seen_dropped {
                    "left out"
                } else {
                    "kept, they take places and are no hits"
                }
            ),
        );
        warn(
            self.may_be_of_another_fold(),
            format!(
                "{:.0} % of the lists avoid training items: {}",
                100.0 * self.avoiding_training(),
                match &self.fits {
                    Some(fits) => fits,
                    None => "the rankings may be of another split or fold",
                }
            ),
        );
        warn(
            self.unknown_users > 0,
            format!(
                "{} not in the data{}: their {} left out",
                count_are(self.unknown_users, "user"),
                examples(&self.unknown_user_names),
                count_are(self.unknown_user_rows, "row"),
            ),
        );
        warn(
            self.unknown_items > 0,
            format!(
                "{} not in the data{}: {} kept, they take places and are no hits",
                count_are(self.unknown_items, "item"),
                examples(&self.unknown_item_names),
                count_are(self.unknown_item_rows, "row"),
            ),
        );
        warn(
            self.not_recommended > 0,
            format!(
                "{} the score −∞ or none, which stands for what is not recommended: left out",
                match self.not_recommended {
                    1 => "1 row has".to_owned(),
                    n => format!("{n} rows have"),
                },
            ),
        );
        warn(
            self.repeated_items > 0,
            format!(
                "{} an item of the same list, in {}: the later ones are left out",
                match self.repeated_items {
                    1 => "1 row repeats".to_owned(),
                    n => format!("{n} rows repeat"),
                },
                count(self.lists_with_repeated_items, "list")
            ),
        );
        warn(
            self.lists_with_equal_ranks > 0,
            format!(
                "{} two items at one rank: the higher score goes first, then the tie rule decides (by \
                 default the lower item id)",
                count_have(self.lists_with_equal_ranks)
            ),
        );
        warn(
            self.lists_from_rank_zero > 0,
            format!(
                "ranks start at 0 or below in {}: only their order counts",
                count(self.lists_from_rank_zero, "list")
            ),
        );
        warn(
            self.lists_with_disagreeing_scores > 0,
            format!(
                "scores and ranks disagree in {}: the {} decide",
                count(self.lists_with_disagreeing_scores, "list"),
                self.ordered_by
            ),
        );
        warn(
            self.lists_with_equal_scores > 0,
            format!(
                "{} equal scores: {} (by default the lower item id; trec_eval: the higher)",
                count_have(self.lists_with_equal_scores),
                match self.ranks_break_ties {
                    true => "the lower rank goes first, then the tie rule decides",
                    false => "the tie rule decides",
                }
            ),
        );
        warnings
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn count_are(n: usize, what: &str) -> String {
    format!("{} {}", count(n, what), if n == 1 { "is" } else { "are" })
}

fn count_have(n: usize) -> String {
    if n == 1 { "1 list has".into() } else { format!("{n} lists have") }
}
