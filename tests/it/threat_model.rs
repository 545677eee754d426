//! The tables of the threat model name only tests that exist, and every rule.

use std::collections::BTreeSet;
use std::fs;

use crate::stack;

const GUIDE: &str = include_str!("../../src/guide/threat_model.md");

/// The rules of the list that the tables follow.
const RULES: std::ops::RangeInclusive<u32> = 1..=130;

/// Returns the cells of each row of a table whose first cell is a number or a range of numbers.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let is_row =
        |line: &&str| line.starts_with("| ") && line.chars().nth(2).is_some_and(|first| first.is_ascii_digit());
    GUIDE.lines().filter(is_row).map(cells)
}

#[test]
fn every_rule_has_a_row() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        for range in row[0].split(", ") {
            let (first, last) = range.split_once('–').unwrap_or((range, range));
            let [first, last] = [first, last].map(|number| number.parse::<u32>().expect("a number"));
            seen.extend(first..=last);
        }
    }
    assert_eq!(seen, RULES.collect());
}

/// A name in backquotes after a file's name is a test in that file.
#[test]
fn every_named_test_exists() {
    let root = stack::repository();
    let mut named = 0;
    for line in GUIDE.lines().filter(|line| line.starts_with('|')) {
        let mut file = None;
        for quoted in line.split('`').skip(1).step_by(2) {
            if quoted.ends_with(".rs") {
                let path = root.join(quoted);
                file = Some(fs::read_to_string(&path).unwrap_or_else(|error| panic!("{quoted}: {error}")));
            } else if let Some(text) = &file {
                assert!(text.contains(&format!("fn {quoted}(")), "no test {quoted}: {line}");
                named += 1;
            }
        }
    }
    assert!(named > 100, "{named}");
}
