//! Public test data beside the checkout, found through `TOWER_BEARER_VECTORS`.

use std::path::PathBuf;

/// Where the vectors are, if they are there at all.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os("TOWER_BEARER_VECTORS").map(PathBuf::from)
}

/// Reads a file of the vectors; says that it is skipped where there are none.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what was skipped")]
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    let Some(folder) = folder() else {
        eprintln!("skipped: {name} (TOWER_BEARER_VECTORS is not set)");
        return None;
    };
    let path = folder.join(name);
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}
