//! Checks the guide: every page is listed, every logged or counted name is documented, and every snippet is compiled.

use std::collections::BTreeSet;
use std::fs;

use crate::stack;

fn read(path: &str) -> String {
    let path = stack::repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// How the names of metrics start.
const METRICS: [&str; 6] = ["jwt_", "jwks_", "dpop_", "revoked_", "revocation_", "signal_"];

/// Returns the sources of all logs and metrics.
fn telemetry() -> String {
    let folder = fs::read_dir(stack::repository().join("src/telemetry")).expect("a folder").flatten();
    folder.map(|file| fs::read_to_string(file.path()).expect("a source")).collect()
}

/// Returns the name and text of every page and of the README.
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

/// Returns the string literals of a source text, without comments and the reasons of lints. The files that are read here
/// contain no escaped quote.
fn literals(source: &str) -> BTreeSet<&str> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//") && !line.contains("reason = ");
    source.lines().filter(is_code).flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
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
fn the_guide_lists_exactly_the_names_that_are_logged_or_counted() {
    let page = read("src/guide/observability.md");
    let source = telemetry();
    let emitted = literals(&source);
    let metrics = |text: &str| -> BTreeSet<String> {
        let words = text.split(|character: char| !(character.is_ascii_lowercase() || character == '_'));
        let words = words.filter(|word| METRICS.iter().any(|start| word.starts_with(start)));
        // Prometheus appends `_count` to the name of a histogram.
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
                    let is_example = kind == "rust,ignore" && EXAMPLES.iter().any(|(shown_on, _)| page == *shown_on);
                    assert!(known.contains(&kind) || is_example, "{at}: a block of kind {kind:?}");
                    fence = Some(kind);
                }
                (Some(_), Some(_)) => fence = None,
                (None, Some("console" | "text")) => {
                    assert!(!line.contains("use tower_bearer::"), "{at}: code that is not compiled");
                }
                (None, _) => {}
            }
        }
        assert_eq!(fence, None, "{page}: a block without end");
    }
}

/// The pages that contain the sources of examples as text, because their dependencies are many. `.ci/deep` builds and runs those of
/// other frameworks, which are a separate workspace.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("frameworks", &["frameworks/actix-web", "frameworks/lambda", "frameworks/websocket"]),
    ("authorization", &["openapi"]),
];

#[test]
fn pages_contain_the_sources_of_the_examples() {
    for (page, examples) in EXAMPLES {
        let text = read(&format!("src/guide/{page}.md"));
        let shown: BTreeSet<&str> =
            text.split("```rust,ignore\n").skip(1).filter_map(|rest| rest.split("```\n").next()).collect();
        let sources: Vec<String> = examples.iter().map(|name| read(&format!("examples/{name}/main.rs"))).collect();
        // Without the tests of an example.
        let sources = sources.iter().filter_map(|source| source.split("\n#[cfg(test)]").next());
        assert_eq!(shown, sources.collect(), "copy the sources to {page}.md");
    }
}

/// The guide shows the function with which the example `tonic` ends its streams, and runs it in the snippet for server-sent events.
#[test]
fn the_guide_contains_the_function_that_ends_a_connection() {
    let source = read("examples/tonic/while_valid.rs");
    let (_, function) = source.split_once("/// How long a connection").expect("the constant above the function");
    let function = format!("/// How long a connection{}", function.replace("pub(crate) ", ""));
    let page = read("src/guide/howto.md");
    let hidden: String = function.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
    assert!(page.contains(&function), "copy the function to howto.md");
    assert!(page.contains(&hidden), "copy the function to the snippet for server-sent events in howto.md, hidden");
}

/// Returns the sections of a page: the code spans in the heading, and the text up to the next heading.
fn sections(page: &str) -> Vec<(BTreeSet<&str>, &str)> {
    let sections = page.split("\n## ").flat_map(|chapter| chapter.split("\n### ").skip(1));
    sections.filter_map(|section| section.split_once('\n')).map(|(heading, text)| (code_spans(heading), text)).collect()
}

fn code_spans(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the string literals in the body of the function with this signature: the names of the variants.
fn names<'s>(source: &'s str, signature: &str) -> BTreeSet<&'s str> {
    let (_, body) = source.split_once(signature).expect("the function that returns the names");
    literals(body.split_once("\n    }\n").expect("the end of the function").0)
}

