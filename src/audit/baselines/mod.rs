//! Whether baselines got a fair chance.
