//! Public test data beside the checkout, found through `TOWER_BEARER_VECTORS`.

use std::path::PathBuf;

/// Reads a file of the vectors; says that it is skipped where there are none.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what was skipped")]
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    let Some(folder) = std::env::var_os("TOWER_BEARER_VECTORS") else {
        eprintln!("skipped: {name} (TOWER_BEARER_VECTORS is not set)");
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}
