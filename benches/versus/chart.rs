//! How do the ratios look side by side? Bars from 1 to the ratio, on a logarithmic axis, each with
//! its interval as a thin line.

use std::fmt::Write as _;

use crate::report::Line;

/// Those that sum a workload up; the table has all of them.
const DRAWN: [&str; 5] = ["cpu", "throughput", "first output", "peak memory", "latency p99"];

const ROW: f64 = 18.0;
const LABELS: f64 = 360.0;
const WIDTH: f64 = 560.0;
const TOP: f64 = 40.0;
/// The ends of the axis.
const FROM: f64 = 0.1;
const TO: f64 = 100.0;

/// The chart as SVG.
pub(crate) fn draw(lines: &[Line]) -> String {
    let drawn: Vec<&Line> = lines
        .iter()
        .filter(|line| DRAWN.contains(&line.measure.name) && line.ratio.is_finite())
        .collect();
    let height = TOP + ROW * drawn.len() as f64 + 10.0;
    let width = LABELS + WIDTH + 40.0;
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' \
         font-family='sans-serif' font-size='11'>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='8' y='16' font-size='13'>Ratio to Kafka Streams 4.3.1: right of 1, millstream is \
         ahead</text>\n"
    );
    for mark in [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0] {
        axis(&mut svg, mark, height);
    }
    for (row, line) in drawn.into_iter().enumerate() {
        bar(&mut svg, line, TOP + ROW * row as f64);
    }
    svg + "</svg>\n"
}

/// Where a ratio lies.
fn place(ratio: f64) -> f64 {
    let share = (ratio.clamp(FROM, TO) / FROM).ln() / (TO / FROM).ln();
    LABELS + WIDTH * share
}

fn axis(svg: &mut String, mark: f64, height: f64) {
    let (x, bottom) = (place(mark), height - 6.0);
    let colour = if (mark - 1.0).abs() < f64::EPSILON { "black" } else { "#ddd" };
    let _ = writeln!(
        svg,
        "<line x1='{x:.1}' x2='{x:.1}' y1='{TOP}' y2='{bottom:.1}' stroke='{colour}'/>\
         <text x='{x:.1}' y='34' text-anchor='middle'>{mark}</text>"
    );
}

fn bar(svg: &mut String, line: &Line, y: f64) {
    let (one, end) = (place(1.0), place(line.ratio));
    let (left, wide) = (one.min(end), (end - one).abs());
    let colour = if line.ratio >= 1.0 { "#3a7" } else { "#c63" };
    let (from, to) = (place(line.interval.0), place(line.interval.1));
    let (middle, text) = (y + ROW / 2.0, y + ROW / 2.0 + 4.0);
    let _ = writeln!(
        svg,
        "<text x='8' y='{text:.1}'>{}, {}: {}</text>\
         <rect x='{left:.1}' y='{:.1}' width='{wide:.1}' height='{:.1}' fill='{colour}'/>\
         <line x1='{from:.1}' x2='{to:.1}' y1='{middle:.1}' y2='{middle:.1}' stroke='black'/>\
         <text x='{:.1}' y='{text:.1}'>{:.2}</text>",
        line.workload,
        line.against,
        line.measure.name,
        y + 3.0,
        ROW - 6.0,
        end.max(to) + 4.0,
        line.ratio
    );
}
