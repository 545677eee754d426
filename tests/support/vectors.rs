//! Public test data beside the checkout, found through `TOWER_BEARER_VECTORS`.

use std::io::Write as _;
use std::path::PathBuf;

/// Where a file or folder of the vectors is; says that it is skipped where there are none.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TOWER_BEARER_VECTORS").map(PathBuf::from);
    if folder.is_none() {
        // Past the test runner, which keeps what a passing test prints to itself.
        let _told = writeln!(std::io::stderr(), "skipped: {name} (TOWER_BEARER_VECTORS is not set)");
    }
    folder.map(|folder| folder.join(name))
}

/// Reads a file of the vectors; says that it is skipped where there are none.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    path(name).map(|path| std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}
