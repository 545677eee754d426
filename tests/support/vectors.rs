//! Public test vectors in the folder that `TOWER_BEARER_VECTORS` names.

use std::io::Write as _;
use std::path::PathBuf;

/// Returns the path of a file or folder of the vectors. Without vectors, prints that it is skipped and returns `None`.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TOWER_BEARER_VECTORS").map(PathBuf::from);
    if folder.is_none() {
        // Writes to stderr directly, since the test runner captures the output of passing tests.
        let _written = writeln!(std::io::stderr(), "skipped: {name} (TOWER_BEARER_VECTORS is not set)");
    }
    folder.map(|folder| folder.join(name))
}

/// Reads a file of the vectors. Without vectors, prints that it is skipped and returns `None`.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    path(name).map(|path| std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}
