//! Checks the tables of the threat model and of the page on standards: they contain every rule, each with a test, and name only
//! tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;

use crate::stack;

const GUIDE: &str = include_str!("../../src/guide/threat_model.md");
const STANDARDS: &str = include_str!("../../src/guide/standards.md");

/// The rules of the tables.
const RULES: RangeInclusive<u32> = 1..=130;

/// Returns the cells of each row of a page's tables.
fn rows(page: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    page.lines().filter(|line| line.starts_with("| ")).map(cells)
}

/// Parses a cell with numbers and ranges of numbers.
fn numbers(cell: &str) -> BTreeSet<u32> {
    let range = |range: &str| {
        let (first, last) = range.split_once('–').unwrap_or((range, range));
        let [first, last] = [first, last].map(|number| number.parse::<u32>().expect("a number"));
        first..=last
    };
    cell.split(", ").flat_map(range).collect()
}

/// Returns the rows of rules with their numbers.
fn rules() -> impl Iterator<Item = (BTreeSet<u32>, Vec<&'static str>)> {
    let is_rule = |row: &Vec<&str>| row[0].starts_with(|first: char| first.is_ascii_digit());
    rows(GUIDE).filter(is_rule).map(|row| (numbers(row[0]), row))
}

/// Returns the rules that tests name, like `rule_003_and_004_…` and `rule_006_to_008_…`.
fn tested() -> BTreeSet<u32> {
    let mut tested = BTreeSet::new();
    let files = fs::read_dir(stack::repository().join("tests/it")).expect("the tests").flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with("rules_")) {
        let source = fs::read_to_string(file.path()).expect("a source file");
        for name in source.split("fn rule_").skip(1) {
            let (mut last, mut is_range) = (0, false);
            for word in name.split('_') {
                if let Ok(number) = word.parse::<u32>() {
                    tested.extend(if is_range { last..=number } else { number..=number });
                    last = number;
                } else if !["and", "to"].contains(&word) {
                    break;
                }
                is_range = word == "to";
            }
        }
    }
    tested
}

#[test]
fn every_rule_has_a_row() {
    let seen: BTreeSet<u32> = rules().flat_map(|(numbers, _)| numbers).collect();
    assert_eq!(seen, RULES.collect());
}

#[test]
fn every_rule_has_a_test_or_is_not_implemented() {
    let tested = tested();
    for (numbers, row) in rules() {
        let is_excluded = row[1..].iter().any(|cell| cell.starts_with("Not implemented: "));
        let has_test = !is_excluded && row[2].contains(".rs`");
        for number in numbers {
            assert!(is_excluded || has_test || tested.contains(&number), "rule {number} has no test");
        }
    }
}

#[test]
fn every_class_of_vulnerabilities_names_rules() {
    let classes: Vec<_> = rows(GUIDE).filter(|row| row.len() == 4 && row[0] != "class").collect();
    assert!(classes.len() > 10, "the classes were found");
    for row in classes {
        assert!(numbers(row[2]).is_subset(&RULES.collect()), "{row:?}");
    }
}

#[test]
fn every_rule_of_the_standards_has_a_verdict_and_a_test() {
    const VERDICTS: [&str; 5] = ["Yes", "Setting", "Deviation", "Application", "Not offered"];
    let rules: Vec<_> = rows(STANDARDS).filter(|row| row[0] != "section").collect();
    assert!(rules.len() > 40, "the rules were found");
    for row in rules {
        let [section, _, verdict, tests] = row[..] else { panic!("{row:?}") };
        assert!(
            section.split(", ").all(|section| section.starts_with(|first: char| first.is_ascii_digit())),
            "{row:?}"
        );
        assert!(VERDICTS.iter().any(|known| verdict.starts_with(known)), "{row:?}");
        assert!(tests.contains(".rs`") || tests == "–" && verdict.starts_with("Application"), "{row:?}");
    }
}

/// A name in backquotes after a file's name is a test in that file.
#[test]
fn every_named_test_exists() {
    let root = stack::repository();
    for page in [GUIDE, STANDARDS] {
        let mut named = 0;
        for line in page.lines().filter(|line| line.starts_with('|')) {
            let mut file = None;
            for quoted in line.split('`').skip(1).step_by(2) {
                if quoted.ends_with(".rs") {
                    let path = root.join(quoted);
                    file = Some(fs::read_to_string(&path).unwrap_or_else(|error| panic!("{quoted}: {error}")));
                } else if let Some(text) = &file {
                    assert!(is_test(text, quoted), "no test {quoted}: {line}");
                    named += 1;
                }
            }
        }
        assert!(named > 50, "{named}");
    }
}

/// Returns whether the function with this name has a test attribute before it.
fn is_test(source: &str, name: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else { return false };
    let mut attributes = before.trim_end().lines().rev().map(str::trim).take_while(|line| !line.is_empty());
    attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}
