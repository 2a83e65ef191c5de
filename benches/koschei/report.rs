//! The report: a table for people, JSON for programs.

use serde::Serialize;

use super::measure::Machine;

/// An aim, and which side of it is good.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub what: String,
    pub unit: &'static str,
    /// The median.
    pub value: f64,
    /// All measured values, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<f64>,
    /// The value per second of processor time, if measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_cpu_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aim: Option<Aim>,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub load_at_end: String,
    pub events: u64,
    pub packages_per_collection: usize,
    pub seed: u64,
    /// Distance of the stream's mix of kinds from the recording's, in thousandths.
    pub mix_distance: u64,
    /// Number of things in which the state and the generator's model were compared and agree.
    pub compared: u64,
    pub log_digest: String,
    pub rows: Vec<Row>,
}

impl Report {
    /// Makes a report that has measured nothing yet.
    pub fn new(seed: u64) -> Self {
        Self {
            machine: super::measure::machine(),
            load_at_end: String::new(),
            events: 0,
            packages_per_collection: 0,
            seed,
            mix_distance: 0,
            compared: 0,
            log_digest: String::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a row whose value is the median of `of`.
    pub fn add(&mut self, what: &str, unit: &'static str, of: Vec<f64>, aim: Option<Aim>) -> &mut Row {
        let value = super::measure::median(of.clone());
        let of = if of.len() > 1 { of } else { Vec::new() };
        self.rows.push(Row { what: what.to_owned(), unit, value, of, per_cpu_second: None, aim });
        self.rows.last_mut().expect("just pushed")
    }

    pub fn print(&self) {
        let m = &self.machine;
        println!(
            "{} cores of {}, {} of memory; load {} at the start, {} at the end",
            m.cores,
            m.processor,
            number(m.memory_bytes as f64 / f64::from(1 << 20), "MiB"),
            m.load,
            self.load_at_end
        );
        println!(
            "{} events (seed {}), six collections of {} packages; {} thousandths from the recording's mix of kinds",
            grouped(self.events as f64),
            self.seed,
            grouped(self.packages_per_collection as f64),
            self.mix_distance
        );
        println!("state and model agree in {} things; log digest {}\n", grouped(self.compared as f64), self.log_digest);
        println!("{:<48} {:>16} {:>16} {:>7}  {:>16}  range", "", "measured", "aim", "ratio", "per CPU second");
        for r in &self.rows {
            let (aim, ratio) = match r.aim {
                Some(Aim::AtLeast(a)) => (format!("≥ {}", number(a, r.unit)), Some(r.value / a)),
                Some(Aim::AtMost(a)) => (format!("≤ {}", number(a, r.unit)), Some(a / r.value)),
                None => (String::new(), None),
            };
            let ratio = ratio.map_or(String::new(), |x| format!("{x:.2}"));
            let cpu = r.per_cpu_second.map_or(String::new(), grouped);
            let (low, high) = r.of.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
            let range = if r.of.is_empty() {
                String::new()
            } else {
                format!("{} … {}", grouped_or_fine(low), grouped_or_fine(high))
            };
            println!("{:<48} {:>16} {:>16} {:>7}  {:>16}  {range}", r.what, number(r.value, r.unit), aim, ratio, cpu);
        }
    }
}

fn number(value: f64, unit: &str) -> String {
    format!("{} {unit}", grouped_or_fine(value))
}

fn grouped_or_fine(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.1}") } else { grouped(value) }
}

/// Returns a whole number with a comma at every thousand.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}
