//! Exit codes, the same for every command.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Pass = 0,
    /// A check failed; for `assay data verify`: a file differs from its hash.
    GateFailed = 1,
    /// Invalid usage, an error in an experiment file, or data that cannot be read.
    Usage = 2,
    /// Results are missing or not comparable.
    Inconclusive = 3,
    /// Some trials failed.
    TrialsFailed = 4,
    /// A response is not recorded, or a budget is used up.
    ReplayMiss = 5,
    /// An internal error.
    Bug = 70,
    /// A disk is full.
    DiskFull = 74,
    /// Interrupted; the same command continues the run.
    Interrupted = 75,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
