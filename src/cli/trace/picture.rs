//! The hops of a trace as an SVG picture.

use super::rows::rows;
use tap::Record;

/// Draws the hops as an SVG picture: a bar a hop on one axis of time, for slides and reports. One
/// file, no script, readable without colour.
pub(super) fn svg(records: &[Record]) -> String {
    let (row_height, top, left, axis) = (22.0, 40.0, 270.0, 420.0);
    let rows = rows(records);
    let end = rows.iter().map(|r| r.to).fold(1.0, f64::max);
    let height = top + row_height * rows.len() as f64 + 20.0;
    let x = |ms: f64| left + ms / end * axis;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1400\" height=\"{height}\" font-family=\"monospace\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for tick in 0..=4 {
        let ms = end * f64::from(tick) / 4.0;
        out.push_str(&format!(
            "<line x1=\"{0:.1}\" y1=\"28\" x2=\"{0:.1}\" y2=\"{1}\" stroke=\"#cccccc\"/><text x=\"{0:.1}\" y=\"22\" text-anchor=\"middle\" fill=\"#555555\">{ms:.1} ms</text>\n",
            x(ms),
            height - 15.0
        ));
    }
    for (at, row) in rows.iter().enumerate() {
        let y = top + row_height * at as f64;
        let width = (x(row.to) - x(row.from)).max(2.0);
        out.push_str(&format!(
            "<g><title>{2} {3}: {4}</title><text x=\"8\" y=\"{0:.1}\">{2}</text><rect x=\"{1:.1}\" y=\"{5:.1}\" width=\"{width:.1}\" height=\"12\" fill=\"#1f6feb\" stroke=\"#0b3d91\"/><text x=\"{6:.1}\" y=\"{0:.1}\">{3} {4}</text></g>\n",
            y + 10.0,
            x(row.from),
            escape(&row.actor),
            escape(&row.object),
            escape(&row.act),
            y,
            left + axis + 16.0
        ));
    }
    out + "</svg>\n"
}

/// Writes a text so that XML reads it as itself.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
