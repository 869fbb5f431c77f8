//! Silverback.
