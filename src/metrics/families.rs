//! `Families`: makes metrics and puts them into the registry; knows the names of all that were made.

use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

/// Upper bounds in seconds: a point read takes tenths of a millisecond, a report minutes.
pub(super) const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, 60.0];
pub(super) const SHARDS: [f64; 10] = [0.0, 1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Names and labels are constants of this module, checked by a test that builds them all: none can be refused at run time.
#[derive(Default)]
pub(super) struct Families {
    pub registry: Registry,
    /// A family without a label's value yet is not in the registry's answer: tests ask for all that there can be.
    pub declared: Vec<Declared>,
}

/// A family as it is declared.
#[derive(Clone, Debug)]
pub struct Declared {
    pub name: &'static str,
    pub labels: Vec<String>,
    pub is_histogram: bool,
}

impl Families {
    fn add<C: Collector + Clone + 'static>(&mut self, name: &'static str, made: prometheus::Result<C>) -> C {
        let metric = made.expect("the metric's name and labels are well-formed");
        self.registry.register(Box::new(metric.clone())).expect("the metric's name is used once");
        let labels = metric.desc().into_iter().flat_map(|desc| desc.variable_labels.clone()).collect();
        self.declared.push(Declared { name, labels, is_histogram: false });
        metric
    }

    pub fn counter(&mut self, name: &'static str, help: &str) -> IntCounter {
        self.add(name, IntCounter::new(name, help))
    }

    pub fn float_counter(&mut self, name: &'static str, help: &str) -> Counter {
        self.add(name, Counter::new(name, help))
    }

    pub fn counters(&mut self, name: &'static str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(name, IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub fn gauge(&mut self, name: &'static str, help: &str) -> IntGauge {
        self.add(name, IntGauge::new(name, help))
    }

    pub fn gauges(&mut self, name: &'static str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(name, IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub fn float_gauge(&mut self, name: &'static str, help: &str) -> Gauge {
        self.add(name, Gauge::new(name, help))
    }

    pub fn float_gauges(&mut self, name: &'static str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(name, GaugeVec::new(Opts::new(name, help), labels))
    }

    pub fn histogram(&mut self, name: &'static str, help: &str, bounds: &[f64]) -> Histogram {
        let made = self.add(name, Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec())));
        self.mark_histogram();
        made
    }

    pub fn histograms(&mut self, name: &'static str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
        let made = self.add(name, HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels));
        self.mark_histogram();
        made
    }

    fn mark_histogram(&mut self) {
        if let Some(last) = self.declared.last_mut() {
            last.is_histogram = true;
        }
    }
}
