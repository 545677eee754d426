//! Ratios of paired samples.

use std::fmt;

/// Number of rounds of every comparison.
pub const ROUNDS: usize = 21;

/// The ranks (from 0) of 21 samples that bound the 95 % interval of the median.
const INTERVAL: (usize, usize) = (5, 15);

/// A median and its 95 % interval.
#[derive(Clone, Copy)]
pub struct Ratio {
    pub median: f64,
    low: f64,
    high: f64,
}

impl Ratio {
    /// Computes the median and interval of [`ROUNDS`] values.
    pub fn from_samples(values: impl Iterator<Item = f64>) -> Self {
        let values = sorted(values);
        Self { median: values[ROUNDS / 2], low: values[INTERVAL.0], high: values[INTERVAL.1] }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} [{:.2}, {:.2}]", self.median, self.low, self.high)
    }
}

pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Returns the CPU time of this thread in seconds.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
