//! Checks the architecture rules against the source text: the order of the modules, import cycles within a folder, the
//! files that may use an external crate or the system clock, the length of each file.
//!
//! Code under `#[cfg(test)]`, comments and doc links are exempt.

#![expect(clippy::arithmetic_side_effects, reason = "line numbers and indexes of our own files")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test whose setup fails must fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest allowed file, in lines of code outside tests.
const MAX_CODE_LINES: usize = 400;

/// Paths outside the crate, and the only files or folders that may use them.
const OWNERS: &[(&[&str], &[&str])] = &[
    (&["SystemTime::now", "Instant::now"], &["clock.rs"]),
    (&["tracing::", "metrics::"], &["telemetry/"]),
    (&["reqwest::"], &["fetch/reqwest.rs"]),
    (&["aws_lc_rs::"], &["keys/", "testing/"]),
    (&["jsonwebtoken_12::"], &["keys/interop.rs"]),
    (&["moka::"], &["jwks/absent_kids.rs", "introspection/memory.rs", "validator/tenants/negative_cache.rs"]),
    (&["httpdate::"], &["fetch/"]),
    (&["axum_core::"], &["extract/"]),
    (&["hyper::", "hyper_util::"], &["testing/"]),
    (&["redis::", "tokio_rustls::", "rustls_platform_verifier::"], &["stores/"]),
];

/// Modules and files that stay pure, so that each can be read, tested and fuzzed alone, and the text that they must not contain.
const FORBIDDEN: &[(&[&str], &[&str])] = &[
    (
        &[
            "request",
            "token",
            "keys",
            "claims",
            "dpop",
            "mutual_tls",
            "revocation/cutoff.rs",
            "revocation/digest.rs",
            "revocation/feed.rs",
            "revocation/horizon.rs",
            "revocation/set.rs",
            "revocation/table.rs",
            "stores/breaker.rs",
            "validator/tenants/table/mod.rs",
            "validator/tenants/table/limiter.rs",
        ],
        &["async ", ".await", "Mutex", "RwLock", "telemetry::", "SystemClock", "Clock::"],
    ),
    (&["requirement", "config", "rejection"], &["async ", ".await", "Mutex", "RwLock", "telemetry::"]),
    (&["response", "metadata"], &["async ", ".await", "Mutex", "RwLock", "telemetry::", "SystemClock", "Clock::"]),
];

/// The files and folders that may contain `cfg(feature)` besides `lib.rs` and every `mod.rs`: those that use `tracing` and
/// `metrics`, and the defaults of the HTTP client.
const FEATURE_FILES: &[&str] = &["telemetry/", "defaults.rs"];

