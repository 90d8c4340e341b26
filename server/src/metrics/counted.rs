//! Counters by label and a histogram, both of plain atomics.

use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;

/// The values of one label: a fixed list, so that counting is an index.
pub trait Label: Copy + Debug + Send + Sync + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// All values, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The place in [`Label::ALL`].
    fn index(self) -> usize;
    /// The value as it is rendered.
    fn name(self) -> &'static str;
}

/// One counter for each value of a label. Clones count together.
#[derive(Clone)]
pub struct Counted<L> {
    counts: Arc<[AtomicU64]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Default for Counted<L> {
    fn default() -> Self {
        Self { counts: L::ALL.iter().map(|_| AtomicU64::new(0)).collect(), label: PhantomData }
    }
}

impl<L: Label> Counted<L> {
    /// Counts one.
    pub fn add(&self, label: L) {
        self.add_many(label, 1);
    }

    /// Counts `number` at once.
    pub fn add_many(&self, label: L, number: u64) {
        self.counts[label.index()].fetch_add(number, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn get(&self, label: L) -> u64 {
        self.counts[label.index()].load(Ordering::Relaxed)
    }
}

impl<L: Label> Debug for Counted<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = L::ALL.iter().map(|label| (label.name(), self.get(*label)));
        f.debug_map().entries(entries).finish()
    }
}

impl<L: Label> EncodeMetric for Counted<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for label in L::ALL {
            let labels = [(L::KEY, label.name())];
            let value = self.get(*label);
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// Upper bounds of the buckets of a [`Latency`], in microseconds; what is longer has one more.
const BOUNDS_MICROS: [u64; 14] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
];

/// How long something took, in buckets. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Latency(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Latency {
    /// Counts one duration: two additions and a search among few numbers.
    pub fn observe(&self, took: Duration) {
        let micros = took.as_micros();
        let bucket = BOUNDS_MICROS.partition_point(|bound| u128::from(*bound) < micros);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// One more in a gauge for as long as this lives.
#[derive(Debug)]
#[must_use = "the gauge falls again when this is dropped"]
pub struct Held(Gauge);

/// Adds one to `gauge` until the result is dropped.
pub fn held(gauge: &Gauge) -> Held {
    gauge.inc();
    Held(gauge.clone())
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let latency = Latency::default();
        for micros in [0, 25, 26, 1_000_000, 1_000_001] {
            latency.observe(Duration::from_micros(micros));
        }
        let counts: Vec<u64> =
            latency.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!((counts[0], counts[1], counts[13], counts[14]), (2, 1, 1, 1));
        assert_eq!(latency.count(), 5);
    }
}
