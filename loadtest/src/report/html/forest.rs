//! The plot of a comparison: a ratio with its interval for each quantile, the axis as wide to the
//! left of equal as to the right.

use super::super::model::{Comparison, Conclusion};
use super::super::units;
use super::svg::{Chart, FULL, Scale};

/// Most ticks whose labels stand side by side.
const TICKS_MAX: usize = 11;
/// Longest name of a side that stands beside its numbers.
const NAME_LENGTH_MAX: usize = 16;

/// Ratio of every quantile with its interval; left of 1, B is faster.
pub fn plot(comparison: &Comparison) -> String {
    let rows: Vec<_> =
        comparison.quantiles.iter().filter(|row| row.ratio_high < f64::MAX).collect();
    if rows.is_empty() {
        return String::new();
    }
    let reach = rows
        .iter()
        .flat_map(|row| [row.ratio_low, row.ratio_high])
        .map(|ratio| ratio.ln().abs())
        .fold(0.01, f64::max)
        * 1.15;
    let ticks = ratio_ticks(reach);
    let (a, b, which) = sides(comparison);
    let count = rows.len() as f64;
    let y_ticks = rows
        .iter()
        .enumerate()
        .map(|(index, row)| (count - index as f64, units::quantile(row.quantile)))
        .collect();
    let mut y = Scale::linear(0.0, 1.0, |_| String::new());
    y = y.with_ticks(0.4, count + 0.6, y_ticks);
    let name = format!("time of {b}, relative to {a}");
    let mut chart = Chart::new(
        (FULL, 90.0 + 46.0 * count),
        Scale::given((-reach).exp(), reach.exp(), ticks),
        y,
        &name,
    );
    chart.mark("dim", 1.0, "", 0);
    for (index, row) in rows.iter().enumerate() {
        let class = match row.conclusion {
            Conclusion::AFaster => "c3",
            Conclusion::BFaster => "c1",
            _ => "dim",
        };
        chart.whisker(class, count - index as f64, (row.ratio_low, row.ratio, row.ratio_high));
    }
    chart.named("c1", &format!("{b} faster"));
    chart.named("c3", &format!("{a} faster"));
    chart.named("dim", "not distinguishable");
    let remark = format!("{which}{}", comparison.method);
    chart.finish("Ratio of latencies with intervals", &remark)
}

/// Ticks of an axis of ratios that reaches so far, in natural logarithms, to both sides of 1.
fn ratio_ticks(reach: f64) -> Vec<(f64, String)> {
    let widest = (reach.exp() - 1.0) * 100.0;
    let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0].into_iter().find(|s| widest / s <= 5.5);
    let percents: Vec<f64> = match step {
        Some(step) => {
            let most = (widest / step).floor();
            std::iter::successors(Some(-most), |at| Some(at + 1.0))
                .take_while(|at| *at <= most)
                .map(|at| at * step)
                .collect()
        }
        // Far from equal a doubling to the right stands as far out as a half to the left.
        None => (-8..=8).map(|power| (2f64.powi(power) - 1.0) * 100.0).collect(),
    };
    let far = percents.iter().filter(|percent| (1.0 + *percent / 100.0).ln().abs() <= reach);
    let every = far.count().div_ceil(TICKS_MAX).max(1);
    let digits = if step.is_some_and(|step| step < 1.0) { 1 } else { 0 };
    let middle = percents.len() / 2;
    let mut ticks = Vec::new();
    for (index, percent) in percents.iter().enumerate() {
        let ratio = 1.0 + percent / 100.0;
        let shown = index.abs_diff(middle).is_multiple_of(every);
        if shown && ratio > 0.0 && ratio.ln().abs() <= reach {
            let equal = index == middle;
            let label = if equal { "equal".to_owned() } else { format!("{percent:+.digits$} %") };
            ticks.push((ratio, label));
        }
    }
    ticks
}

/// Names of the sides that fit beside a number, and what they stand for where that is a URL.
pub fn sides(comparison: &Comparison) -> (&str, &str, String) {
    let (a, b) = (comparison.a.as_str(), comparison.b.as_str());
    if a.len().max(b.len()) <= NAME_LENGTH_MAX {
        return (a, b, String::new());
    }
    ("A", "B", format!("A is {a}, B is {b}; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_have_ticks_on_both_sides() {
        let labels = |reach: f64| -> Vec<String> {
            ratio_ticks(reach).into_iter().map(|tick| tick.1).collect()
        };
        assert_eq!(
            labels(0.045),
            ["-4 %", "-3 %", "-2 %", "-1 %", "equal", "+1 %", "+2 %", "+3 %", "+4 %"]
        );
        assert_eq!(labels(1.5), ["-75 %", "-50 %", "equal", "+100 %", "+300 %"]);
        assert!(labels(6.0).len() <= TICKS_MAX, "{:?}", labels(6.0));
    }
}
