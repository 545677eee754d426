//! A bar chart as SVG.

use std::fmt::Write as _;

/// Renders horizontal bars, shortest first; less is better.
pub fn bars(title: &str, note: &str, bars: &[(&str, f64)]) -> String {
    let mut bars = bars.to_vec();
    bars.sort_by(|one, other| one.1.total_cmp(&other.1));
    let longest = bars.last().map_or(1.0, |bar| bar.1);
    let height = TOP + bars.len() * STEP + BOTTOM;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-family="sans-serif" font-size="13">
<title>{title}</title>
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="12" y="24" font-size="14" font-weight="bold" fill="#1a1a1a">{title}</text>
"##
    );
    for (at, (name, value)) in bars.iter().enumerate() {
        let y = TOP + at * STEP;
        let length = (value / longest * LONGEST).max(1.0);
        let color = if name.starts_with("tower-bearer") { "#0b6e4f" } else { "#9aa5b1" };
        let (text_y, label_x) = (y + 16, LEFT as f64 + length + 6.0);
        let _ = writeln!(
            svg,
            r##"<text x="{}" y="{text_y}" text-anchor="end" fill="#1a1a1a">{name}</text><rect x="{LEFT}" y="{y}" width="{length:.1}" height="22" fill="{color}"/><text x="{label_x:.1}" y="{text_y}" fill="#1a1a1a">{value:.2}</text>"##,
            LEFT - 8
        );
    }
    let _ = writeln!(svg, r##"<text x="12" y="{}" font-size="11" fill="#52606d">{note}</text>"##, height - 10);
    svg.push_str("</svg>\n");
    svg
}

const WIDTH: usize = 860;
const LEFT: usize = 290;
const LONGEST: f64 = 500.0;
const TOP: usize = 42;
const STEP: usize = 28;
const BOTTOM: usize = 26;
