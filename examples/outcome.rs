//! The exit code of an example.

use std::process::ExitCode;

/// Returns the exit code of an example; prints an error and its causes in one line to standard error.
///
/// `main` does not return the error itself: with `RUST_BACKTRACE=1` that prints a backtrace.
#[expect(clippy::print_stderr, reason = "an example prints its error")]
pub(crate) fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
