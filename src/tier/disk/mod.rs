//! The disk tier's form: a key is a path beneath one folder, its metadata is one attribute.

pub mod attributes;
pub mod chunk;
pub mod path;
pub mod sums;
