//! Renders the day as an SVG plot: the eventful hours side by side. Text has the color of the surrounding page.

use std::fmt::Write as _;
use std::ops::Range;

use crate::day::{AMBIENT_ROTATION, FLOOD, FLOODED_ROTATION, MINUTE, OUTAGE, QUIET_ROTATION};
use crate::observations::Observations;
use crate::replicas::Policy;

/// A span of the day, with its event.
struct Window {
    title: &'static str,
    span: Range<usize>,
    shade: Option<Range<usize>>,
    marker: Option<usize>,
    width: f64,
}

/// One row of panels.
struct Row {
    title: &'static str,
    top: f64,
    ticks: &'static [(f64, &'static str)],
    /// The height of the value of a span, from 0 to 1.
    height: fn(&Observations, Range<usize>) -> f64,
}

pub fn render(days: &[(Policy, Observations)]) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"A day of a fleet\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"currentColor\" style=\"max-width:100%;height:auto\">\n"
    );
    for (at, (policy, _)) in days.iter().enumerate() {
        let x = LEFT + 220.0 * at as f64;
        let (color, width) = line_style(*policy);
        line(&mut svg, &format!("<path d=\"M{x:.0} 12h24\" stroke=\"{color}\" stroke-width=\"{width}\"/>"));
        label(&mut svg, x + 30.0, 16.0, "start", policy.name());
    }
    for row in &ROWS {
        label(&mut svg, LEFT, row.top - 22.0, "start", row.title);
        for (height, text) in row.ticks {
            label(&mut svg, LEFT - 6.0, row.top + PANEL * (1.0 - height) + 4.0, "end", text);
        }
        let mut left = LEFT;
        for window in windows() {
            panel(&mut svg, row, &window, left, days);
            left += window.width + GAP;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, row: &Row, window: &Window, left: f64, days: &[(Policy, Observations)]) {
    let Window { title, span, shade, marker, width } = window;
    let x = |second: usize| left + width * (second - span.start) as f64 / span.len() as f64;
    let bottom = row.top + PANEL;
    if let Some(shade) = shade {
        let (from, to) = (x(shade.start), x(shade.end));
        line(
            svg,
            &format!(
                "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{PANEL}\" fill-opacity=\"0.1\"/>",
                row.top,
                to - from
            ),
        );
    }
    for (height, _) in row.ticks {
        let y = row.top + PANEL * (1.0 - height);
        line(svg, &format!("<path d=\"M{left:.1} {y:.1}h{width}\" stroke=\"currentColor\" stroke-opacity=\"0.2\"/>"));
    }
    if let Some(marker) = marker {
        let x = x(*marker);
        line(
            svg,
            &format!("<path d=\"M{x:.1} {:.1}v{PANEL}\" stroke=\"currentColor\" stroke-dasharray=\"3 3\"/>", row.top),
        );
    }
    // This crate is drawn last, on top of the others.
    for (policy, day) in days.iter().rev() {
        let (color, thickness) = line_style(*policy);
        let mut path = String::new();
        for from in span.clone().step_by(BUCKET) {
            let y = bottom - PANEL * (row.height)(day, from..from + BUCKET).clamp(0.0, 1.0);
            let step = if path.is_empty() { "M" } else { "L" };
            write!(path, "{step}{:.1} {y:.1}", x(from + BUCKET / 2)).expect("writing to a string does not fail");
        }
        line(
            svg,
            &format!(
                "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{thickness}\" stroke-linejoin=\"round\"/>"
            ),
        );
    }
    label(svg, left, row.top - 6.0, "start", title);
    label(svg, left, bottom + 16.0, "start", &time(span.start));
    label(svg, left + width, bottom + 16.0, "end", &time(span.end));
}

/// Appends a line. An empty line would end the drawing in a Markdown page.
fn line(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

fn label(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    line(svg, &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
}

fn time(second: usize) -> String {
    format!("{:02}:{:02}", second / 3_600, second / 60 % 60)
}

/// Returns the color, readable on a white and on a black page, and the width of a line.
fn line_style(policy: Policy) -> (&'static str, &'static str) {
    match policy {
        Policy::ThisCrate => ("#1f9e89", "2.5"),
        Policy::FixedInterval => ("#e0652f", "1.5"),
        Policy::CoolDown => ("#8a63d2", "1.5"),
    }
}

fn windows() -> [Window; 5] {
    let around = |from: usize, to: usize| from - 5 * MINUTE..to + 10 * MINUTE;
    [
        Window { title: "start of all processes", span: 0..15 * MINUTE, shade: None, marker: None, width: 140.0 },
        Window {
            title: "rotation at 06:00",
            span: around(QUIET_ROTATION, QUIET_ROTATION),
            shade: None,
            marker: Some(QUIET_ROTATION),
            width: 140.0,
        },
        Window {
            title: "outage, 10:00 to 10:40",
            span: around(OUTAGE.start, OUTAGE.end),
            shade: Some(OUTAGE),
            marker: None,
            width: 210.0,
        },
        Window {
            title: "removed keys, rotation at 13:30",
            span: around(AMBIENT_ROTATION, AMBIENT_ROTATION),
            shade: Some(around(AMBIENT_ROTATION, AMBIENT_ROTATION)),
            marker: Some(AMBIENT_ROTATION),
            width: 200.0,
        },
        Window {
            title: "flood, with a rotation at 16:05",
            span: around(FLOOD.start, FLOOD.end),
            shade: Some(FLOOD),
            marker: Some(FLOODED_ROTATION),
            width: 210.0,
        },
    ]
}

const ROWS: [Row; 2] = [
    Row {
        title: "requests to the issuer in a second, all processes together",
        top: 70.0,
        ticks: &[(0.0, "1"), (1.0 / 3.0, "10"), (2.0 / 3.0, "100"), (1.0, "1000")],
        height: |day, span| day.rate(span).max(1.0).log10() / 3.0,
    },
    Row {
        title: "valid requests that are rejected",
        top: 270.0,
        ticks: &[(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")],
        height: |day, span| f64::from(day.not_accepted(span.clone())) / f64::from(day.clients(span).max(1)),
    },
];

const WIDTH: u32 = 1040;
const HEIGHT: u32 = 420;
const LEFT: f64 = 50.0;
const GAP: f64 = 18.0;
const PANEL: f64 = 120.0;
/// Seconds per point.
const BUCKET: usize = 20;
