//! The order of the systems under every evaluation setting.

use serde::Serialize;

use crate::analysis::RankAgreement;

#[derive(Serialize)]
pub struct OrdersView {
    pub title: String,
    pub verdict: String,
    pub systems: Vec<String>,
    pub ways: Vec<WayView>,
    pub swaps: Vec<String>,
    /// Swaps that are not listed.
    pub more_swaps: usize,
    pub note: Option<String>,
}

#[derive(Serialize)]
pub struct WayView {
    pub name: String,
    pub n: String,
    /// By system.
    pub cells: Vec<String>,
    /// By way.
    pub tau: Vec<String>,
}

/// With many systems and settings there are thousands.
const SHOWN_SWAPS: usize = 30;

impl OrdersView {
    pub fn new(of: &RankAgreement) -> Self {
        let ways = (0..of.settings.len()).map(|way| WayView {
            name: of.setting_name(way),
            n: of.n_text(way),
            cells: (0..of.systems.len()).map(|system| of.text(way, system)).collect(),
            tau: (0..of.settings.len()).map(|other| of.tau_text(way, other)).collect(),
        });
        Self {
            title: of.title(),
            verdict: of.verdict(),
            systems: of.systems.clone(),
            ways: ways.collect(),
            swaps: of
                .inversions
                .iter()
                .take(SHOWN_SWAPS)
                .map(|swap| of.inversion_text(swap))
                .collect(),
            more_swaps: of.inversions.len().saturating_sub(SHOWN_SWAPS),
            note: of.note(),
        }
    }
}
