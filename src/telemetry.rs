//! Events: the only file that names `tracing` or `metrics`.
//!
//! One function per event, taking only `&'static str`, numbers and `Duration`: no token, key id, subject or other
//! text of a stranger can reach a log line through here.
