//! The house rules, read off the source text: the order of the modules, the owner of each outside thing, the length of
//! each file.
//!
//! Code under `#[cfg(test)]`, comments and doc links are exempt.

#![expect(clippy::arithmetic_side_effects, reason = "line numbers of our own files")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, in lines that hold code outside tests.
const HARD_LIMIT: usize = 400;

/// Outside things, and the only places that may name them.
const OWNERS: &[(&[&str], &[&str])] = &[
    (&["SystemTime::now", "Instant::now"], &["clock.rs"]),
    (&["tracing::", "metrics::"], &["telemetry.rs"]),
    (&["reqwest::"], &["fetch/reqwest.rs"]),
    (&["aws_lc_rs::"], &["keys/", "testing/"]),
    (&["jsonwebtoken::"], &["keys/interop.rs"]),
    (&["moka::"], &["validator/token_cache/"]),
    (&["httpdate::"], &["jwks/freshness/"]),
    (&["axum_core::"], &["extract/"]),
    (&["hyper::", "hyper_util::"], &["testing/"]),
];

/// What a level of stations may not hold: they are pure, so that each can be read, tested and fuzzed by itself.
const BARRED: &[(&[&str], &[&str])] = &[
    (
        &["request", "token", "keys", "claims"],
        &["async ", ".await", "Mutex", "RwLock", "telemetry::", "SystemClock", "Clock::"],
    ),
    (&["requirement", "config", "rejection"], &["async ", ".await", "Mutex", "RwLock", "telemetry::"]),
    (&["response", "metadata"], &["async ", ".await", "Mutex", "RwLock", "telemetry::", "SystemClock", "Clock::"]),
];

/// Where a feature may be switched besides `lib.rs` and every `mod.rs`: the only file that names `tracing` and `metrics`,
/// and the defaults of a backend.
const SWITCHES: &[&str] = &["telemetry.rs", "defaults.rs"];

/// What may stand beside the sources at the top of the repository.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    // In the packaged crate.
    "Cargo.toml.orig",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "src",
    "tests",
    "benches",
    "examples",
    "fuzz",
    "target",
];

