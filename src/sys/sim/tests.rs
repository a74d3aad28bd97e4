//! The double itself: what it must allow, and what it must catch.
