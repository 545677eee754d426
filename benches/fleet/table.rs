//! The day as a table.

use std::fmt::Write as _;

use crate::day::{DAY, FLOOD, FLOODED_ROTATION, HOUR, MINUTE, OUTAGE, QUIET_ROTATION};
use crate::ledger::Ledger;
use crate::replicas::Policy;

/// What a policy made of the day, in its own words.
type Cell = fn(&Ledger) -> String;

pub fn of(days: &[(Policy, Ledger)]) -> String {
    let rows: [(&str, Cell); 11] = [
        ("**the issuer sees** requests in the day", |day| day.fetches.iter().sum::<u32>().to_string()),
        ("in the busiest second of the start", |day| day.busiest(0..MINUTE).to_string()),
        ("a second, quiet hours", |day| format!("{:.1}, at most {}", day.rate(QUIET), day.busiest(QUIET))),
        ("a second, outage", |day| format!("{:.1}, at most {}", day.rate(OUTAGE), day.busiest(OUTAGE))),
        ("a second, flood", |day| format!("{:.1}, at most {}", day.rate(FLOOD), day.busiest(FLOOD))),
        ("**clients see** requests refused, quiet rotation", |day| healed(day, QUIET_ROTATION)),
        ("refused, rotation in the flood", |day| healed(day, FLOODED_ROTATION)),
        ("refused, outage", |day| {
            let span = OUTAGE.start..OUTAGE.end + HOUR;
            format!("{} of {}", day.rejected_early(span), day.clients(OUTAGE))
        }),
        ("requests that waited for the issuer", |day| day.waited(0..DAY).to_string()),
        ("the longest wait, outage aside and in it", |day| {
            let outage = OUTAGE.start..OUTAGE.end + MINUTE;
            let aside = day.longest(0..outage.start).max(day.longest(outage.end..DAY));
            format!("{:.2} s, {:.2} s", aside.as_secs_f64(), day.longest(outage).as_secs_f64())
        }),
        ("**strangers see** 503 for a random key id", |day| {
            format!("{} of {}", day.strangers_unavailable, day.strangers)
        }),
    ];
    let mut text = String::from("|");
    for (policy, _) in days {
        write!(text, " | {}", policy.name()).expect("a string takes everything");
    }
    text.push_str(" |\n|---|---|---|---|\n");
    for (name, cell) in rows {
        write!(text, "| {name}").expect("a string takes everything");
        for (_, day) in days {
            write!(text, " | {}", cell(day)).expect("a string takes everything");
        }
        text.push_str(" |\n");
    }
    // The plot follows on the page, and an empty line ends the table before it.
    text.push('\n');
    text
}

/// Nothing happens in these.
const QUIET: std::ops::Range<usize> = HOUR..6 * HOUR;

fn healed(day: &Ledger, rotation: usize) -> String {
    let span = rotation..rotation + HOUR;
    match day.rejected_early(span.clone()) {
        0 => "0".to_owned(),
        refused => format!("{refused}, for {} s", day.healed_after(span)),
    }
}
