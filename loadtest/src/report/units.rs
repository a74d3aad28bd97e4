//! Numbers for people: times, counts, rates and sizes with three digits and a unit.

/// A time given in nanoseconds: `950 ns`, `12.3 us`, `4.56 ms`, `1.20 s`, `95.0 s`.
pub fn time(nanoseconds: f64) -> String {
    let (scaled, unit) = time_parts(nanoseconds);
    format!("{} {unit}", three(scaled))
}

/// The same as number and unit apart.
pub fn time_parts(nanoseconds: f64) -> (f64, &'static str) {
    match nanoseconds {
        n if n >= 999_500_000.0 => (n / 1e9, "s"),
        n if n >= 999_500.0 => (n / 1e6, "ms"),
        n if n >= 999.5 => (n / 1e3, "us"),
        n => (n, "ns"),
    }
}

/// A whole number with thousands apart: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same for a number that is whole in all but type.
#[expect(clippy::cast_possible_truncation, reason = "far below 2^53")]
pub fn count_of(value: f64) -> String {
    count(value.round().max(0.0) as u64)
}

/// A size with decimal prefixes: `1.50 GB`.
pub fn bytes(value: f64) -> String {
    si(value, "B")
}

/// A number with a decimal prefix before `unit`: `4.20 Mbit/s`, `12.5 k` when `unit` is empty.
pub fn si(value: f64, unit: &str) -> String {
    let (scaled, prefix) = si_parts(value);
    format!("{} {prefix}{unit}", three(scaled)).trim_end().to_owned()
}

fn si_parts(value: f64) -> (f64, &'static str) {
    match value.abs() {
        v if v >= 999.5e9 => (value / 1e12, "T"),
        v if v >= 999.5e6 => (value / 1e9, "G"),
        v if v >= 999.5e3 => (value / 1e6, "M"),
        v if v >= 999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    }
}

/// A short axis label: `20k`, `1.5M`, `0.5`.
pub fn axis(value: f64) -> String {
    let (scaled, prefix) = si_parts(value);
    let text = format!("{scaled:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{prefix}")
}

/// A rate a second: whole below 1000 thousands, `20,000 /s`.
pub fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.2}/s")
    } else {
        format!("{}/s", count_of(per_second))
    }
}

/// A share in percent with sensible digits: `0.012 %`, `1.50 %`, `99.9 %`.
#[expect(clippy::cast_possible_truncation, reason = "clamped to a dozen")]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value.abs() {
        0.0 => "0 %".to_owned(),
        v if v >= 10.0 => format!("{} %", format!("{value:.1}").trim_end_matches(".0")),
        v if v >= 0.1 => format!("{value:.2} %"),
        v => {
            // Two significant digits, however small.
            let digits = (1.0 - v.log10().floor()).clamp(2.0, 12.0);
            format!("{value:.*} %", digits as usize)
        }
    }
}

/// A named figure: a share where the name ends in `share` or `ratio`, a short speed where it ends
/// in `bit/s`, else a plain number.
pub fn figure(name: &str, value: f64) -> String {
    match name {
        _ if name.ends_with("share") || name.ends_with("ratio") => percent(value),
        _ if name.ends_with("bit/s") => axis(value),
        _ => si(value, ""),
    }
}

/// The name of a quantile: `p50`, `p99.9`.
pub fn quantile(q: f64) -> String {
    let text = format!("{:.6}", q * 100.0);
    format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Three significant digits.
pub fn three(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (950.0, "950 ns"),
            (999.9, "1.00 us"),
            (12_345.0, "12.3 us"),
            (999_900.0, "1.00 ms"),
            (4_560_000.0, "4.56 ms"),
            (95e9, "95.0 s"),
        ] {
            assert_eq!(time(ns), text);
        }
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(bytes(1.5e9), "1.50 GB");
        assert_eq!(si(4.2e6, "bit/s"), "4.20 Mbit/s");
        assert_eq!([20_000.0, 1.5e6, 0.5, 0.0].map(axis), ["20k", "1.5M", "0.5", "0"]);
        assert_eq!(rate(19_999.6), "20,000/s");
        assert_eq!(
            [0.0, 3.2e-8, 0.00012, 0.015, 0.999].map(percent),
            ["0 %", "0.0000032 %", "0.012 %", "1.50 %", "99.9 %"]
        );
        assert_eq!(figure("rebuffer ratio", 0.0042), "0.42 %");
        assert_eq!(figure("server us/request", 8.5), "8.50");
        assert_eq!((figure("bit/s", 2_042e3), figure("bit/s", 0.0)), ("2.042M".into(), "0".into()));
        assert_eq!([0.5, 0.999, 0.99999].map(quantile), ["p50", "p99.9", "p99.999"]);
    }
}