/// The files and folders that are allowed at the top of the repository.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    // Only in the packaged crate.
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
fn modules_use_only_modules_declared_above_them() {
    let modules = declared_modules(&read(&source().join("lib.rs")));
    assert!(modules.len() > 10, "lib.rs declares the modules: {modules:?}");
    let found: Vec<String> =
        code_files().iter().flat_map(|file| misordered(&file.name, &file.text, &modules)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn files_of_one_folder_do_not_import_each_other_in_a_cycle() {
    let found = cyclic_imports(&code_files());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn external_paths_are_used_only_by_their_owners() {
    let found: Vec<String> = code_files().iter().flat_map(|file| misplaced(&file.name, &file.text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn pure_modules_contain_no_async_lock_or_log() {
    let found: Vec<String> = code_files().iter().flat_map(|file| forbidden_in(&file.name, &file.text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn features_are_switched_only_in_listed_files() {
    let found: Vec<String> = code_files().iter().flat_map(|file| switches(&file.name, &file.text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_file_exceeds_the_maximum_length() {
    let found: Vec<String> = code_files()
        .iter()
        .map(|file| (file.name.clone(), code_lines(&file.text).count()))
        .filter(|(_, lines)| *lines > MAX_CODE_LINES)
        .map(|(name, lines)| format!("src/{name}: {lines} lines of code, more than {MAX_CODE_LINES}"))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn lib_rs_contains_only_modules_and_re_exports() {
    let text = read(&source().join("lib.rs"));
    for (number, line) in code_lines(&text) {
        let allowed =
            ["pub mod ", "mod ", "pub use ", "#", "}", "{"].iter().any(|start| line.trim_start().starts_with(start));
        let continued = line.starts_with("    ");
        assert!(allowed || continued, "src/lib.rs:{number}: only modules and re-exports are allowed here: {line}");
    }
}

#[test]
fn the_top_level_contains_only_listed_entries() {
    for entry in fs::read_dir(root()).expect("the repository").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || TOP_LEVEL.contains(&name.as_str()), "{name} is not allowed at the top level");
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
        assert_eq!(forbidden_in("token/header.rs", line).len(), 1, "{line}");
        assert_eq!(forbidden_in("validator/mod.rs", line), [""; 0], "{line}");
    }
    assert_eq!(forbidden_in("requirement/mod.rs", "SystemClock.now()"), [""; 0]);
    assert_eq!(forbidden_in("claims.rs", "#[cfg(test)]\nmod tests {\n    async fn f() {}\n}\n"), [""; 0]);
    assert_eq!(switches("extract/claims.rs", "#[cfg(feature = \"tracing\")]").len(), 1);
    assert_eq!(switches("extract/mod.rs", "#[cfg(feature = \"tracing\")]"), [""; 0]);

    let imports = |files: &[(&str, &str)]| -> Vec<Import> {
        let file = |&(name, text): &(&str, &str)| SourceFile { name: name.to_owned(), text: text.to_owned() };
        cyclic_imports(&files.iter().map(file).collect::<Vec<_>>()).into_iter().collect()
    };
    let (there, back) = (Import::new("a", "x", "y"), Import::new("a", "y", "x"));
    assert_eq!(imports(&[("a/x.rs", "use crate::a::y::Y;"), ("a/y.rs", "")]), []);
    assert_eq!(imports(&[("a/x.rs", "use crate::a::y::Y;"), ("a/y.rs", "use crate::a::x::X;")]), [there, back]);
    for text in [
        "use crate::a::x;",
        "use super::x::X;",
        "fn f() { crate::a::x::g() }",
        "use crate::a::{\n    Z,\n    x::{X, Y},\n};",
    ] {
        assert_eq!(imports(&[("a/x.rs", "use crate::a::y::Y;"), ("a/y.rs", text)]).len(), 2, "{text}");
        assert_eq!(imports(&[("a/x/z.rs", "use crate::a::y::Y;"), ("a/y/mod.rs", text)]).len(), 2, "{text}");
    }
    // A longer cycle is found, and an import that only leads to it is not part of it.
    let ring = [
        ("a/w.rs", "use crate::a::x::X;"),
        ("a/x.rs", "use crate::a::y::Y;"),
        ("a/y.rs", "use crate::a::z::Z;"),
        ("a/z.rs", "use crate::a::x::X;"),
    ];
    assert_eq!(imports(&ring).len(), 3);
    for text in [
        "use crate::a::X;",
        "use crate::a::xx::X;",
        "use crate::b::x::X;",
        "use crate::a::{X, y::Z};",
        "/// [`crate::a::x::X`]",
        "#[cfg(test)]\nmod tests {\n    use crate::a::x::X;\n}\n",
    ] {
        assert_eq!(imports(&[("a/x.rs", "use crate::a::y::Y;"), ("a/y.rs", text)]), [], "{text}");
    }
    assert_eq!(imports(&[("a/mod.rs", "use crate::a::x::X;"), ("a/x.rs", "use crate::a::Z;")]), []);
}

/// A source file; its name is relative to `src/`.
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

/// Returns every source file except those that contain only tests.
fn code_files() -> Vec<SourceFile> {
    let mut files = Vec::new();
    collect(&source(), &mut files);
    assert!(files.len() > 20, "too few source files: {}", files.len());
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

/// Returns the modules of lib.rs in the order of declaration.
fn declared_modules(lib: &str) -> Vec<String> {
    let declaration = |line: &str| {
        let line = line.trim_start_matches("pub ");
        line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')).map(str::to_owned)
    };
    lib.lines().filter_map(|line| declaration(line.trim())).collect()
}

fn misordered(name: &str, text: &str, modules: &[String]) -> Vec<String> {
    let own = module(name);
    let Some(own_position) = modules.iter().position(|module| module == own) else {
        return if own == "lib" { Vec::new() } else { vec![format!("src/{name}: {own} is not declared in lib.rs")] };
    };
    let is_top = !name.contains('/') || name.matches('/').count() == 1 && name.ends_with("/mod.rs");
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        for rest in line.split("crate::").skip(1) {
            let used: String =
                rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
            match modules.iter().position(|module| *module == used) {
                Some(position) if position > own_position => {
                    found.push(format!("src/{name}:{number}: {own} uses {used}, which is declared below it"))
                }
                Some(_) => {}
                None => found
                    .push(format!("src/{name}:{number}: `crate::{used}` is not a module; write the full module path")),
            }
        }
        if line.contains("super::super::") || is_top && line.contains("super::") {
            found.push(format!("src/{name}:{number}: `super::` leaves the module; write `crate::`"));
        }
    }
    found
}

/// An import between two modules of one folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    folder: String,
    from: String,
    to: String,
}

impl Import {
    fn new(folder: &str, from: &str, to: &str) -> Self {
        Self { folder: folder.to_owned(), from: from.to_owned(), to: to.to_owned() }
    }
}

/// Returns the imports between modules of one folder that are part of a cycle.
///
/// A module is a file, or a subfolder with all its files. Imports from and into the folder's own `mod.rs` do not count.
fn cyclic_imports(files: &[SourceFile]) -> BTreeSet<Import> {
    let imports: BTreeSet<Import> = files.iter().flat_map(sibling_imports).collect();
    let is_cyclic = |import: &Import| {
        let mut reached = BTreeSet::from([import.to.as_str()]);
        loop {
            let next: Vec<&str> = imports
                .iter()
                .filter(|other| other.folder == import.folder && reached.contains(other.from.as_str()))
                .map(|other| other.to.as_str())
                .filter(|to| !reached.contains(to))
                .collect();
            if next.is_empty() {
                return reached.contains(import.from.as_str());
            }
            reached.extend(next);
        }
    };
    imports.iter().filter(|import| is_cyclic(import)).cloned().collect()
}

/// Returns the imports of a file from the siblings of each module that contains it.
fn sibling_imports(file: &SourceFile) -> BTreeSet<Import> {
    let path = file.name.trim_end_matches(".rs").trim_end_matches("/mod");
    let modules: Vec<&str> = path.split('/').collect();
    let mut code: String = code_lines(&file.text).map(|(_, line)| line.to_owned() + "\n").collect();
    if let Some((_, parents)) = modules.split_last() {
        code = code.replace("super::", &[&["crate"], parents, &[""]].concat().join("::"));
    }
    let mut imports = BTreeSet::new();
    for (depth, module) in modules.iter().enumerate().skip(1) {
        let parents = modules.get(..depth).unwrap_or_default();
        let prefix = [&["crate"], parents, &[""]].concat().join("::");
        for used in code.split(&prefix).skip(1).flat_map(first_segments) {
            if used != *module {
                imports.insert(Import::new(&parents.join("/"), module, &used));
            }
        }
    }
    imports
}

/// Returns the first segment of a path, or of each path of a group in braces.
fn first_segments(path: &str) -> Vec<String> {
    let segment = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![segment(path)] };
    let mut segments = vec![segment(group.trim_start())];
    let mut depth = 0_usize;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => segments.push(segment(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    segments
}

fn misplaced(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        for (paths, owners) in OWNERS {
            let is_owner = owners.iter().any(|owner| name.starts_with(owner));
            for path in paths.iter().filter(|path| !is_owner && uses_external(line, path)) {
                found.push(format!("src/{name}:{number}: `{path}` may be used only in {}", owners.join(" and ")));
            }
        }
    }
    found
}

fn forbidden_in(name: &str, text: &str) -> Vec<String> {
    let module = module(name);
    let forbidden: Vec<&str> = FORBIDDEN
        .iter()
        .filter(|(pure, _)| pure.contains(&module) || pure.contains(&name))
        .flat_map(|(_, texts)| *texts)
        .copied()
        .collect();
    let lines = code_lines(text).flat_map(|(number, line)| forbidden.iter().map(move |text| (number, line, *text)));
    lines
        .filter(|(_, line, text)| line.contains(text))
        .map(|(number, _, text)| format!("src/{name}:{number}: `{}` is not allowed in {module}", text.trim()))
        .collect()
}

fn switches(name: &str, text: &str) -> Vec<String> {
    if name == "lib.rs" || name.ends_with("mod.rs") || FEATURE_FILES.iter().any(|owner| name.starts_with(owner)) {
        return Vec::new();
    }
    let switching = code_lines(text).filter(|(_, line)| line.contains("feature = "));
    switching
        .map(|(number, _)| format!("src/{name}:{number}: `cfg(feature)` is allowed only in lib.rs and mod.rs"))
        .collect()
}

/// Returns the module of lib.rs to which a file belongs.
fn module(name: &str) -> &str {
    name.split('/').next().unwrap_or(name).trim_end_matches(".rs")
}

/// Returns whether a line uses an external path; `self::reqwest::` is a module of this crate.
fn uses_external(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = &line[..at];
        let is_word = !before.ends_with(|character: char| character.is_alphanumeric() || character == '_');
        let is_internal = ["self::", "super::", "crate::"].iter().any(|start| before.ends_with(start));
        is_word && !is_internal && !before.ends_with("fetch::")
    })
}

/// Returns the numbered lines that contain code outside tests and comments.
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

/// Skips the item after an attribute, up to its semicolon or closing brace.
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
