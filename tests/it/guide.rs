//! The guide is complete: all pages, all names of events and metrics, and no snippet that nobody compiles.

use std::collections::BTreeSet;
use std::fs;

use crate::stack;

fn read(path: &str) -> String {
    let path = stack::repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page with its text, and the README.
fn pages() -> Vec<(String, String)> {
    let folder = stack::repository().join("src/guide");
    let names = fs::read_dir(folder).expect("the guide").flatten().map(|entry| entry.file_name());
    let pages: Vec<(String, String)> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter_map(|name| Some(name.strip_suffix(".md")?.to_owned()))
        .map(|page| (page.clone(), read(&format!("src/guide/{page}.md"))))
        .chain([("README".to_owned(), read("README.md"))])
        .collect();
    assert!(pages.len() > 10, "the pages were found");
    pages
}

/// String literals of a source text that are no reasons of lints; none of those looked at here holds an escaped quote.
fn literals(source: &str) -> BTreeSet<&str> {
    let spoken = |line: &&str| !line.trim_start().starts_with("//") && !line.contains("reason = ");
    source.lines().filter(spoken).flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

#[test]
fn the_index_and_the_readme_list_every_page() {
    let index = read("src/guide/mod.rs");
    let readme = read("README.md");
    for (page, _) in pages().iter().filter(|(page, _)| page != "README") {
        assert!(index.contains(&format!("//! | [{page}] |")), "{page} is missing in the table of src/guide/mod.rs");
        assert!(index.contains(&format!("include_str!(\"{page}.md\")")), "{page} is no module");
        assert!(readme.contains(&format!("(src/guide/{page}.md)")), "{page} is missing in the README");
    }
}

#[test]
fn every_name_that_is_logged_or_counted_stands_in_the_guide_and_no_other() {
    let page = read("src/guide/observability.md");
    let source = read("src/telemetry.rs");
    let emitted = literals(&source);
    let metrics = |text: &str| -> BTreeSet<String> {
        let words = text.split(|sign: char| !(sign.is_ascii_lowercase() || sign == '_'));
        let words = words.filter(|word| word.starts_with("jwt_") || word.starts_with("jwks_"));
        // What Prometheus makes of a histogram.
        words.map(|word| word.strip_suffix("_count").unwrap_or(word).to_owned()).collect()
    };
    let counted: BTreeSet<String> = emitted.iter().flat_map(|literal| metrics(literal)).collect();
    assert!(counted.len() > 10, "{counted:?}");
    assert_eq!(counted, metrics(&page));
    let messages: Vec<&&str> = emitted.iter().filter(|literal| literal.contains(' ')).collect();
    assert!(messages.len() > 15, "{messages:?}");
    for message in messages {
        assert!(page.contains(*message), "the event {message:?} is missing in the guide");
    }
}

#[test]
fn every_snippet_of_rust_is_compiled() {
    for (page, text) in pages() {
        let mut fence = None;
        for (number, line) in text.lines().enumerate() {
            let at = format!("{page}, line {}", number + 1);
            match (line.trim_start().strip_prefix("```"), fence) {
                (Some(kind), None) => {
                    let known = ["rust", "rust,no_run", "toml", "yaml", "console", "text"];
                    assert!(known.contains(&kind), "{at}: a block of kind {kind:?}");
                    fence = Some(kind);
                }
                (Some(_), Some(_)) => fence = None,
                (None, Some("console" | "text")) => {
                    assert!(!line.contains("use tower_bearer::"), "{at}: code that nobody compiles");
                }
                (None, _) => {}
            }
        }
        assert_eq!(fence, None, "{page}: a block without end");
    }
}
