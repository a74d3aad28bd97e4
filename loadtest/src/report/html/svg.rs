//! Small SVG charts: two scales, a grid, lines, bands, points and a legend.
//!
//! Colours are classes of the page's style sheet, so that one chart serves light and dark. Sizes
//! are in the units of the view box; the page scales it. Never does: know what is plotted.

use std::fmt::Write;

use super::escape;

/// Width of a chart's view box, two charts side by side.
pub const HALF: f64 = 560.0;
/// Width of the view box of a chart that has the page to itself.
pub const FULL: f64 = 1130.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// How a value becomes a position.
#[derive(Clone, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
    /// Positions and labels of the grid lines.
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    /// A linear scale from `low` to at least `high`, ending on a tick.
    pub fn linear(low: f64, high: f64, label: impl Fn(f64) -> String) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let step = nice_step((high - low) / 5.0);
        let first = (low / step).floor();
        let mut ticks = Vec::new();
        let mut index = first;
        while ticks.len() < 12 {
            let at = index * step;
            ticks.push((at, label(at)));
            if at >= high - step * 1e-9 {
                break;
            }
            index += 1.0;
        }
        let (low, high) = (first * step, index * step);
        Self { low, high, logarithmic: false, from: 0.0, to: 0.0, ticks }
    }

    /// A linear scale that ends exactly at `high`, for time.
    pub fn exact(low: f64, high: f64, label: impl Fn(f64) -> String) -> Self {
        let mut scale = Self::linear(low, high, label);
        scale.high = if high > low { high } else { low + 1.0 };
        let high = scale.high;
        scale.ticks.retain(|(at, _)| *at <= high * (1.0 + 1e-9));
        scale
    }

    /// A logarithmic scale around `low` to `high` (both above 0), ending on ticks of 1, 2 and 5.
    pub fn logarithmic(low: f64, high: f64, label: impl Fn(f64) -> String) -> Self {
        let low = if low > 0.0 { low } else { 1.0 };
        let high = if high > low * 2.0 { high } else { low * 2.0 };
        let (first, last) = (step_at_or_below(low), step_at_or_above(high));
        let wide = (last / first).log10() > 3.5;
        let mut ticks = Vec::new();
        let mut decade = 10f64.powf(first.log10().floor());
        while decade <= last * 1.001 {
            for digit in if wide { &[1.0][..] } else { &[1.0, 2.0, 5.0][..] } {
                let at = decade * digit;
                if at >= first * 0.999 && at <= last * 1.001 {
                    ticks.push((at, label(at)));
                }
            }
            decade *= 10.0;
        }
        Self { low: first, high: last, logarithmic: true, from: 0.0, to: 0.0, ticks }
    }

    /// A logarithmic scale with exactly these bounds and ticks.
    pub fn given(low: f64, high: f64, ticks: Vec<(f64, String)>) -> Self {
        Self { low, high, logarithmic: true, from: 0.0, to: 0.0, ticks }
    }

    /// The same scale with other bounds and ticks.
    pub fn with_ticks(self, low: f64, high: f64, ticks: Vec<(f64, String)>) -> Self {
        Self { low, high, ticks, ..self }
    }

    fn spans(mut self, from: f64, to: f64) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }
}

/// 1, 2 or 5 times a power of ten, at or above `raw`.
fn nice_step(raw: f64) -> f64 {
    step_at_or_above(raw.max(f64::MIN_POSITIVE * 1e10))
}

fn step_at_or_above(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let digit = value / decade;
    [1.0, 2.0, 5.0, 10.0].into_iter().find(|d| digit <= d * 1.000_001).unwrap_or(10.0) * decade
}

fn step_at_or_below(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let digit = value / decade;
    [5.0, 2.0, 1.0].into_iter().find(|d| digit >= d * 0.999_999).unwrap_or(1.0) * decade
}

/// About the width of a tick's label; a character reference counts as one character.
fn text_width(label: &str) -> f64 {
    label.replace("&micro;", "u").len() as f64 * 6.6
}

