//! The derived numbers that all writers show: which percentiles, of what, with which interval.

use serde_json::{Map, Value, json};

use super::latency::Latency;
use super::model::{Distribution, Operation, Report};
use super::series;
use super::stats::{self, Blocks, Percentile, TooFew};
use super::units;

/// Percentiles that are shown where enough samples stand behind them.
pub const QUANTILES: [f64; 6] = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];

/// One histogram of a report with its derived numbers, in nanoseconds.
pub struct Row<'a> {
    /// Name of the operation.
    pub operation: &'a str,
    /// `response`, `service`, `first byte`, `wait`, `lateness`.
    pub quantity: &'static str,
    /// The histogram.
    pub latency: &'a Latency,
    /// One entry for each of [`QUANTILES`].
    pub percentiles: Vec<(f64, Result<Percentile, TooFew>)>,
    /// A remark on dependence between seconds (headline rows only).
    pub note: Option<String>,
}

impl<'a> Row<'a> {
    fn new(
        operation: &'a str,
        quantity: &'static str,
        latency: &'a Latency,
        blocks: Option<&Blocks>,
    ) -> Self {
        let percentiles = QUANTILES
            .into_iter()
            .map(|q| (q, stats::percentile_with_blocks(latency, q, blocks)))
            .collect();
        let note = blocks.and_then(Blocks::dependence_note);
        Self { operation, quantity, latency, percentiles, note }
    }
}

/// What the times of an operation are, with the words that explain them.
pub const QUANTITIES: [(&str, &str); 5] = [
    ("response", "intended send time to last byte: what a user would have seen"),
    ("service", "request written to last byte: server, path and transfer"),
    ("first byte", "request written to first byte"),
    ("wait", "request due but no connection free"),
    ("lateness", "request due but the generator not there: its own fault"),
];

/// All histograms of one operation, the headline first.
pub fn quantities(operation: &Operation) -> Vec<(&'static str, &Latency)> {
    let all = [
        &operation.response,
        &operation.service,
        &operation.first_byte,
        &operation.wait,
        &operation.lateness,
    ];
    QUANTITIES
        .iter()
        .zip(all)
        .filter_map(|((name, _), latency)| Some((*name, latency.as_ref()?)))
        .filter(|(_, latency)| !latency.is_empty())
        .collect()
}

/// The rows of every operation; the headline of each carries the bootstrap over seconds.
pub fn rows(report: &Report) -> Vec<Row<'_>> {
    let seed = report.generators.first().map_or(0, |generator| generator.seed);
    let mut rows = Vec::new();
    for operation in &report.operations {
        let blocks = Blocks::new(&series::blocks_of(&report.series, operation), seed);
        for (index, (quantity, latency)) in quantities(operation).into_iter().enumerate() {
            let blocks = (index == 0).then_some(&blocks);
            rows.push(Row::new(&operation.name, quantity, latency, blocks));
        }
    }
    rows
}

/// Rows of the headline quantity only.
pub fn is_headline(row: &Row<'_>, report: &Report) -> bool {
    report
        .operations
        .iter()
        .find(|operation| operation.name == row.operation)
        .and_then(Operation::headline)
        .is_some_and(|headline| std::ptr::eq(headline, row.latency))
}

/// The headline histograms of all operations in one.
pub fn all_headlines(report: &Report) -> Latency {
    let mut all = Latency::new();
    report.operations.iter().filter_map(Operation::headline).for_each(|latency| all.add(latency));
    all
}

/// `n too small (need 10,000)`.
pub fn too_few(too_few: &TooFew) -> String {
    format!("n too small (need {})", units::count(too_few.needed))
}

/// Every distribution: over viewers, and of topics.
pub fn all_distributions(report: &Report) -> impl Iterator<Item = &Distribution> {
    let viewers = report.qoe.iter().flat_map(|qoe| &qoe.distributions);
    viewers.chain(report.topics.iter().flat_map(|topics| &topics.distributions))
}

/// The derived numbers for readers of JSON that know no HdrHistogram.
pub fn json(report: &Report) -> Value {
    let mut operations = Map::new();
    for row in rows(report) {
        let entry =
            operations.entry(row.operation.to_owned()).or_insert_with(|| Value::Object(Map::new()));
        entry[row.quantity.replace(' ', "_")] = row_json(&row);
    }
    let mut distributions = Map::new();
    for distribution in all_distributions(report) {
        let scale = distribution.per_unit;
        let mut values = Map::new();
        for q in [0.05, 0.5, 0.95, 0.99] {
            let value = match stats::percentile(&distribution.values, q) {
                Ok(p) => json!(p.value as f64 / scale),
                Err(few) => json!({ "n": few.n, "needed": few.needed }),
            };
            values.insert(units::quantile(q), value);
        }
        values.insert("n".to_owned(), json!(distribution.values.count()));
        values.insert("max".to_owned(), json!(distribution.values.max() as f64 / scale));
        values.insert("unit".to_owned(), json!(distribution.unit));
        distributions.insert(distribution.name.clone(), Value::Object(values));
    }
    json!({ "latency_ns": operations, "distributions": distributions })
}

fn row_json(row: &Row<'_>) -> Value {
    let mut values = Map::new();
    values.insert("n".to_owned(), json!(row.latency.count()));
    values.insert("max".to_owned(), json!(row.latency.max()));
    for (q, result) in &row.percentiles {
        let value = match result {
            Ok(p) => json!({ "value": p.value, "low": p.low, "high": p.high }),
            Err(few) => json!({ "n": few.n, "needed": few.needed }),
        };
        values.insert(units::quantile(*q), value);
    }
    Value::Object(values)
}