#[test]
fn modules_use_only_what_is_declared_above_them() {
    let modules = declared_modules(&read(&source().join("lib.rs")));
    assert!(modules.len() > 10, "lib.rs declares the stations: {modules:?}");
    let found: Vec<String> =
        code_files().iter().flat_map(|file| misordered(&file.name, &file.text, &modules)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_outside_thing_has_one_owner() {
    let found: Vec<String> = code_files().iter().flat_map(|file| misplaced(&file.name, &file.text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn pure_stations_neither_wait_nor_lock_nor_log() {
    let found: Vec<String> = code_files().iter().flat_map(|file| barred(&file.name, &file.text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn features_are_switched_in_few_places() {
    let found: Vec<String> = code_files().iter().flat_map(|file| switches(&file.name, &file.text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let found: Vec<String> = code_files()
        .iter()
        .map(|file| (file.name.clone(), code_lines(&file.text).count()))
        .filter(|(_, lines)| *lines > HARD_LIMIT)
        .map(|(name, lines)| format!("src/{name}: {lines} lines of code, more than {HARD_LIMIT}"))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn lib_rs_holds_no_code() {
    let text = read(&source().join("lib.rs"));
    for (number, line) in code_lines(&text) {
        let allowed =
            ["pub mod ", "mod ", "pub use ", "#", "}", "{"].iter().any(|start| line.trim_start().starts_with(start));
        let continued = line.starts_with("    ");
        assert!(allowed || continued, "src/lib.rs:{number}: only modules and re-exports stand here: {line}");
    }
}

#[test]
fn the_top_level_holds_nothing_else() {
    for entry in fs::read_dir(root()).expect("the repository").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || TOP_LEVEL.contains(&name.as_str()), "{name} has no place at the top level");
    }
}

#[test]
fn the_checks_find_what_they_look_for() {
    let modules = ["clock".to_owned(), "token".to_owned(), "claims".to_owned()];
    assert_eq!(misordered("claims/mod.rs", "use crate::token::Header;\n/// [`crate::zoo::X`]\n", &modules), [""; 0]);
    assert_eq!(misordered("token/mod.rs", "use crate::claims::Claims;", &modules).len(), 1);
    assert_eq!(misordered("token.rs", "fn f() { crate::claims::g() }", &modules).len(), 1);
    assert_eq!(misordered("claims/mod.rs", "use crate::Algorithm;", &modules).len(), 1);
    assert_eq!(misordered("claims/mod.rs", "use super::token;", &modules).len(), 1);
    assert_eq!(misordered("claims/a.rs", "use super::super::token;", &modules).len(), 1);
    assert_eq!(
        misordered("token/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::claims::X;\n}\n", &modules),
        [""; 0]
    );
    assert_eq!(misplaced("token/mod.rs", "let t = std::time::Instant::now();").len(), 1);
    assert_eq!(misplaced("clock.rs", "let t = std::time::Instant::now();"), [""; 0]);
    assert_eq!(misplaced("fetch/mod.rs", "pub use self::reqwest::ReqwestFetch;"), [""; 0]);
    assert_eq!(misplaced("jwks/mod.rs", "reqwest::get(url)").len(), 1);
    for line in
        ["async fn f() {}", "f().await", "telemetry::rejected();", "let m = Mutex::new(1);", "SystemClock.now()"]
    {
        assert_eq!(barred("token/header.rs", line).len(), 1, "{line}");
        assert_eq!(barred("validator/mod.rs", line), [""; 0], "{line}");
    }
    assert_eq!(barred("requirement/mod.rs", "SystemClock.now()"), [""; 0]);
    assert_eq!(barred("claims.rs", "#[cfg(test)]\nmod tests {\n    async fn f() {}\n}\n"), [""; 0]);
    assert_eq!(switches("extract/claims.rs", "#[cfg(feature = \"tracing\")]").len(), 1);
    assert_eq!(switches("extract/mod.rs", "#[cfg(feature = \"tracing\")]"), [""; 0]);
}

/// A source file with its name relative to `src/`.
struct SourceFile {
    name: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    root().join("src")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every source file but those that hold tests only.
fn code_files() -> Vec<SourceFile> {
    let mut files = Vec::new();
    collect(&source(), &mut files);
    assert!(files.len() > 20, "the sources were found");
    files
}

fn collect(folder: &Path, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        let is_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_tests {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests {
            let name = path.strip_prefix(source()).expect("under src").to_string_lossy().replace('\\', "/");
            files.push(SourceFile { name, text: read(&path) });
        }
    }
}

/// The modules of lib.rs in the order of their declaration.
fn declared_modules(lib: &str) -> Vec<String> {
    let declaration = |line: &str| {
        let line = line.trim_start_matches("pub ");
        line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')).map(str::to_owned)
    };
    lib.lines().filter_map(|line| declaration(line.trim())).collect()
}

fn misordered(name: &str, text: &str, modules: &[String]) -> Vec<String> {
    let own = station(name);
    let Some(own_place) = modules.iter().position(|module| module == own) else {
        return if own == "lib" { Vec::new() } else { vec![format!("src/{name}: {own} is not declared in lib.rs")] };
    };
    let is_top = !name.contains('/') || name.matches('/').count() == 1 && name.ends_with("/mod.rs");
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        for rest in line.split("crate::").skip(1) {
            let used: String =
                rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
            match modules.iter().position(|module| *module == used) {
                Some(place) if place > own_place => {
                    found.push(format!("src/{name}:{number}: {own} uses {used}, which is declared below it"))
                }
                Some(_) => {}
                None => {
                    found.push(format!("src/{name}:{number}: `crate::{used}` is no module; write the full module path"))
                }
            }
        }
        if line.contains("super::super::") || is_top && line.contains("super::") {
            found.push(format!("src/{name}:{number}: `super::` leaves the station; write `crate::`"));
        }
    }
    found
}

fn misplaced(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        for (things, owners) in OWNERS {
            let at_home = owners.iter().any(|owner| name.starts_with(owner));
            for thing in things.iter().filter(|thing| !at_home && names_outside(line, thing)) {
                found.push(format!("src/{name}:{number}: `{thing}` belongs to {}", owners.join(" and ")));
            }
        }
    }
    found
}

fn barred(name: &str, text: &str) -> Vec<String> {
    let station = station(name);
    let things: Vec<&str> = BARRED
        .iter()
        .filter(|(stations, _)| stations.contains(&station))
        .flat_map(|(_, things)| *things)
        .copied()
        .collect();
    let lines = code_lines(text).flat_map(|(number, line)| things.iter().map(move |thing| (number, line, *thing)));
    lines
        .filter(|(_, line, thing)| line.contains(thing))
        .map(|(number, _, thing)| format!("src/{name}:{number}: `{}` has no place in {station}", thing.trim()))
        .collect()
}

fn switches(name: &str, text: &str) -> Vec<String> {
    if name == "lib.rs" || name.ends_with("mod.rs") || SWITCHES.contains(&name) {
        return Vec::new();
    }
    let switching = code_lines(text).filter(|(_, line)| line.contains("feature = "));
    switching.map(|(number, _)| format!("src/{name}:{number}: features are switched in lib.rs and mod.rs")).collect()
}

/// The module of lib.rs that a file belongs to.
fn station(name: &str) -> &str {
    name.split('/').next().unwrap_or(name).trim_end_matches(".rs")
}

/// Says whether a line names an outside thing; `self::reqwest::` is a module of ours.
fn names_outside(line: &str, thing: &str) -> bool {
    line.match_indices(thing).any(|(at, _)| {
        let before = &line[..at];
        let is_word = !before.ends_with(|character: char| character.is_alphanumeric() || character == '_');
        let is_ours = ["self::", "super::", "crate::"].iter().any(|start| before.ends_with(start));
        is_word && !is_ours && !before.ends_with("fetch::")
    })
}

/// Numbered lines that hold code outside tests and comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut lines = Vec::new();
    let mut all = text.lines().enumerate();
    while let Some((number, line)) = all.next() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            skip_item(&mut all);
            continue;
        }
        let code = line.split("//").next().unwrap_or_default();
        if !code.trim().is_empty() {
            lines.push((number + 1, code));
        }
    }
    lines.into_iter()
}

/// Skips the item after an attribute: to its semicolon, or to the end of its braces.
fn skip_item<'t>(lines: &mut impl Iterator<Item = (usize, &'t str)>) {
    let mut depth = 0_usize;
    for (_, line) in lines {
        let code = line.split("//").next().unwrap_or_default();
        depth += code.matches('{').count();
        depth = depth.saturating_sub(code.matches('}').count());
        let ends = code.trim_end().ends_with(';') || code.trim_end().ends_with('}');
        if depth == 0 && ends {
            return;
        }
    }
}
