//! Exit codes, the same for every command.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Pass = 0,
    /// A gate or an audit failed; for `assay data verify`: a file is not as it should be.
    GateFailed = 1,
    /// Wrong usage, an error in an experiment file, data that cannot be read.
    Usage = 2,
    /// Not comparable or inconclusive: results are missing.
    Inconclusive = 3,
    /// Some trials failed.
    TrialsFailed = 4,
    /// A replay missed an answer, or a budget is spent.
    ReplayMiss = 5,
    /// An internal error.
    Bug = 70,
    /// A disk is full.
    DiskFull = 74,
    /// Interrupted; the same command goes on where it stopped.
    Interrupted = 75,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
