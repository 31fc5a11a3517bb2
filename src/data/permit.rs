//! The right to open the test part of a fold.

/// Needed to read a fold's test part. Only code inside [`crate::ranking`] can make one, so models,
/// tuning and early stopping cannot reach test labels: the compiler refuses.
pub struct ScoringPermit {
    _private: (),
}

impl ScoringPermit {
    pub(crate) fn issue() -> Self {
        Self { _private: () }
    }
}