/// A chart being drawn.
pub struct Chart {
    x: Scale,
    y: Scale,
    width: f64,
    height: f64,
    body: String,
    legend: Vec<(String, String)>,
}

impl Chart {
    /// A chart of this width and height with a grid and labelled axes; `x_name` stands below.
    pub fn new((width, height): (f64, f64), x: Scale, y: Scale, x_name: &str) -> Self {
        let (left, right) = (LEFT, width - RIGHT);
        let x = x.spans(left, right);
        let y = y.spans(height - BOTTOM, TOP);
        let mut body = String::new();
        for (value, label) in &y.ticks {
            let at = y.at(*value);
            let _ = writeln!(
                body,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{right:.1}\" y1=\"{at:.1}\" \
                 y2=\"{at:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{label}</text>",
                left - 8.0,
                at + 4.0
            );
        }
        let floor = height - BOTTOM;
        let mut free_from = 0.0;
        for (value, label) in &x.ticks {
            let at = x.at(*value);
            let _ = writeln!(
                body,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" \
                 y2=\"{floor:.1}\"/>"
            );
            // A label that would touch its neighbour is left out.
            let half = text_width(label) / 2.0;
            if at - half >= free_from {
                free_from = at + half + 8.0;
                let _ = writeln!(
                    body,
                    "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}\
                     </text>",
                    floor + 16.0
                );
            }
        }
        let _ = writeln!(
            body,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            height - 5.0,
            escape(x_name)
        );
        Self { x, y, width, height, body, legend: Vec::new() }
    }

    /// A line through the points; `class` is its colour (`c1` to `c6`, `bad`, `dim`).
    pub fn line(&mut self, class: &str, points: &[(f64, f64)]) -> &mut Self {
        if points.len() > 1 {
            let path = self.path(points);
            let _ = writeln!(self.body, "<path class=\"line {class}\" d=\"{path}\"/>");
        }
        self
    }

    /// The same, as steps: each value holds until the next.
    pub fn steps(&mut self, class: &str, points: &[(f64, f64)]) -> &mut Self {
        self.line(class, &corners(points))
    }

    /// The same, filled down to the bottom.
    pub fn filled_steps(&mut self, class: &str, points: &[(f64, f64)]) -> &mut Self {
        let corners = corners(points);
        self.area(class, &corners).line(class, &corners)
    }

    /// A filled band between two lines over the same x.
    pub fn band(&mut self, class: &str, low: &[(f64, f64)], high: &[(f64, f64)]) -> &mut Self {
        if low.len() > 1 {
            let mut around = high.to_vec();
            around.extend(low.iter().rev());
            let path = self.path(&around);
            let _ = writeln!(self.body, "<path class=\"band {class}\" d=\"{path}Z\"/>");
        }
        self
    }

    /// A filled area from the bottom up to the line.
    pub fn area(&mut self, class: &str, points: &[(f64, f64)]) -> &mut Self {
        let floor: Vec<(f64, f64)> = points.iter().map(|(x, _)| (*x, self.y.low)).collect();
        self.band(class, &floor, points)
    }

    /// A dot with a text that shows when it is pointed at.
    pub fn dot(&mut self, class: &str, at: (f64, f64), text: &str) -> &mut Self {
        let (x, y) = (self.x.at(at.0), self.y.at(at.1));
        let _ = writeln!(
            self.body,
            "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"><title>{}</title>\
             </circle>",
            escape(text)
        );
        self
    }

    /// A vertical mark over the whole height with its name at the top, on side `anchor` of it.
    pub fn mark(&mut self, class: &str, at: f64, name: &str, row: u8) -> &mut Self {
        let x = self.x.at(at);
        // Text that would leave the chart stands on the other side of its line.
        let leaves = x + 6.0 + text_width(name) > self.width - RIGHT;
        let (anchor, shift) = if leaves { ("end", -6.0) } else { ("start", 6.0) };
        let _ = writeln!(
            self.body,
            "<line class=\"mark {class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
             <text class=\"label {class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}\
             </text>",
            self.height - BOTTOM,
            x + shift,
            TOP + 13.0 + 16.0 * f64::from(row),
            escape(name)
        );
        self
    }

