//! The guide: how to use the crate, and how far it was tested.
//!
//! Each page is a text beside this file; its snippets are compiled with the tests.

#[doc = include_str!("cors.md")]
pub mod cors {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}
