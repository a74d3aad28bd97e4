//! A planted fault for every rule of the checker.
