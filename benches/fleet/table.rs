//! Renders the day as four Markdown tables: the load of the issuer, the requests of clients, the tokens of removed keys, and
//! the flood.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use crate::day::{AMBIENT, AMBIENT_ROTATION, DAY, FLOOD, FLOODED_ROTATION, HOUR, MINUTE, OUTAGE, QUIET_ROTATION};
use crate::observations::Observations;
use crate::replicas::Policy;

/// The scenario, the measured value with its unit, and the text of a cell.
type Row = (&'static str, &'static str, fn(&Observations) -> String);

pub fn render(days: &[(Policy, Observations)]) -> String {
    let titles = [
        "Load of the issuer, as the sum over all processes:",
        "Valid requests of clients:",
        "Tokens of removed keys, with a rotation:",
        "Flood of random key ids, with a rotation:",
    ];
    let mut text = String::new();
    for (title, rows) in titles.into_iter().zip([&ISSUER[..], &CLIENTS, &REMOVED_KEYS, &RANDOM_KIDS]) {
        write!(text, "{title}\n\n| scenario | value").expect("writing to a string does not fail");
        for (policy, _) in days {
            write!(text, " | {}", policy.name()).expect("writing to a string does not fail");
        }
        text.push_str(" |\n|---|---|---:|---:|---:|\n");
        for (scenario, value, cell) in rows {
            write!(text, "| {scenario} | {value}").expect("writing to a string does not fail");
            for (_, day) in days {
                write!(text, " | {}", cell(day)).expect("writing to a string does not fail");
            }
            text.push_str(" |\n");
        }
        // An empty line ends a table.
        text.push('\n');
    }
    text
}

const ISSUER: [Row; 6] = [
    ("whole day", "requests to the issuer", |day| grouped(day.fetches.iter().sum())),
    ("start, 00:00 to 00:01", "requests to the issuer in the busiest second", |day| grouped(day.busiest(0..MINUTE))),
    ("quiet hours, 01:00 to 06:00", "requests to the issuer per second", |day| format!("{:.1}", day.rate(QUIET))),
    ("quiet hours", "requests to the issuer in the busiest second", |day| grouped(day.busiest(QUIET))),
    ("outage, 10:00 to 10:40", "requests to the issuer per second", |day| format!("{:.1}", day.rate(OUTAGE))),
    ("outage", "requests to the issuer in the busiest second", |day| grouped(day.busiest(OUTAGE))),
];

const CLIENTS: [Row; 6] = [
    ("rotation at 06:00", "requests rejected", |day| rejected_after(day, QUIET_ROTATION)),
    ("rotation at 06:00", "time until the last rejection, s", |day| recovered_after(day, QUIET_ROTATION)),
    ("outage", "requests rejected, of 96,000", |day| {
        assert_eq!(day.clients(OUTAGE), 96_000);
        grouped(day.not_accepted(OUTAGE.start..OUTAGE.end + HOUR))
    }),
    ("outage and the next minute", "longest wait, s", |day| seconds(day.longest(OUTAGE.start..OUTAGE.end + MINUTE))),
    ("rest of the day", "longest wait, s", |day| {
        seconds(day.longest(0..OUTAGE.start).max(day.longest(OUTAGE.end + MINUTE..DAY)))
    }),
    ("whole day", "requests that waited for a fetch", |day| grouped(day.waited(0..DAY))),
];

const REMOVED_KEYS: [Row; 4] = [
    ("removed keys, 13:00 to 14:00", "requests to the issuer per second", |day| {
        assert_eq!(day.removed_keys, 720_000);
        format!("{:.1}", day.rate(AMBIENT))
    }),
    ("removed keys", "requests to the issuer in the busiest second", |day| grouped(day.busiest(AMBIENT))),
    ("rotation at 13:30", "valid requests rejected", |day| rejected_after(day, AMBIENT_ROTATION)),
    ("rotation at 13:30", "time until the last rejection, s", |day| recovered_after(day, AMBIENT_ROTATION)),
];

const RANDOM_KIDS: [Row; 5] = [
    ("flood, 16:00 to 16:10", "requests to the issuer per second", |day| format!("{:.1}", day.rate(FLOOD))),
    ("flood", "requests to the issuer in the busiest second", |day| grouped(day.busiest(FLOOD))),
    ("rotation at 16:05", "valid requests rejected", |day| rejected_after(day, FLOODED_ROTATION)),
    ("rotation at 16:05", "time until the last rejection, s", |day| recovered_after(day, FLOODED_ROTATION)),
    ("flood", "requests with random key ids that got 503, of 600,000", |day| {
        assert_eq!(day.random_kids, 600_000);
        grouped(day.random_kids_unavailable)
    }),
];

/// Hours without an event.
const QUIET: Range<usize> = HOUR..6 * HOUR;

fn rejected_after(day: &Observations, rotation: usize) -> String {
    grouped(day.not_accepted(rotation..rotation + HOUR))
}

fn recovered_after(day: &Observations, rotation: usize) -> String {
    day.recovered_after(rotation..rotation + HOUR).to_string()
}

fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

/// Writes a number with a comma between thousands.
fn grouped(number: u32) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}