#[test]
fn the_runbook_explains_every_log_message_kind_class_and_action() {
    let page = read("src/guide/runbook.md");
    let sections = sections(&page);
    let [messages, kinds] = [telemetry(), read("src/rejection/mod.rs")];
    let messages: BTreeSet<&str> = literals(&messages).into_iter().filter(|literal| literal.contains(' ')).collect();
    let kinds = names(&kinds, "pub const fn name(self)");
    assert!(messages.len() > 15 && kinds.len() > 15, "{messages:?} {kinds:?}");

    // A list item explains the names before its colon.
    let items: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- `")?.split_once("`: "))
        .flat_map(|(names, _)| names.split("`, `"))
        .collect();
    let [errors, fetch_errors] = [read("src/jwks/error.rs"), read("src/fetch/mod.rs")];
    let actions = read("src/jwks/events/mod.rs");
    let (_, actions) = actions.split_once("impl UnknownKidAction").expect("the actions");
    let signature = "pub const fn name(self)";
    let store_errors = read("src/jwks/key_store_error.rs");
    let introspection_errors = read("src/introspection/error.rs");
    let errors = [&errors, &fetch_errors, &store_errors, &introspection_errors].map(|source| names(source, signature));
    let classes = errors.into_iter().chain([names(actions, signature)]).collect::<Vec<_>>();
    let listed: Vec<&str> = classes.iter().flatten().copied().collect();
    assert!(listed.len() > 25, "{listed:?}");
    for name in listed {
        assert!(items.contains(name), "the runbook does not explain {name:?}");
    }
    for message in &messages {
        let has_section = sections.iter().any(|(heading, _)| heading.contains(message));
        assert!(has_section || items.contains(message), "the runbook does not explain {message:?}");
    }
    for kind in &kinds {
        assert!(sections.iter().any(|(heading, _)| heading.contains(kind)), "the runbook has no section for {kind:?}");
    }
    for (heading, text) in sections {
        let labels: &[&str] = match heading.first() {
            Some(name) if kinds.contains(name) => &["Response", "Means", "Look at", "Do"],
            Some(name) if messages.contains(name) => &["Means", "Look at", "Do"],
            _ => continue,
        };
        for label in labels {
            assert!(text.contains(&format!("- {label}: ")), "{heading:?} has no line {label:?}");
        }
    }
}

/// Returns the label and target of each link definition (`[label]: target`).
fn definitions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let definitions = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    definitions.filter(|(label, _)| !label.contains(']'))
}

/// Returns the anchor that rustdoc and GitHub create for a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let characters = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    characters.map(|character| if character == ' ' { '-' } else { character }).collect()
}

#[test]
fn links_of_the_guide_and_the_readme_lead_to_a_file_and_a_heading() {
    let shared = read("src/guide/links.txt");
    let in_rustdoc: BTreeSet<&str> = definitions(&shared).map(|(label, _)| label).collect();
    for (page, text) in pages() {
        let folder = stack::repository().join(if page == "README" { "" } else { "src/guide" });
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        let labels = definitions(&text);
        for (label, _) in definitions(&text) {
            assert!(in_rustdoc.contains(label), "{page}: [{label}] is missing in src/guide/links.txt");
        }
        let is_file = |target: &&str| !target.contains("::") && !target.starts_with("https://");
        for target in inline.chain(labels.map(|(_, target)| target)).filter(is_file) {
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let path = folder.join(file);
            assert!(file.is_empty() || path.exists(), "{page}: {target} does not exist");
            if !fragment.is_empty() {
                let linked = if file.is_empty() { text.clone() } else { fs::read_to_string(path).expect("a page") };
                let mut headings = linked.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|heading| heading == fragment), "{page}: {target} has no such heading");
            }
        }
    }
}

#[test]
fn code_lines_of_the_guide_have_at_most_100_characters() {
    for (page, text) in pages() {
        for (at, block) in text.split("```").enumerate().filter(|(at, _)| at % 2 == 1) {
            let is_code = block.starts_with("rust") || block.starts_with("console");
            let long = block.lines().find(|line| is_code && line.chars().count() > 100);
            assert_eq!(long, None, "{page}, block {at}");
        }
    }
}

#[test]
fn the_page_on_outages_contains_the_table_of_the_simulation() {
    let table = read("src/guide/fleet/table.md");
    assert!(read("src/guide/outages.md").contains(table.trim()), "copy src/guide/fleet/table.md into outages.md");
}
