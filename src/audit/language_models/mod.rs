//! Whether responses of language models can be relied on.
