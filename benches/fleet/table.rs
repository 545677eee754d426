//! Renders the day as a Markdown table.

use std::fmt::Write as _;

use crate::day::{DAY, FLOOD, FLOODED_ROTATION, HOUR, MINUTE, OUTAGE, QUIET_ROTATION};
use crate::observations::Observations;
use crate::replicas::Policy;

/// Returns the text of a cell.
type Cell = fn(&Observations) -> String;

pub fn render(days: &[(Policy, Observations)]) -> String {
    let rows: [(&str, Cell); 11] = [
        ("**issuer**: requests in the day", |day| day.fetches.iter().sum::<u32>().to_string()),
        ("requests in the busiest second of the start", |day| day.busiest(0..MINUTE).to_string()),
        ("requests a second, quiet hours", |day| format!("{:.1}, at most {}", day.rate(QUIET), day.busiest(QUIET))),
        ("requests a second, outage", |day| format!("{:.1}, at most {}", day.rate(OUTAGE), day.busiest(OUTAGE))),
        ("requests a second, flood", |day| format!("{:.1}, at most {}", day.rate(FLOOD), day.busiest(FLOOD))),
        ("**clients**: requests rejected, quiet rotation", |day| rejected_cell(day, QUIET_ROTATION)),
        ("requests rejected, rotation in the flood", |day| rejected_cell(day, FLOODED_ROTATION)),
        ("requests rejected, outage", |day| {
            let span = OUTAGE.start..OUTAGE.end + HOUR;
            format!("{} of {}", day.not_accepted(span), day.clients(OUTAGE))
        }),
        ("requests that waited for a fetch", |day| day.waited(0..DAY).to_string()),
        ("longest wait, without and during the outage", |day| {
            let outage = OUTAGE.start..OUTAGE.end + MINUTE;
            let normal = day.longest(0..outage.start).max(day.longest(outage.end..DAY));
            format!("{:.2} s, {:.2} s", normal.as_secs_f64(), day.longest(outage).as_secs_f64())
        }),
        ("**random key ids**: responses with 503", |day| {
            format!("{} of {}", day.random_kids_unavailable, day.random_kids)
        }),
    ];
    let mut text = String::from("|");
    for (policy, _) in days {
        write!(text, " | {}", policy.name()).expect("writing to a string does not fail");
    }
    text.push_str(" |\n|---|---|---|---|\n");
    for (name, cell) in rows {
        write!(text, "| {name}").expect("writing to a string does not fail");
        for (_, day) in days {
            write!(text, " | {}", cell(day)).expect("writing to a string does not fail");
        }
        text.push_str(" |\n");
    }
    // The plot follows in the page; an empty line ends the table.
    text.push('\n');
    text
}

/// Hours without an event.
const QUIET: std::ops::Range<usize> = HOUR..6 * HOUR;

fn rejected_cell(day: &Observations, rotation: usize) -> String {
    let span = rotation..rotation + HOUR;
    match day.not_accepted(span.clone()) {
        0 => "0".to_owned(),
        rejected => format!("{rejected}, for {} s", day.recovered_after(span)),
    }
}