    /// A horizontal interval with its estimate, for forest plots.
    pub fn whisker(&mut self, class: &str, y: f64, values: (f64, f64, f64)) -> &mut Self {
        let (low, middle, high) = (self.x.at(values.0), self.x.at(values.1), self.x.at(values.2));
        let y = self.y.at(y);
        let _ = writeln!(
            self.body,
            "<path class=\"whisker {class}\" d=\"M{low:.1} {y:.1}H{high:.1}M{low:.1} {:.1}v12\
             M{high:.1} {:.1}v12\"/><rect class=\"dot {class}\" x=\"{:.1}\" y=\"{:.1}\" \
             width=\"10\" height=\"10\"/>",
            y - 6.0,
            y - 6.0,
            middle - 5.0,
            y - 5.0
        );
        self
    }

    /// A name for a colour, below the chart.
    pub fn named(&mut self, class: &str, name: &str) -> &mut Self {
        self.legend.push((class.to_owned(), name.to_owned()));
        self
    }

    /// The chart as a figure; `title` is its heading and what a screen reader says.
    pub fn finish(&self, title: &str, remark: &str) -> String {
        let mut text = format!("<figure>\n<h3>{}</h3>\n", escape(title));
        if !remark.is_empty() {
            let _ = writeln!(text, "<p class=\"remark\">{}</p>", escape(remark));
        }
        let _ = write!(
            text,
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}\
             <line class=\"axis\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{floor:.1}\" \
             y2=\"{floor:.1}\"/>\n\
             </svg>\n",
            self.width,
            self.height,
            escape(title),
            self.body,
            self.width - RIGHT,
            left = LEFT,
            floor = self.height - BOTTOM
        );
        if !self.legend.is_empty() {
            text.push_str("<ul class=\"legend\">");
            for (class, name) in &self.legend {
                let _ = write!(text, "<li><i class=\"{class}\"></i>{}</li>", escape(name));
            }
            text.push_str("</ul>\n");
        }
        text.push_str("</figure>\n");
        text
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", self.x.at(*x), self.y.at(*y));
        }
        path
    }
}

/// Points with the corners of a step line between them.
fn corners(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut corners = Vec::with_capacity(points.len() * 2);
    for pair in points.windows(2) {
        corners.extend([pair[0], (pair[1].0, pair[0].1)]);
    }
    corners.extend(points.last());
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(scale: &Scale) -> Vec<f64> {
        scale.ticks.iter().map(|(at, _)| (at * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let label = |value: f64| value.to_string();
        assert_eq!(values(&Scale::linear(0.0, 97.0, label)), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(values(&Scale::linear(0.0, 0.0, label)), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(values(&Scale::exact(0.0, 12.0, label)), [0.0, 5.0, 10.0]);
        assert_eq!(values(&Scale::logarithmic(150.0, 900.0, label)), [100.0, 200.0, 500.0, 1000.0]);
        let wide = Scale::logarithmic(1.0, 1e6, label);
        assert_eq!(values(&wide), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]);
        assert_eq!(values(&Scale::logarithmic(0.0, 0.0, label)), [1.0, 2.0]);
    }

    #[test]
    fn positions_stay_inside_and_text_is_escaped() {
        let label = |value: f64| value.to_string();
        let mut chart = Chart::new(
            (HALF, 300.0),
            Scale::linear(0.0, 10.0, label),
            Scale::linear(0.0, 10.0, label),
            "x",
        );
        chart.line("c1", &[(-5.0, 0.0), (50.0, 10.0)]).dot("bad", (1.0, 1.0), "<&>");
        let svg = chart.finish("a < b", "");
        assert!(svg.contains("M62.0 260.0L546.0 12.0"), "{svg}");
        assert!(svg.contains("&lt;&amp;&gt;") && svg.contains("a &lt; b"));
    }
}
