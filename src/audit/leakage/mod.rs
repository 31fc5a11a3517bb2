//! Whether a system could know what it is tested on.
