//! The kinds of metrics of the list, and how one is made from its entry.

use std::marker::PhantomData;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// An entry of the list.
#[derive(Clone, Copy, Debug)]
pub struct About {
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets.
    pub(super) buckets: &'static [f64],
}

impl About {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    fn histogram(&self) -> HistogramOpts {
        HistogramOpts::new(self.name, self.help).buckets(self.buckets.to_vec())
    }
}

/// A label whose values are known before anything happens. Each has its series from the start, so that a rate misses no first event, and
/// finding one takes no lock.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];

    fn as_str(self) -> &'static str;

    fn index(self) -> usize;
}

/// One metric for each value of a [`Label`].
pub struct By<M, L> {
    each: Vec<M>,
    label: PhantomData<L>,
}

pub type Counters<L> = By<IntCounter, L>;
pub type Gauges<L> = By<IntGauge, L>;
pub type Histograms<L> = By<Histogram, L>;

impl<M, L: Label> By<M, L> {
    pub fn of(&self, value: L) -> &M {
        &self.each[value.index()]
    }

    fn filled(make: impl Fn(&[&str]) -> M) -> Self {
        Self { each: L::ALL.iter().map(|value| make(&[value.as_str()])).collect(), label: PhantomData }
    }
}

/// A kind of metric.
pub(super) trait Kind: Sized {
    const NAME: &'static str;

    /// # Panics
    /// The entry breaks a rule of Prometheus, or its name is taken.
    fn made(about: &About, registry: &Registry) -> Self;
}

fn registered<M: Collector + Clone + 'static>(made: prometheus::Result<M>, registry: &Registry) -> M {
    let made = made.expect("the entry keeps to the rules");
    registry.register(Box::new(made.clone())).expect("each name is in the list once");
    made
}

/// Kinds that are made of an entry's options, with its labels or without.
macro_rules! kinds {
    ($($type:ty: $name:literal, |$about:ident| $made:expr;)*) => {$(
        impl Kind for $type {
            const NAME: &'static str = $name;

            fn made($about: &About, registry: &Registry) -> Self {
                registered($made, registry)
            }
        }
    )*};
}

kinds! {
    IntCounter: "counter", |about| IntCounter::with_opts(about.opts());
    IntGauge: "gauge", |about| IntGauge::with_opts(about.opts());
    Histogram: "histogram", |about| Histogram::with_opts(about.histogram());
    IntCounterVec: "counter", |about| IntCounterVec::new(about.opts(), about.labels);
    IntGaugeVec: "gauge", |about| IntGaugeVec::new(about.opts(), about.labels);
    HistogramVec: "histogram", |about| HistogramVec::new(about.histogram(), about.labels);
}

impl<L: Label> Kind for Counters<L> {
    const NAME: &'static str = IntCounterVec::NAME;

    fn made(about: &About, registry: &Registry) -> Self {
        let all = IntCounterVec::made(about, registry);
        Self::filled(|value| all.with_label_values(value))
    }
}

impl<L: Label> Kind for Gauges<L> {
    const NAME: &'static str = IntGaugeVec::NAME;

    fn made(about: &About, registry: &Registry) -> Self {
        let all = IntGaugeVec::made(about, registry);
        Self::filled(|value| all.with_label_values(value))
    }
}

impl<L: Label> Kind for Histograms<L> {
    const NAME: &'static str = HistogramVec::NAME;

    fn made(about: &About, registry: &Registry) -> Self {
        let all = HistogramVec::made(about, registry);
        Self::filled(|value| all.with_label_values(value))
    }
}
